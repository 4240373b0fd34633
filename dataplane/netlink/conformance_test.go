package netlink_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

// TestFakeConforms holds the kernel in memory to what the real one does; TestLabConforms holds the real one to the same.
func TestFakeConforms(t *testing.T) {
	k := netlinktest.New(t)
	conform(t, k, func(name string) { k.AddDevice(name, netip.MustParsePrefix("192.0.2.1/24")) }, true)
}

const (
	protocol = 201
	table    = 1001
)

// conform tries what the drivers rely on, refusals above all. device makes a device that is up and has 192.0.2.1/24.
func conform(t *testing.T, k netlink.Kernel, device func(name string), vrfs bool) {
	device("ta")
	device("tb")
	index := func(name string) int {
		t.Helper()
		l, err := k.Link(name)
		if err != nil {
			t.Fatal(err)
		}
		return l.Index
	}
	step := func(what string, err error, want error) {
		t.Helper()
		if !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	ta, tb := index("ta"), index("tb")
	single := func(id uint32, link int, v6 bool) netlink.Nexthop {
		return netlink.Nexthop{ID: id, Protocol: protocol, Link: link, IPv6: v6}
	}
	group := func(id uint32, members ...uint32) netlink.Nexthop {
		return netlink.Nexthop{ID: id, Protocol: protocol, Group: members}
	}
	put := func(n netlink.Nexthop) error { return k.ReplaceNexthops([]netlink.Nexthop{n})[0] }
	to := func(prefix string, id uint32) netlink.Route {
		return netlink.Route{
			Table: table, Prefix: netip.MustParsePrefix(prefix), Metric: 512, Protocol: protocol, Type: netlink.Unicast, Nexthop: id,
		}
	}
	unreachable := func(prefix string) netlink.Route {
		r := to(prefix, 0)
		r.Type = netlink.Unreachable
		return r
	}
	route := func(r netlink.Route) error { return k.ReplaceRoutes([]netlink.Route{r})[0] }
	routes := func() []netlink.Route {
		t.Helper()
		list, err := k.Routes(table, protocol)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(list, func(a, b netlink.Route) int { return a.Prefix.Compare(b.Prefix) })
		return list
	}
	wantRoutes := func(what string, want ...netlink.Route) {
		t.Helper()
		if got := routes(); !slices.Equal(got, want) {
			t.Errorf("%s: routes %v, want %v", what, got, want)
		}
	}

	_, err := k.Link("nothing")
	step("unknown link", err, netlink.ErrNotExist)
	wantRoutes("table that does not exist")

	step("nexthop", put(single(1, ta, false)), nil)
	step("nexthop on tb", put(single(2, tb, false)), nil)
	step("nexthop again, elsewhere", put(single(2, ta, false)), nil)
	step("nexthop back", put(single(2, tb, false)), nil)
	step("nexthop on an unknown device", put(single(3, 4711, false)), unix.EINVAL)
	gw := single(4, ta, false)
	gw.Gateway = netip.MustParseAddr("192.0.2.9")
	step("nexthop with gateway", put(gw), nil)
	step("IPv6 nexthop", put(single(5, ta, true)), nil)
	step("group", put(group(10, 1, 2)), nil)
	step("group of unknown member", put(group(11, 1, 99)), unix.EINVAL)
	step("group over a nexthop", put(group(1, 2)), unix.EINVAL)
	step("nexthop over a group", put(single(10, ta, false)), unix.EINVAL)
	step("delete unknown nexthop", k.DeleteNexthops([]uint32{77})[0], unix.ENOENT)

	step("route to a group", route(to("10.1.0.0/16", 10)), nil)
	step("route to a nexthop", route(to("10.2.0.0/16", 1)), nil)
	step("route to nothing", route(to("10.3.0.0/16", 99)), unix.EINVAL)
	step("route with host bits", route(netlink.Route{
		Table: table, Prefix: netip.PrefixFrom(netip.MustParseAddr("10.3.0.1"), 16), Metric: 512, Protocol: protocol,
		Type: netlink.Unicast, Nexthop: 1,
	}), unix.EINVAL)
	step("IPv6 route to an IPv4 nexthop", route(to("fd01::/64", 1)), unix.EINVAL)
	step("IPv6 route", route(to("fd01::/64", 5)), nil)
	wantRoutes("made", to("10.1.0.0/16", 10), to("10.2.0.0/16", 1), to("fd01::/64", 5))
	step("replaced by unreachable", route(unreachable("10.2.0.0/16")), nil)
	step("IPv6 replaced by unreachable", route(unreachable("fd01::/64")), nil)
	wantRoutes("replaced", to("10.1.0.0/16", 10), unreachable("10.2.0.0/16"), unreachable("fd01::/64"))
	step("and back", route(to("10.2.0.0/16", 1)), nil)
	step("and back, IPv6", route(to("fd01::/64", 5)), nil)
	foreign := to("10.2.0.0/16", 1)
	foreign.Protocol = 202
	step("delete under another protocol", k.DeleteRoutes([]netlink.Route{foreign})[0], unix.ESRCH)
	step("delete unknown route", k.DeleteRoutes([]netlink.Route{to("10.77.0.0/16", 1)})[0], unix.ESRCH)

	step("delete a group's member", k.DeleteNexthops([]uint32{1})[0], nil)
	wantRoutes("without the member's own route", to("10.1.0.0/16", 10), to("fd01::/64", 5))
	step("delete the last member", k.DeleteNexthops([]uint32{2})[0], nil)
	wantRoutes("without the group's routes", to("fd01::/64", 5))
	step("the group went too", k.DeleteNexthops([]uint32{10})[0], unix.ENOENT)
	step("device down", k.SetUp(ta, false), nil)
	wantRoutes("after the device went down")
	step("nexthop on a device that is down", put(single(1, ta, false)), unix.ENETDOWN)
	left, err := k.Nexthops(protocol)
	step("list nexthops", err, nil)
	if len(left) > 0 {
		t.Errorf("nexthops left: %v", left)
	}

	address := netip.MustParsePrefix("198.51.100.1/32")
	step("address", k.AddAddress(tb, address), nil)
	step("address again", k.AddAddress(tb, address), unix.EEXIST)
	step("delete address", k.DeleteAddress(tb, address), nil)
	step("delete address again", k.DeleteAddress(tb, address), unix.EADDRNOTAVAIL)
	if have, err := k.Addresses(tb); err != nil || !slices.Contains(have, netlink.Address{Prefix: netip.MustParsePrefix("192.0.2.1/24"), Permanent: true}) {
		t.Errorf("addresses: %v, %v", have, err)
	}
	step("alias", k.SetAlias(tb, "bordergw:tunnel/x"), nil)
	step("delete an unknown link", k.DeleteLink(4711), unix.ENODEV)
	for _, v6 := range []bool{false, true} {
		conformRules(t, k, step, v6)
	}
	if vrfs {
		conformVRF(t, k, step, index)
	}
}

// conformRules tries the rules of routing policy of one family. It leaves them as they were.
func conformRules(t *testing.T, k netlink.Kernel, step func(string, error, error), v6 bool) {
	t.Helper()
	local := func(priority uint32, protocol uint8) netlink.Rule {
		return netlink.Rule{IPv6: v6, Priority: priority, Protocol: protocol, Table: netlink.LocalTable}
	}
	l3mdev := netlink.Rule{IPv6: v6, Priority: 1, Protocol: protocol, L3mdev: true}
	far := netlink.Rule{IPv6: v6, Priority: 3, Protocol: protocol, Table: 100001}
	want := func(what string, want ...netlink.Rule) {
		t.Helper()
		got, err := k.Rules(v6)
		if err != nil {
			t.Fatal(err)
		}
		// Those of a new namespace, and perhaps the one of the first VRF, come last.
		got = slices.DeleteFunc(got, func(r netlink.Rule) bool { return r.Priority >= 1000 })
		if !slices.Equal(got, want) {
			t.Errorf("%s, IPv6 %v: rules %+v, want %+v", what, v6, got, want)
		}
	}
	stock := local(0, netlink.ProtocolKernel)
	want("new", stock)
	step("rule", k.AddRule(local(2, protocol)), nil)
	step("l3mdev rule", k.AddRule(l3mdev), nil)
	step("rule with a large table", k.AddRule(far), nil)
	step("rule again", k.AddRule(local(2, protocol)), unix.EEXIST)
	step("l3mdev rule again", k.AddRule(l3mdev), unix.EEXIST)
	step("rule of another protocol", k.AddRule(local(2, netlink.ProtocolKernel)), nil)
	want("made", stock, l3mdev, local(2, protocol), local(2, netlink.ProtocolKernel), far)
	step("delete the host's own", k.DeleteRule(stock), nil)
	step("delete it again", k.DeleteRule(stock), unix.ENOENT)
	step("delete under another protocol", k.DeleteRule(local(2, 77)), unix.ENOENT)
	step("delete the other protocol's", k.DeleteRule(local(2, netlink.ProtocolKernel)), nil)
	want("moved", l3mdev, local(2, protocol), far)
	step("put back", k.AddRule(stock), nil)
	step("delete l3mdev", k.DeleteRule(l3mdev), nil)
	step("delete local", k.DeleteRule(local(2, protocol)), nil)
	step("delete large", k.DeleteRule(far), nil)
	step("l3mdev rule with a table", k.AddRule(netlink.Rule{IPv6: v6, Priority: 1, L3mdev: true, Table: 5}), unix.EINVAL)
	step("rule with conditions", k.AddRule(netlink.Rule{IPv6: v6, Priority: 1, Table: 5, Other: true}), unix.EINVAL)
	want("put back", stock)
}

// conformVRF tries VRFs and XFRM interfaces, which not every kernel has.
func conformVRF(t *testing.T, k netlink.Kernel, step func(string, error, error), index func(string) int) {
	tb := index("tb")
	step("VRF", k.AddVRF("bgwv1", table), nil)
	for _, v6 := range []bool{false, true} {
		rules, err := k.Rules(v6)
		step("rules", err, nil)
		made := netlink.Rule{IPv6: v6, Priority: 1000, Protocol: netlink.ProtocolKernel, L3mdev: true}
		if !slices.Contains(rules, made) {
			t.Errorf("the first VRF's rule is not among %+v", rules)
		}
	}
	step("VRF again", k.AddVRF("bgwv1", table), unix.EEXIST)
	step("XFRM interface", k.AddXfrm("bgw1", 7, tb, 1400), nil)
	step("XFRM interface with the same if_id", k.AddXfrm("bgw2", 7, tb, 1400), unix.EEXIST)
	step("XFRM interface with the same name", k.AddXfrm("bgw1", 8, tb, 1400), unix.EEXIST)
	step("enslave to no VRF", k.SetMaster(index("bgw1"), tb), unix.EOPNOTSUPP)
	vrf, bgw1 := index("bgwv1"), index("bgw1")
	step("VRF up", k.SetUp(vrf, true), nil)
	step("enslave", k.SetMaster(bgw1, vrf), nil)
	step("up", k.SetUp(bgw1, true), nil)
	l, err := k.Link("bgw1")
	step("get", err, nil)
	want := netlink.Link{
		Index: bgw1, Name: "bgw1", Kind: netlink.KindXfrm, Master: vrf, Underlay: tb, IfID: 7, MTU: 1400, Up: true, Running: true,
	}
	if l != want {
		t.Errorf("XFRM interface %+v, want %+v", l, want)
	}
	v, err := k.Link("bgwv1")
	step("get VRF", err, nil)
	if v.Kind != netlink.KindVRF || v.Table != table || !v.OperUp() {
		t.Errorf("VRF %+v", v)
	}
	inside := netip.MustParsePrefix("fd99::1/126")
	step("IPv6 address", k.AddAddress(bgw1, inside), nil)
	step("nexthop", k.ReplaceNexthops([]netlink.Nexthop{{ID: 1, Protocol: protocol, Link: bgw1}})[0], nil)
	step("release", k.SetMaster(bgw1, 0), nil)
	addresses, err := k.Addresses(bgw1)
	step("addresses", err, nil)
	if slices.ContainsFunc(addresses, func(a netlink.Address) bool { return a.Prefix == inside }) {
		t.Error("the IPv6 address survived a change of master")
	}
	nexthops, err := k.Nexthops(protocol)
	step("nexthops", err, nil)
	if len(nexthops) > 0 {
		t.Errorf("a nexthop survived a change of master: %v", nexthops)
	}
	step("delete VRF", k.DeleteLink(vrf), nil)
	step("delete XFRM interface", k.DeleteLink(bgw1), nil)
	if _, err := k.Link("bgw1"); !errors.Is(err, netlink.ErrNotExist) {
		t.Error(fmt.Errorf("deleted link: %w", err))
	}
}
