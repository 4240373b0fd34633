package route_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

// Whatever another program or the kernel itself does to our objects is reported, and the next round repairs it.
func TestWatchReportsAndApplyRepairs(t *testing.T) {
	tests := []struct {
		name string
		do   func(*rig, netlink.Kernel) []error
		up   string // device to bring back
	}{
		{name: "route deleted", do: func(_ *rig, k netlink.Kernel) []error {
			return k.DeleteRoutes([]netlink.Route{{Table: table, Prefix: pfx("10.1.0.0/16"), Metric: route.Metric, Protocol: route.Protocol}})
		}},
		{name: "route redirected", do: func(_ *rig, k netlink.Kernel) []error {
			return k.ReplaceRoutes([]netlink.Route{{
				Table: table, Prefix: pfx("fd01::/64"), Metric: route.Metric, Protocol: route.Protocol, Type: netlink.Unicast, Nexthop: a6,
			}})
		}},
		{name: "route added under our mark", do: func(_ *rig, k netlink.Kernel) []error {
			return k.ReplaceRoutes([]netlink.Route{{
				Table: table, Prefix: pfx("10.99.0.0/16"), Metric: route.Metric, Protocol: route.Protocol, Type: netlink.Unreachable,
			}})
		}},
		{name: "nexthop deleted", do: func(_ *rig, k netlink.Kernel) []error { return k.DeleteNexthops([]uint32{a4}) }},
		{name: "group deleted", do: func(_ *rig, k netlink.Kernel) []error { return k.DeleteNexthops([]uint32{g6}) }},
		{name: "group changed", do: func(_ *rig, k netlink.Kernel) []error {
			return k.ReplaceNexthops([]netlink.Nexthop{{ID: g4, Protocol: route.Protocol, Group: []uint32{b4}}})
		}},
		{name: "device down", up: "tb", do: func(r *rig, k netlink.Kernel) []error {
			return []error{k.SetUp(r.device("tb").Index, false)}
		}},
		{name: "carrier lost", up: "ta", do: func(r *rig, _ netlink.Kernel) []error {
			r.kernel.SetRunning("ta", false)
			return nil
		}},
		{name: "device replaced", do: func(r *rig, k netlink.Kernel) []error {
			err := k.DeleteLink(r.device("ta").Index)
			r.kernel.AddDevice("ta")
			return []error{err}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.apply(both())
			for _, err := range tt.do(r, r.kernel.Outside()) {
				if err != nil {
					t.Fatal(err)
				}
			}
			r.await(dataplane.Resync, "shop")
			if tt.up != "" {
				// What can still be there is, and the device's return is reported.
				if _, err := r.Apply(t.Context(), both()); err != nil {
					t.Fatal(err)
				}
				if err := r.kernel.Outside().SetUp(r.device(tt.up).Index, true); err != nil {
					t.Fatal(err)
				}
				r.kernel.SetRunning(tt.up, true)
				r.await(dataplane.Changed, "shop")
			}
			r.apply(both())
			if d := r.difference(both()); d != "" {
				t.Errorf("kernel (-want +got):\n%s", d)
			}
		})
	}
}

// Own writes, and things that concern no route of ours, are not reported: rounds do not cause rounds.
func TestOwnWritesAreNoNews(t *testing.T) {
	r := newRig(t)
	r.apply(both())
	r.apply(without(both(), a4, a6))
	r.apply(both())
	for _, err := range r.kernel.Outside().ReplaceRoutes([]netlink.Route{
		{Table: table, Prefix: pfx("10.1.0.0/16"), Metric: 1, Protocol: 186, Type: netlink.Unreachable},
		{Table: 77, Prefix: pfx("10.1.0.0/16"), Metric: route.Metric, Protocol: route.Protocol, Type: netlink.Unreachable},
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.kernel.AddDevice("unrelated")
	if err := r.kernel.Outside().DeleteNexthops([]uint32{g4})[0]; err != nil {
		t.Fatal(err)
	}
	if h := <-r.hints; h.Reason != "nexthop removed by another program" {
		t.Errorf("first hint is about own or unrelated writes: %+v", h)
	}
}

// The whole life of a gateway, once with each fault armed before each of its steps.
func TestLifeUnderFaults(t *testing.T) {
	steps := []func(*rig){
		func(r *rig) { r.converge(both()) },
		func(r *rig) {
			r.kernel.Outside().DeleteNexthops([]uint32{g4})
			r.converge(both())
		},
		func(r *rig) {
			r.drop(a4)
			r.converge(without(both(), a4))
		},
		func(r *rig) {
			r.kernel.SetRunning("tb", false)
			r.kernel.SetRunning("tb", true)
			r.converge(without(both(), a4))
			r.converge(both())
		},
		func(r *rig) {
			r.kernel.Outside().DeleteRoutes([]netlink.Route{
				{Table: table, Prefix: pfx("10.1.0.0/16"), Metric: route.Metric, Protocol: route.Protocol},
			})
			r.Invalidate("")
			r.converge(without(both(), b6))
		},
		func(r *rig) {
			for r.Remove(r.t.Context(), "shop") != nil {
				r.Invalidate("")
			}
			if f := r.facts(table); len(f.Nexthops)+len(f.Routes) > 0 {
				r.t.Errorf("left after Remove: %+v", f)
			}
		},
	}
	for _, fault := range netlinktest.Faults() {
		for at := range len(steps) - 1 {
			t.Run(fmt.Sprintf("%s before step %d", fault, at), func(t *testing.T) {
				r := newRig(t)
				for i, step := range steps {
					if i == at {
						r.kernel.Arm(fault)
					}
					step(r)
				}
				if left := r.kernel.Armed(); len(left) > 0 {
					t.Errorf("never happened: %v", left)
				}
			})
		}
	}
}

// drop drops a nexthop as the agent does: a failure is only logged, the next round puts things right.
func (r *rig) drop(id uint32) {
	if err := r.DropNexthop(r.t.Context(), "shop", id); err != nil {
		r.t.Logf("DropNexthop: %v", err)
	}
}

// A random walk between desired sets, with another program interfering: every state is reached from every other.
func TestRandomWalk(t *testing.T) {
	r := newRig(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	devices := []string{"ta", "tb", "tc"}
	for range 300 {
		want := route.Desired{Gateway: "shop", Table: table}
		var ids []uint32
		for i := range 1 + rnd.IntN(5) {
			id := route.NexthopBase + uint32(i)
			want.Nexthops = append(want.Nexthops, route.Nexthop{ID: id, Interface: devices[rnd.IntN(3)]})
			ids = append(ids, id)
		}
		for i := range rnd.IntN(3) {
			members := slices.Clone(ids)
			rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			members = members[:1+rnd.IntN(len(members))]
			slices.Sort(members)
			want.Groups = append(want.Groups, route.Group{ID: route.GroupBase + uint32(i), Members: members})
		}
		for _, g := range want.Groups {
			ids = append(ids, g.ID)
		}
		for i := range rnd.IntN(20) {
			prefix := pfx(fmt.Sprintf("10.%d.0.0/16", i))
			if rnd.IntN(4) == 0 {
				want.Routes = append(want.Routes, route.Route{Prefix: prefix, Unreachable: true})
			} else {
				want.Routes = append(want.Routes, route.Route{Prefix: prefix, Nexthop: ids[rnd.IntN(len(ids))]})
			}
		}
		switch rnd.IntN(4) {
		case 0:
			r.kernel.Outside().DeleteNexthops([]uint32{ids[rnd.IntN(len(ids))]})
		case 1:
			r.kernel.SetRunning("ta", false)
			r.kernel.SetRunning("ta", true)
		case 2:
			r.drop(route.NexthopBase + uint32(rnd.IntN(5)))
		}
		r.converge(want)
	}
}
