package route

import (
	"net/netip"
)

// Ownership marks. A route is ours when it has Protocol and Metric; a nexthop object is ours when it has Protocol and an
// id between NexthopBase and IDEnd.
const (
	// Protocol is the rtm_protocol (and nh_protocol) of everything bordergw installs.
	Protocol = 201
	// Metric is the metric of every route this driver installs. Identity in the FIB is (table, prefix, metric), so an own
	// metric keeps a replace from ever hitting a foreign route. It is above that of connected routes (0 in IPv4, 256 in
	// IPv6) and below the default of IPv6 routes (1024).
	Metric = 512

	// NexthopBase is the first id of nexthops, GroupBase the first id of groups, IDEnd the first id beyond both ranges.
	// Ids are per network namespace: VRFs share them.
	NexthopBase uint32 = 0x42000000
	GroupBase   uint32 = 0x42800000
	IDEnd       uint32 = 0x43000000
)

// Desired is everything the route driver installs for one BorderGateway.
type Desired struct {
	Gateway string
	// Table is the routing table of the gateway's VRF.
	Table    uint32
	Nexthops []Nexthop
	Groups   []Group
	Routes   []Route
}

// Nexthop is one nexthop object: one tunnel, or one attachment, in one address family.
type Nexthop struct {
	// ID is in [NexthopBase, GroupBase) and used by no other gateway.
	ID uint32
	// IPv6 is the family; IPv6 routes take only IPv6 nexthops (net/ipv6/route.c, fib6_check_nexthop).
	IPv6 bool
	// Interface is the device's name. It must be up: the kernel refuses nexthops on devices that are down.
	Interface string
	// Gateway is the next hop's address; the zero Addr makes a device route, as tunnels need.
	Gateway netip.Addr
}

// Group is a nexthop group: equal-cost paths.
type Group struct {
	// ID is in [GroupBase, IDEnd) and used by no other gateway.
	ID uint32
	// Members are nexthop ids, sorted, each once, at least one, all of one family. Members that could not be installed
	// are left out of the group; when none is left the group cannot exist, and neither can its routes.
	Members []uint32
}

// Route is one route of the gateway's table.
type Route struct {
	// Prefix is the destination, masked; its family is that of the nexthop.
	Prefix netip.Prefix
	// Nexthop is the id of a nexthop or a group in the same Desired.
	Nexthop uint32
	// Unreachable makes the kernel answer with "host unreachable"; Nexthop must be 0 then.
	Unreachable bool
}

// Result is what Apply left in the kernel.
type Result struct {
	// Nexthops and Groups are the ids installed; Routes counts the routes installed.
	Nexthops []uint32
	Groups   []Group
	Routes   int
	// NexthopErrors and GroupErrors are keyed by id, RouteErrors by prefix: desired objects that are not as desired, and
	// unwanted ones that could not be removed.
	NexthopErrors map[uint32]error
	GroupErrors   map[uint32]error
	RouteErrors   map[netip.Prefix]error
}
