// Package netlink is the narrow view of rtnetlink that the link and route drivers need. It is the only importer of
// vishvananda/netlink; package netlinktest has a kernel that keeps its state in memory and refuses what Linux refuses.
package netlink

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Errors of a [Kernel] that are not plain errno values.
var (
	// ErrInterrupted says that a listing changed under the reader more often than it was retried
	// (NLM_F_DUMP_INTR). What came with it is incomplete: never take it for what exists.
	ErrInterrupted = errors.New("netlink dump interrupted")
	// ErrEventsLost ends a Watch whose socket overflowed (ENOBUFS) or broke: the watcher must list again.
	ErrEventsLost = errors.New("netlink events lost")
	// ErrNotExist says that there is no such link.
	ErrNotExist = errors.New("no such link")
)

// Kinds of links that bordergw creates (IFLA_INFO_KIND).
const (
	KindVRF  = "vrf"
	KindXfrm = "xfrm"
)

// Link is a network device.
type Link struct {
	Index int
	Name  string
	Alias string
	// Kind is IFLA_INFO_KIND, empty for physical devices.
	Kind string
	// Master is the index of the device it is enslaved to, 0 for none.
	Master int
	// Underlay is an XFRM interface's p.link.
	Underlay int
	// IfID is an XFRM interface's if_id.
	IfID uint32
	// Table is a VRF's routing table.
	Table uint32
	MTU   int
	// Up is IFF_UP, the administrative state; Running is IFF_RUNNING: the link carries packets when both are set.
	Up, Running bool
}

// OperUp is true when the link carries packets.
func (l Link) OperUp() bool { return l.Up && l.Running }

// Address is an address of a link.
type Address struct {
	Prefix netip.Prefix
	// Permanent is false for addresses with a lifetime, such as those of SLAAC and DHCP.
	Permanent bool
}

// Nexthop is a nexthop object (net/ipv4/nexthop.c): a single nexthop, or a group when Group is not empty.
type Nexthop struct {
	ID       uint32
	Protocol uint8
	// IPv6, Link and Gateway describe a single nexthop. Link is the device's index; a zero Gateway makes it a device route.
	IPv6    bool
	Link    int
	Gateway netip.Addr
	// Group holds the members' ids, all with weight 1.
	Group []uint32
}

// Route types (rtm_type).
const (
	Unicast     uint8 = unix.RTN_UNICAST
	Unreachable uint8 = unix.RTN_UNREACHABLE
)

// Route is a route that points at a nexthop object or has a type that needs none.
type Route struct {
	Table    uint32
	Prefix   netip.Prefix
	Metric   uint32
	Protocol uint8
	Type     uint8
	// Nexthop is the id of a nexthop object, 0 for none.
	Nexthop uint32
}

// The routing table of the host's own addresses, and who made what comes with the kernel (RTPROT_KERNEL).
const (
	LocalTable     uint32 = unix.RT_TABLE_LOCAL
	ProtocolKernel uint8  = unix.RTPROT_KERNEL
)

// Rule is a rule of routing policy (net/core/fib_rules.c). Rules are tried by ascending priority; those with the same
// priority in the order in which they were added.
type Rule struct {
	IPv6     bool
	Priority uint32
	Protocol uint8
	// Table is the table to look in; 0 with L3mdev, for the table of the VRF that a packet is in.
	Table  uint32
	L3mdev bool
	// Other is true for a rule with conditions, or one that does something else than to look in a table. Such rules can
	// be listed only.
	Other bool
}

// SA is an IPsec state, one direction of a tunnel. Its keys stay in the kernel.
type SA struct {
	// IfID is the if_id of the XFRM interface it belongs to, 0 for none.
	IfID uint32
	// Source and Destination are the outer addresses.
	Source, Destination netip.Addr
	SPI                 uint32
	// Larval: an SPI that is reserved for a negotiation, or an ACQUIRE under way; it has no keys.
	Larval bool
	// Errors counts packets that came in with this SPI and were dropped.
	Errors SAErrors
}

// Policy is an IPsec policy of an XFRM interface.
type Policy struct {
	IfID uint32
	// Out is true for the direction in which packets are encrypted.
	Out bool
	// SPI is that of the state to use, 0 where any with the template's addresses will do.
	SPI uint32
	// Selector and Direction name the policy to the kernel (struct xfrm_selector, XFRM_POLICY_*).
	Selector  [56]byte
	Direction uint8
}

// SAErrors is struct xfrm_stats (include/uapi/linux/xfrm.h).
type SAErrors struct {
	// OutsideWindow: older than the replay window. Replayed: seen before. IntegrityFailed: the authentication tag is wrong.
	OutsideWindow, Replayed, IntegrityFailed uint32
}

// EventKind says what an [Event] reports.
type EventKind uint8

// Kinds of events. The kernel sends none at all for nexthops and IPv4 routes that go with a device
// (net/ipv4/nexthop.c, nexthop_flush_dev).
const (
	LinkNew EventKind = iota + 1
	LinkGone
	AddressNew
	AddressGone
	NexthopNew
	NexthopGone
	RouteNew
	RouteGone
	RuleNew
	RuleGone
)

// Event is one notification of the kernel.
type Event struct {
	Kind EventKind
	// Own is true when the message that caused it was sent through the same Kernel value. Known for nexthops,
	// routes and rules.
	Own bool
	// Link is set for link events; for address events only its Index is.
	Link    Link
	Address netip.Prefix
	Nexthop Nexthop
	Route   Route
	Rule    Rule
}

// Topics selects events.
type Topics struct {
	Links, Addresses, Nexthops, Routes, Rules bool
}

// Kernel is what the drivers use of rtnetlink. Writes are synchronous: they return when the kernel has answered. Errors
// wrap errno values. Implementations are safe for concurrent use.
type Kernel interface {
	// Links lists every link of the network namespace.
	Links() ([]Link, error)
	// Link returns the link with that name, or ErrNotExist.
	Link(name string) (Link, error)
	// AddVRF creates a VRF, down and without alias (EEXIST).
	AddVRF(name string, table uint32) error
	// AddXfrm creates an XFRM interface, down and without alias (EEXIST for a name or an if_id in use, ENODEV for a
	// missing underlay).
	AddXfrm(name string, ifID uint32, underlay, mtu int) error
	// DeleteLink deletes a link; everything that hangs on it goes too, mostly without events (ENODEV).
	DeleteLink(index int) error
	// SetAlias sets IFLA_IFALIAS.
	SetAlias(index int, alias string) error
	// SetMaster enslaves a link to a VRF, or releases it when master is 0. A link that is up goes down and up again on the
	// way (drivers/net/vrf.c, cycle_netdev).
	SetMaster(index, master int) error
	// SetMTU sets the MTU in bytes.
	SetMTU(index, mtu int) error
	// SetUp sets the administrative state.
	SetUp(index int, up bool) error

	// Addresses lists one link's addresses of both families.
	Addresses(index int) ([]Address, error)
	// AddAddress adds a permanent address, without duplicate address detection (EEXIST).
	AddAddress(index int, prefix netip.Prefix) error
	// DeleteAddress deletes an address (EADDRNOTAVAIL).
	DeleteAddress(index int, prefix netip.Prefix) error

	// Nexthops lists the nexthop objects with that protocol.
	Nexthops(protocol uint8) ([]Nexthop, error)
	// ReplaceNexthops creates nexthop objects or replaces them in place, in that order, and returns an error for each.
	// A single nexthop cannot become a group, nor the other way round (EINVAL); members must exist (EINVAL).
	ReplaceNexthops(nexthops []Nexthop) []error
	// DeleteNexthops deletes nexthop objects, one message each (ENOENT). A single nexthop leaves all its groups; groups
	// that become empty, and all routes without a nexthop, go with it.
	DeleteNexthops(ids []uint32) []error

	// Routes lists the routes of both families with that protocol, in one table or, for table 0, in all. A table that
	// does not exist has no routes.
	Routes(table uint32, protocol uint8) ([]Route, error)
	// ReplaceRoutes creates routes or replaces, in place, those with the same table, prefix and metric.
	ReplaceRoutes(routes []Route) []error
	// DeleteRoutes deletes routes with that table, prefix, metric and protocol (ESRCH).
	DeleteRoutes(routes []Route) []error

	// Rules lists the rules of one family, in the order in which they are tried.
	Rules(v6 bool) ([]Rule, error)
	// AddRule adds a rule behind those of the same priority (EEXIST for one that is the same in all respects, protocol
	// included).
	AddRule(Rule) error
	// DeleteRule deletes the first rule that is the same in all respects (ENOENT).
	DeleteRule(Rule) error

	// SAs lists the IPsec states of the network namespace, larval ones included.
	SAs() ([]SA, error)
	// DeleteSA deletes the ESP state with that destination and SPI (ESRCH).
	DeleteSA(SA) error
	// Policies lists the IPsec policies of the network namespace that have an if_id and a template.
	Policies() ([]Policy, error)
	// DeletePolicy deletes the policy with that selector, direction and if_id (ENOENT).
	DeletePolicy(Policy) error

	// Watch calls emit for every event, in order, until ctx ends (it returns nil) or events are lost (ErrEventsLost).
	// It calls ready once before the first event, when nothing that happens from then on can be missed.
	Watch(ctx context.Context, topics Topics, ready func(), emit func(Event)) error
}
