package link

import (
	"maps"
	"net/netip"
)

// Ownership marks. A link is ours when its name has the prefix, its kind is the one we create under that prefix, and its
// alias is AliasGateway or AliasTunnel followed by the resource's name.
const (
	NamePrefix  = "bgw"  // of XFRM interfaces, and the start of VRFPrefix
	VRFPrefix   = "bgwv" // of VRF devices
	AliasPrefix = "bordergw:"

	AliasGateway = AliasPrefix + "gateway/"
	AliasTunnel  = AliasPrefix + "tunnel/"
)

// Gateway is everything the link driver makes for one BorderGateway.
type Gateway struct {
	// Name is the BorderGateway's name.
	Name string
	// VRF is the name of its VRF device; it starts with VRFPrefix and has at most 15 characters.
	VRF string
	// Table is the routing table of the VRF: not 0, and none of the kernel's own (253 to 255).
	Table uint32
	// Members are the attachment interfaces to enslave to the VRF. They are foreign: the driver changes their master and
	// a few sysctls, nothing else, and releases them when they are no longer listed.
	Members []string
	// Interfaces are the XFRM interfaces, one per tunnel.
	Interfaces []Interface
}

// Interface is the XFRM interface of one VPNTunnel.
type Interface struct {
	// Tunnel is the VPNTunnel's name.
	Tunnel string
	// Name is the device name; it starts with NamePrefix but not with VRFPrefix and has at most 15 characters.
	Name string
	// IfID is the XFRM if_id: not 0, and unique in the network namespace.
	IfID uint32
	// Underlay is the device whose VRF routes the encrypted packets (net/xfrm/xfrm_interface_core.c, p.link). It must
	// exist; it cannot be changed afterwards without recreating the interface.
	Underlay string
	// Address is the cloud's inside address with the tunnel's prefix length.
	Address netip.Prefix
	// MTU is the inner MTU in bytes.
	MTU int
	// Up is the administrative state wanted. Setting an interface down makes the kernel remove its nexthop objects.
	Up bool
}

// Result is what Apply found or made.
type Result struct {
	// VRFIndex is the interface index of the VRF device, 0 when it could not be made.
	VRFIndex int
	// Interfaces holds every desired interface, keyed by tunnel name.
	Interfaces map[string]InterfaceState
	// Members holds every desired member, keyed by interface name.
	Members map[string]MemberState
	// Errors holds what could not be made so, keyed by [ObjectRules], by [ObjectVRF], by a tunnel's name prefixed with
	// [ObjectTunnel], or by an attachment interface's name prefixed with [ObjectMember]. An object may have an error and
	// still exist.
	Errors map[string]error
}

// Equal says whether two rounds found and made the same. Results with errors are never equal.
func (r Result) Equal(o Result) bool {
	return r.VRFIndex == o.VRFIndex && maps.Equal(r.Interfaces, o.Interfaces) && maps.Equal(r.Members, o.Members) &&
		len(r.Errors) == 0 && len(o.Errors) == 0
}

// Keys of Result.Errors.
const (
	// ObjectRules stands for the host's routing rules. Without them in order packets of tenants to addresses that the host
	// has end at the host, so every gateway has the error.
	ObjectRules  = "rules"
	ObjectVRF    = "vrf"
	ObjectTunnel = "tunnel/"
	ObjectMember = "member/"
)

// InterfaceState is the state of one tunnel's XFRM interface.
type InterfaceState struct {
	Name   string
	Index  int
	Exists bool
	// OperUp is true when the interface is up and running: it carries packets.
	OperUp bool
}

// MemberState is the state of one attachment interface.
type MemberState struct {
	Index    int
	Exists   bool
	Enslaved bool
	OperUp   bool
}

// ExistingVRF is a VRF of ours found in the kernel.
type ExistingVRF struct {
	Gateway string
	Name    string
	Table   uint32
	Index   int
}

// ExistingInterface is an XFRM interface of ours found in the kernel.
type ExistingInterface struct {
	Tunnel string
	Name   string
	IfID   uint32
	Index  int
	// VRF is the name of the device it is enslaved to, empty for none.
	VRF string
	// Gateway is the BorderGateway of that VRF, empty when the master is not a VRF of ours.
	Gateway string
	MTU     int
	OperUp  bool
}

// SysctlProblem is a sysctl that is not as the data plane needs it and could not, or must not, be changed.
type SysctlProblem struct {
	// Key is the name as sysctl(8) writes it, for example net.ipv4.ip_forward.
	Key string
	// Have is the present value, empty when it cannot be read; Want is the value needed.
	Have, Want string
	// Err says why, in lower case.
	Err error
}
