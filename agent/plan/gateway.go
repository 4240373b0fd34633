package plan

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/internal/secret"
)

// Host is what a plan needs to know of the machine.
type Host struct {
	Name string
	// Addresses are the cloud public addresses the host owns.
	Addresses []netip.Addr
	// Underlay is the device of the encrypted packets, UnderlayMTU its MTU in bytes.
	Underlay    string
	UnderlayMTU int
	// Local returns what an operator changed of a tunnel on this host, nil for nothing; it may be nil.
	Local func(tunnel string) *apiv1.LocalChange
	// RestartTime is how long BGP neighbors are to keep the host's routes while the agent restarts; 0 means not at all.
	RestartTime time.Duration
}

// Owns says whether addr is one of the host's cloud addresses.
func (h Host) Owns(addr netip.Addr) bool {
	for _, a := range h.Addresses {
		if a == addr {
			return true
		}
	}
	return false
}

// IDs are the host's number pools, shared by all gateways.
type IDs struct {
	// Table gives routing tables by gateway name, IfID XFRM interface ids by tunnel name.
	Table, IfID *Pool
	// Nexthop and Group give ids of nexthop objects by keys that only this package makes.
	Nexthop, Group *Pool
}

// Gateway is one BorderGateway as this host serves it, with every reference resolved and every text parsed.
type Gateway struct {
	Name         string
	VRF          string
	Table        uint32
	ASN          uint32
	RouterID     netip.Addr
	AllowTransit bool
	// IPv4 and IPv6 say which families the gateway carries inside.
	IPv4, IPv6  bool
	Tunnels     []Tunnel
	Attachments []Attachment
	Static      []Static
	// MaxBGPRoutes is the quota of routes accepted from customers.
	MaxBGPRoutes int

	host Host
	ids  IDs
}

// Tunnel is one VPNTunnel whose cloud address the host owns.
type Tunnel struct {
	Name, Connection string
	Spec             *apiv1.VPNTunnelSpec
	Cloud, Customer  netip.Addr
	// Inside is the cloud's inside address with the tunnel's prefix length, Peer the customer's.
	Inside    netip.Prefix
	Peer      netip.Addr
	Interface string
	IfID      uint32
	// AdminUp is what the manifest says, unless the tunnel was taken down on this host.
	AdminUp bool
	// Local is what an operator changed on this host, nil for nothing.
	Local       *apiv1.LocalChange
	BGP         bool
	CustomerASN uint32
	PSK         secret.Secret
	BGPPassword secret.Secret
}

// Attachment is where VPC traffic enters on this host.
type Attachment struct {
	Name, Interface string
	Prefixes        []netip.Prefix
	// NextHop is the router toward the prefixes; the zero Addr means they are on-link.
	NextHop      netip.Addr
	Peer         netip.Addr
	PeerASN      uint32
	PeerPassword secret.Secret
}

// Static is a static route to exactly one of a connection and an attachment.
type Static struct {
	Prefix                 netip.Prefix
	Connection, Attachment string
}

// Running is what is true at the moment of planning. Its zero value is a host on which nothing is up yet.
type Running struct {
	// Tunnels by name; one that is missing is down.
	Tunnels map[string]TunnelRunning
	// Members holds the attachment interfaces that carry packets.
	Members map[string]bool
	// Forwarding says that the kernel forwards for the gateway since before the agent started.
	Forwarding bool
	// Learned are the routes of the gateway's BGP speaker.
	Learned []bgp.Learned
}

// TunnelRunning is the part of a tunnel's state that routing and the MTU depend on.
type TunnelRunning struct {
	// Up is the tunnel's running state.
	Up bool
	// Encryption and Integrity are the CHILD_SA's algorithms as charon names them, empty before the first negotiation. NATT says
	// that ESP travels in UDP.
	Encryption, Integrity string
	NATT                  bool
	// Cut says that BFD takes the peer for gone: nothing is routed over the tunnel although it is up. BFDDowns counts how often
	// BFD has done so since its session began; the BGP session starts afresh each time.
	Cut      bool
	BFDDowns uint64
}

// Equal says whether plans for the two are the same.
func (r Running) Equal(o Running) bool {
	return r.Forwarding == o.Forwarding && maps.Equal(r.Tunnels, o.Tunnels) && maps.Equal(r.Members, o.Members) &&
		slices.EqualFunc(r.Learned, o.Learned, bgp.Learned.Equal)
}

func (r Running) up(tunnel string) bool { return r.Tunnels[tunnel].Up }

// Carries says whether packets may be routed over a tunnel.
func (r Running) Carries(tunnel string) bool { return r.up(tunnel) && !r.Tunnels[tunnel].Cut }

func (g *Gateway) tunnel(name string) *Tunnel {
	for i := range g.Tunnels {
		if g.Tunnels[i].Name == name {
			return &g.Tunnels[i]
		}
	}
	return nil
}

func (g *Gateway) attachment(name string) *Attachment {
	for i := range g.Attachments {
		if g.Attachments[i].Name == name {
			return &g.Attachments[i]
		}
	}
	return nil
}

// TunnelNeighbor names the session over a tunnel.
func TunnelNeighbor(tunnel string) string { return "tunnel/" + tunnel }

// AttachmentNeighbor names the session with an attachment's peer.
func AttachmentNeighbor(attachment string) string { return "attachment/" + attachment }

// Initiate says whether the cloud begins the negotiation.
func (t *Tunnel) Initiate() bool { return t.Spec.GetInitiation() == apiv1.InitiationAlways }
