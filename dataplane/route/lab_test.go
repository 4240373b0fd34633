//go:build lab

package route_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

// real is a driver on this machine's kernel, in a namespace with veth devices ta, tb and tc.
type real struct {
	*route.Driver
	t       *testing.T
	kernel  *netlinktest.Counter
	outside *netlink.Handle
	hints   chan dataplane.Hint
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func newReal(t *testing.T) *real {
	netlinktest.Namespace(t)
	for _, name := range []string{"ta", "tb", "tc"} {
		ip(t, "link", "add", name, "type", "veth", "peer", name+"p")
		ip(t, "link", "set", name, "up")
		ip(t, "link", "set", name+"p", "up")
	}
	open := func() *netlink.Handle {
		h, err := netlink.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	r := &real{t: t, kernel: &netlinktest.Counter{Kernel: open()}, outside: open(), hints: make(chan dataplane.Hint, 1<<16)}
	r.Driver = route.New(r.kernel, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return r
}

// watch subscribes on the test's own thread, which is the one in the namespace, and runs the rest of the test beside it.
func (r *real) watch(test func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	finished := make(chan struct{})
	subscribed := make(chan struct{})
	go func() {
		defer close(finished)
		defer cancel()
		<-subscribed
		test()
	}()
	first := true
	err := r.Watch(ctx, func(h dataplane.Hint) {
		if first {
			first = false
			close(subscribed)
			return
		}
		r.hints <- h
	})
	<-finished
	if err != nil {
		r.t.Errorf("Watch: %v", err)
	}
}

func (r *real) facts() (map[uint32]netlink.Nexthop, map[netip.Prefix]netlink.Route) {
	nexthops, err := r.outside.Nexthops(route.Protocol)
	if err != nil {
		r.t.Error(err)
	}
	routes, err := r.outside.Routes(table, route.Protocol)
	if err != nil {
		r.t.Error(err)
	}
	byID := make(map[uint32]netlink.Nexthop)
	for _, n := range nexthops {
		byID[n.ID] = n
	}
	byPrefix := make(map[netip.Prefix]netlink.Route)
	for _, rt := range routes {
		byPrefix[rt.Prefix] = rt
	}
	return byID, byPrefix
}

// check applies and compares the kernel with what is wanted; it returns the messages sent.
func (r *real) check(what string, want route.Desired) int {
	r.t.Helper()
	res, err := r.Apply(r.t.Context(), want)
	if err != nil || res.Failed() {
		r.t.Errorf("%s: Apply: %+v, %v", what, res, err)
	}
	sent := r.kernel.Take()
	byID, byPrefix := r.facts()
	for _, n := range want.Nexthops {
		if have, ok := byID[n.ID]; !ok || have.IPv6 != n.IPv6 || have.Link == 0 {
			r.t.Errorf("%s: nexthop %#x: %+v", what, n.ID, have)
		}
	}
	for _, g := range want.Groups {
		if d := cmp.Diff(g.Members, byID[g.ID].Group); d != "" {
			r.t.Errorf("%s: group %#x (-want +got):\n%s", what, g.ID, d)
		}
	}
	wantRoutes := make(map[netip.Prefix]netlink.Route)
	for _, rt := range want.Routes {
		nr := netlink.Route{Table: want.Table, Prefix: rt.Prefix, Metric: route.Metric, Protocol: route.Protocol, Type: netlink.Unicast, Nexthop: rt.Nexthop}
		if rt.Unreachable {
			nr.Type = netlink.Unreachable
		}
		wantRoutes[rt.Prefix] = nr
	}
	if d := cmp.Diff(wantRoutes, byPrefix, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		r.t.Errorf("%s: routes (-want +got):\n%s", what, d)
	}
	if len(byID) != len(want.Nexthops)+len(want.Groups) {
		r.t.Errorf("%s: %d nexthop objects, want %d", what, len(byID), len(want.Nexthops)+len(want.Groups))
	}
	return sent
}

// The kernel does what the fake does: replace in place in both families, one message for a lost tunnel, silence.
func TestLabLife(t *testing.T) {
	r := newReal(t)
	r.watch(func() {
		if n := r.check("first", both()); n != 12 {
			t.Errorf("first round: %d messages, want 12", n)
		}
		if n := r.check("again", both()); n != 0 {
			t.Errorf("second round: %d messages, want 0", n)
		}
		changed := both()
		changed.Routes[0].Nexthop = b4
		changed.Routes[3] = route.Route{Prefix: changed.Routes[3].Prefix, Nexthop: g4}
		changed.Routes[4] = route.Route{Prefix: changed.Routes[4].Prefix, Unreachable: true}
		changed.Routes[5] = route.Route{Prefix: changed.Routes[5].Prefix, Nexthop: g6}
		if n := r.check("routes replaced", changed); n != 4 {
			t.Errorf("four routes replaced: %d messages, want 4", n)
		}
		r.check("back", both())
		if err := r.DropNexthop(t.Context(), "shop", a4); err != nil {
			t.Error(err)
		}
		if n := r.kernel.Take(); n != 1 {
			t.Errorf("DropNexthop: %d messages, want 1", n)
		}
		if n := r.check("after drop", without(both(), a4)); n != 0 {
			t.Errorf("after DropNexthop: %d messages, want 0", n)
		}
		for _, id := range []uint32{a6, b6} {
			if err := r.DropNexthop(t.Context(), "shop", id); err != nil {
				t.Error(err)
			}
		}
		if n := r.check("after dropping a whole group", without(both(), a4, a6, b6)); n != 2 {
			t.Errorf("after DropNexthop of a whole group: %d messages, want 2", n)
		}
		r.check("all back", both())
		// Another program's change is the first hint: nothing of the above was one.
		if err := r.outside.DeleteNexthops([]uint32{g4})[0]; err != nil {
			t.Error(err)
		}
		if h := <-r.hints; h.Reason != "nexthop removed by another program" {
			t.Errorf("first hint: %+v", h)
		}
		r.check("repaired", both())
		// The kernel takes everything on a device that goes down.
		l, err := r.outside.Link("ta")
		if err != nil {
			t.Error(err)
		}
		if err := r.outside.SetUp(l.Index, false); err != nil {
			t.Error(err)
		}
		if h := <-r.hints; h.Kind != dataplane.Resync {
			t.Errorf("device down: hint %+v", h)
		}
		r.check("one device left", without(both(), a4, a6))
		if err := r.outside.SetUp(l.Index, true); err != nil {
			t.Error(err)
		}
		for { // the peer's carrier comes back a moment later
			res, err := r.Apply(t.Context(), both())
			if err != nil {
				t.Error(err)
				return
			}
			if !res.Failed() {
				break
			}
			<-r.hints
		}
		r.check("both devices", both())
		if err := r.Remove(t.Context(), "shop"); err != nil {
			t.Error(err)
		}
		if byID, byPrefix := r.facts(); len(byID)+len(byPrefix) > 0 {
			t.Errorf("left after Remove: %v %v", byID, byPrefix)
		}
	})
}

// Ten thousand routes: how long, and that the failure of a tunnel costs the same as with ten.
func TestLabTenThousandRoutes(t *testing.T) {
	r := newReal(t)
	want := both()
	want.Routes = nil
	for i := range 10000 {
		want.Routes = append(want.Routes, route.Route{
			Prefix: pfx(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)), Nexthop: g4,
		})
	}
	step := func(what string, do func()) time.Duration {
		start := time.Now()
		do()
		took := time.Since(start)
		t.Logf("%-32s %10v, %d messages", what, took.Round(time.Microsecond), r.kernel.Take())
		return took
	}
	apply := func() {
		if res, err := r.Apply(t.Context(), want); err != nil || res.Failed() || res.Routes != len(want.Routes) {
			t.Fatalf("Apply: %d routes, %v", res.Routes, err)
		}
	}
	took := step("install", apply)
	t.Logf("%.0f routes/s", float64(len(want.Routes))/took.Seconds())
	step("nothing to do", apply)
	r.Invalidate("shop")
	step("nothing to do, listed anew", apply)
	step("lose a tunnel", func() {
		if err := r.DropNexthop(t.Context(), "shop", a4); err != nil {
			t.Fatal(err)
		}
	})
	step("round after it", func() {
		if _, err := r.Apply(t.Context(), without(want, a4)); err != nil {
			t.Fatal(err)
		}
	})
	step("tunnel back", apply)
	for i := range want.Routes {
		want.Routes[i].Nexthop = b4
	}
	step("move all to another nexthop", apply)
	step("remove", func() {
		if err := r.Remove(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
	})
}
