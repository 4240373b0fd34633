package route_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const table = 1001

// Ids used by the tests: nexthops of tunnels a, b and c in both families, and groups.
const (
	a4 = route.NexthopBase + 1 + iota
	b4
	c4
	a6
	b6
)

const (
	g4 = route.GroupBase + 1 + iota
	g6
)

// rig is a driver on a kernel with the devices ta, tb and tc, being watched.
type rig struct {
	*route.Driver
	t      *testing.T
	kernel *netlinktest.Kernel
	hints  chan dataplane.Hint
}

func newRig(t *testing.T) *rig {
	t.Helper()
	k := netlinktest.New(t)
	for _, name := range []string{"ta", "tb", "tc"} {
		k.AddDevice(name)
	}
	r := &rig{
		Driver: route.New(k, slog.New(slog.NewTextHandler(io.Discard, nil))),
		t:      t, kernel: k, hints: make(chan dataplane.Hint, 1<<16),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Watch(ctx, func(h dataplane.Hint) { r.hints <- h }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	r.await(dataplane.Resync, "") // subscribed
	return r
}

// await waits for a hint of that kind for that gateway.
func (r *rig) await(kind dataplane.HintKind, gateway string) dataplane.Hint {
	r.t.Helper()
	for {
		select {
		case h := <-r.hints:
			if h.Kind == kind && h.Gateway == gateway {
				return h
			}
		case <-r.t.Context().Done():
			r.t.Fatalf("no %v hint for gateway %q", kind, gateway)
		}
	}
}

func (r *rig) device(name string) netlink.Link {
	r.t.Helper()
	l, err := r.kernel.Link(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// apply applies and wants everything to succeed; it returns the writes.
func (r *rig) apply(want route.Desired) []string {
	r.t.Helper()
	res, err := r.Apply(r.t.Context(), want)
	if err != nil {
		r.t.Fatalf("Apply: %v", err)
	}
	if res.Failed() {
		r.t.Fatalf("Apply: %+v", res)
	}
	return r.kernel.TakeWrites()
}

// difference compares the kernel with a desired set whose devices all are up.
func (r *rig) difference(want route.Desired) string {
	r.t.Helper()
	return cmp.Diff(expected(r, want), r.facts(want.Table), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}))
}

type facts struct {
	Nexthops map[uint32]netlink.Nexthop
	Routes   map[netip.Prefix]netlink.Route
}

func (r *rig) facts(table uint32) facts {
	r.t.Helper()
	f := facts{make(map[uint32]netlink.Nexthop), make(map[netip.Prefix]netlink.Route)}
	nexthops, err := r.kernel.Outside().Nexthops(route.Protocol)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, n := range nexthops {
		f.Nexthops[n.ID] = n
	}
	routes, err := r.kernel.Outside().Routes(table, route.Protocol)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, rt := range routes {
		f.Routes[rt.Prefix] = rt
	}
	return f
}

func expected(r *rig, want route.Desired) facts {
	r.t.Helper()
	f := facts{make(map[uint32]netlink.Nexthop), make(map[netip.Prefix]netlink.Route)}
	for _, n := range want.Nexthops {
		f.Nexthops[n.ID] = netlink.Nexthop{
			ID: n.ID, Protocol: route.Protocol, IPv6: n.IPv6, Link: r.device(n.Interface).Index, Gateway: n.Gateway,
		}
	}
	for _, g := range want.Groups {
		f.Nexthops[g.ID] = netlink.Nexthop{ID: g.ID, Protocol: route.Protocol, Group: g.Members}
	}
	for _, rt := range want.Routes {
		nr := netlink.Route{
			Table: want.Table, Prefix: rt.Prefix, Metric: route.Metric, Protocol: route.Protocol,
			Type: netlink.Unicast, Nexthop: rt.Nexthop,
		}
		if rt.Unreachable {
			nr.Type = netlink.Unreachable
		}
		f.Routes[rt.Prefix] = nr
	}
	return f
}

// converge applies until nothing fails and the kernel is as wanted. Between attempts it does what the periodic resync
// does. A converged driver has nothing left to write.
func (r *rig) converge(want route.Desired) {
	r.t.Helper()
	for range 5 {
		res, err := r.Apply(r.t.Context(), want)
		if err == nil && !res.Failed() && r.difference(want) == "" {
			r.kernel.TakeWrites()
			if w := r.apply(want); len(w) > 0 {
				r.t.Errorf("writes although nothing differs: %q", w)
			}
			return
		}
		r.Invalidate("")
	}
	r.t.Fatalf("did not converge (-want +got):\n%s", r.difference(want))
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// both has tunnels a and b in one group per family, with routes of either family and of every type.
func both() route.Desired {
	return route.Desired{
		Gateway: "shop", Table: table,
		Nexthops: []route.Nexthop{
			{ID: a4, Interface: "ta"}, {ID: b4, Interface: "tb"},
			{ID: a6, IPv6: true, Interface: "ta"}, {ID: b6, IPv6: true, Interface: "tb"},
		},
		Groups: []route.Group{{ID: g4, Members: []uint32{a4, b4}}, {ID: g6, Members: []uint32{a6, b6}}},
		Routes: []route.Route{
			{Prefix: pfx("10.1.0.0/16"), Nexthop: g4},
			{Prefix: pfx("10.2.0.0/16"), Nexthop: g4},
			{Prefix: pfx("10.3.0.0/16"), Nexthop: a4},
			{Prefix: pfx("10.4.0.0/16"), Unreachable: true},
			{Prefix: pfx("fd01::/64"), Nexthop: g6},
			{Prefix: pfx("fd02::/64"), Unreachable: true},
		},
	}
}

// without is a desired set after the loss of some nexthops, as a planner would make it.
func without(want route.Desired, ids ...uint32) route.Desired {
	gone := make(map[uint32]bool)
	for _, id := range ids {
		gone[id] = true
	}
	w := route.Desired{Gateway: want.Gateway, Table: want.Table}
	for _, n := range want.Nexthops {
		if !gone[n.ID] {
			w.Nexthops = append(w.Nexthops, n)
		}
	}
	for _, g := range want.Groups {
		g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(id uint32) bool { return gone[id] })
		if len(g.Members) == 0 {
			gone[g.ID] = true
			continue
		}
		w.Groups = append(w.Groups, g)
	}
	for _, rt := range want.Routes {
		if !gone[rt.Nexthop] {
			w.Routes = append(w.Routes, rt)
		}
	}
	return w
}

func wantWrites(t *testing.T, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("writes (-want +got):\n%s", d)
	}
}

func errorKeys[K comparable](errs map[K]error) []K { return slices.Collect(maps.Keys(errs)) }

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
