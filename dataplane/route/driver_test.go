package route_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/route"
)

func TestApplyTwiceWritesOnce(t *testing.T) {
	r := newRig(t)
	if w := r.apply(both()); len(w) != 4+2+6 {
		t.Errorf("first round: %d writes, want 12: %q", len(w), w)
	}
	if d := r.difference(both()); d != "" {
		t.Errorf("kernel (-want +got):\n%s", d)
	}
	wantWrites(t, r.apply(both()))
	r.Invalidate("shop")
	wantWrites(t, r.apply(both()))
}

func TestChangesAreInPlace(t *testing.T) {
	tests := []struct {
		name   string
		change func(*route.Desired)
		writes []string
	}{
		{
			name: "route moves to another nexthop",
			change: func(w *route.Desired) {
				w.Routes[0].Nexthop = b4
			},
			writes: []string{"replace route 1001 10.1.0.0/16"},
		},
		{
			name: "IPv6 route becomes unreachable",
			change: func(w *route.Desired) {
				w.Routes[4] = route.Route{Prefix: pfx("fd01::/64"), Unreachable: true}
			},
			writes: []string{"replace route 1001 fd01::/64"},
		},
		{
			name: "group loses a member, the nexthop stays",
			change: func(w *route.Desired) {
				w.Groups[0].Members = []uint32{a4}
			},
			writes: []string{fmt.Sprintf("replace nexthop %#x", g4)},
		},
		{
			name: "nexthop moves to another device",
			change: func(w *route.Desired) {
				w.Nexthops[1].Interface = "tc"
			},
			writes: []string{fmt.Sprintf("replace nexthop %#x", b4)},
		},
		{
			name: "one tunnel more, one route less: adds come first",
			change: func(w *route.Desired) {
				w.Nexthops = append(w.Nexthops, route.Nexthop{ID: c4, Interface: "tc"})
				w.Groups[0].Members = []uint32{a4, b4, c4}
				w.Routes = w.Routes[1:]
			},
			writes: []string{
				fmt.Sprintf("replace nexthop %#x", c4), fmt.Sprintf("replace nexthop %#x", g4), "delete route 1001 10.1.0.0/16",
			},
		},
		{
			name: "everything moves to another table",
			change: func(w *route.Desired) {
				w.Table, w.Routes = 1002, w.Routes[:1]
			},
			writes: []string{
				"replace route 1002 10.1.0.0/16",
				"delete route 1001 10.1.0.0/16", "delete route 1001 10.2.0.0/16", "delete route 1001 10.3.0.0/16",
				"delete route 1001 10.4.0.0/16", "delete route 1001 fd01::/64", "delete route 1001 fd02::/64",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			want := both()
			r.apply(want)
			tt.change(&want)
			wantWrites(t, r.apply(want), tt.writes...)
			if d := r.difference(want); d != "" {
				t.Errorf("kernel (-want +got):\n%s", d)
			}
			wantWrites(t, r.apply(want))
		})
	}
}

func TestNexthopChangesFamily(t *testing.T) {
	r := newRig(t)
	want := both()
	r.apply(want)
	want.Nexthops[1].IPv6 = true
	want.Groups = []route.Group{{ID: g4, Members: []uint32{a4}}, {ID: g6, Members: []uint32{b4, a6, b6}}}
	r.converge(want)
}

func TestDropNexthop(t *testing.T) {
	t.Run("one of two", func(t *testing.T) {
		r := newRig(t)
		r.apply(both())
		if err := r.DropNexthop(t.Context(), "shop", a4); err != nil {
			t.Fatal(err)
		}
		wantWrites(t, r.kernel.TakeWrites(), fmt.Sprintf("delete nexthop %#x", a4))
		want := without(both(), a4)
		if d := r.difference(want); d != "" {
			t.Errorf("kernel (-want +got):\n%s", d)
		}
		wantWrites(t, r.apply(want))
	})
	t.Run("the last one takes group and routes along", func(t *testing.T) {
		r := newRig(t)
		r.apply(both())
		for _, id := range []uint32{a6, b6} {
			if err := r.DropNexthop(t.Context(), "shop", id); err != nil {
				t.Fatal(err)
			}
		}
		if w := r.kernel.TakeWrites(); len(w) != 2 {
			t.Errorf("writes: %q", w)
		}
		want := without(both(), a6, b6)
		wantWrites(t, r.apply(want))
		// The kernel tells of IPv6 routes that went; that is no news, even when they are back before it arrives.
		r.apply(both())
		r.kernel.Outside().DeleteNexthops([]uint32{g4})
		if h := r.await(dataplane.Resync, "shop"); h.Reason != "nexthop removed by another program" {
			t.Errorf("first hint: %+v", h)
		}
		r.apply(both())
	})
	t.Run("again, and of what never was", func(t *testing.T) {
		r := newRig(t)
		r.apply(both())
		for range 2 {
			if err := r.DropNexthop(t.Context(), "shop", a4); err != nil {
				t.Fatal(err)
			}
		}
		if w := r.kernel.TakeWrites(); len(w) != 1 {
			t.Errorf("writes: %q", w)
		}
		if err := r.DropNexthop(t.Context(), "nobody", c4); err != nil {
			t.Errorf("unknown nexthop: %v", err)
		}
		if err := r.DropNexthop(t.Context(), "shop", g4); err == nil {
			t.Error("a group was accepted as a nexthop")
		}
		if err := r.DropNexthop(t.Context(), "other", b4); err == nil {
			t.Error("another gateway's nexthop was accepted")
		}
	})
}

func TestBadObjectsDoNotBlockOthers(t *testing.T) {
	const bad = route.NexthopBase + 99
	r := newRig(t)
	want := both()
	want.Nexthops = append(want.Nexthops,
		route.Nexthop{ID: c4, Interface: "missing"},
		route.Nexthop{ID: 7, Interface: "ta"},
		route.Nexthop{ID: bad, Interface: "ta", Gateway: netip.MustParseAddr("192.0.2.1")},
	)
	want.Groups = append(want.Groups,
		route.Group{ID: g6 + 1, Members: nil},
		route.Group{ID: g6 + 2, Members: []uint32{a4, a6}},
		route.Group{ID: g6 + 3, Members: []uint32{b4, a4}},
		route.Group{ID: g6 + 4, Members: []uint32{a4, c4}},
		route.Group{ID: g6 + 5, Members: []uint32{c4}},
	)
	want.Routes = append(want.Routes,
		route.Route{Prefix: pfx("10.9.0.1/16"), Nexthop: a4},
		route.Route{Prefix: pfx("10.10.0.0/16"), Nexthop: 12345},
		route.Route{Prefix: pfx("10.11.0.0/16"), Nexthop: g6 + 5},
		route.Route{Prefix: pfx("10.12.0.0/16"), Nexthop: g6 + 4},
		route.Route{Prefix: pfx("fd05::/64"), Nexthop: a4},
	)
	res, err := r.Apply(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	sorted := cmpopts.SortSlices(func(a, b uint32) bool { return a < b })
	if d := cmp.Diff([]uint32{7, c4, bad}, errorKeys(res.NexthopErrors), sorted); d != "" {
		t.Errorf("nexthop errors (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]uint32{g6 + 1, g6 + 2, g6 + 3, g6 + 4, g6 + 5}, errorKeys(res.GroupErrors), sorted); d != "" {
		t.Errorf("group errors (-want +got):\n%s", d)
	}
	for prefix, text := range map[string]string{
		"10.9.0.1/16": "network address", "10.10.0.0/16": "not among", "10.11.0.0/16": "not installed", "fd05::/64": "invalid argument",
	} {
		if err := res.RouteErrors[pfx(prefix)]; !contains(err, text) {
			t.Errorf("route %s: error %v, want one with %q", prefix, err, text)
		}
	}
	if len(res.RouteErrors) != 4 {
		t.Errorf("route errors: %v", res.RouteErrors)
	}
	if !errors.Is(res.NexthopErrors[bad], unix.EHOSTUNREACH) {
		t.Errorf("kernel's refusal is not wrapped: %v", res.NexthopErrors[bad])
	}
	if res.Routes != 7 { // the good ones, and the one whose group has one member left
		t.Errorf("%d routes installed, want 7", res.Routes)
	}
	// A device that was waited for is reported when it comes up.
	r.kernel.AddDevice("missing")
	if h := r.await(dataplane.Changed, "shop"); h.Object != "missing" {
		t.Errorf("hint %+v", h)
	}
	if res, err = r.Apply(t.Context(), want); err != nil || res.Routes != 8 || res.NexthopErrors[c4] != nil {
		t.Errorf("after the device came up: %+v, %v", res, err)
	}
}

func TestForeignThingsStay(t *testing.T) {
	r := newRig(t)
	outside := r.kernel.Outside()
	foreignNexthops := []netlink.Nexthop{
		{ID: 5, Protocol: 186, Link: r.device("ta").Index},
		{ID: route.NexthopBase + 50, Protocol: 186, Link: r.device("ta").Index},
	}
	foreignRoutes := []netlink.Route{
		{Table: table, Prefix: pfx("10.1.0.0/16"), Metric: 20, Protocol: 186, Type: netlink.Unreachable},
		{Table: table, Prefix: pfx("0.0.0.0/0"), Metric: 4278198272, Protocol: route.Protocol, Type: netlink.Unreachable},
		{Table: 254, Prefix: pfx("10.1.0.0/16"), Metric: 20, Protocol: 186, Type: netlink.Unicast, Nexthop: 5},
	}
	for _, err := range append(outside.ReplaceNexthops(foreignNexthops), outside.ReplaceRoutes(foreignRoutes)...) {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.apply(both())
	if err := r.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	nexthops, err := outside.Nexthops(186)
	if err != nil {
		t.Fatal(err)
	}
	var routes []netlink.Route
	for _, protocol := range []uint8{186, route.Protocol} {
		list, err := outside.Routes(0, protocol)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, list...)
	}
	less := func(a, b netlink.Route) bool { return fmt.Sprint(a) < fmt.Sprint(b) }
	opts := cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.SortSlices(less)}
	if d := cmp.Diff(foreignNexthops, nexthops, opts); d != "" {
		t.Errorf("foreign nexthops (-want +got):\n%s", d)
	}
	if d := cmp.Diff(foreignRoutes, routes, opts); d != "" {
		t.Errorf("foreign routes (-want +got):\n%s", d)
	}
}

func TestGatewaysCannotShareIdsOrTables(t *testing.T) {
	r := newRig(t)
	r.apply(both())
	other := route.Desired{
		Gateway: "other", Table: 1002,
		Nexthops: []route.Nexthop{{ID: a4, Interface: "tc"}, {ID: c4, Interface: "tc"}},
		Routes:   []route.Route{{Prefix: pfx("10.1.0.0/16"), Nexthop: c4}, {Prefix: pfx("10.2.0.0/16"), Nexthop: a4}},
	}
	res, err := r.Apply(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if !contains(res.NexthopErrors[a4], "belongs to gateway shop") || !contains(res.RouteErrors[pfx("10.2.0.0/16")], "not installed") {
		t.Errorf("errors: %v, %v", res.NexthopErrors, res.RouteErrors)
	}
	if res.Routes != 1 {
		t.Errorf("%d routes, want 1", res.Routes)
	}
	other.Table = table
	if _, err := r.Apply(t.Context(), other); !contains(err, "belongs to gateway shop") {
		t.Errorf("shared table: %v", err)
	}
}
