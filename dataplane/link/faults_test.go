package link_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

// Whatever another program does to our devices is reported under the tunnel's or the device's name, and repaired.
func TestWatchReportsAndApplyRepairs(t *testing.T) {
	tests := []struct {
		name, object string
		do           func(*rig, netlink.Kernel) error
	}{
		{"tunnel deleted", "shop-1", func(r *rig, k netlink.Kernel) error { return k.DeleteLink(r.index("bgw1")) }},
		{"tunnel set down", "shop-2", func(r *rig, k netlink.Kernel) error { return k.SetUp(r.index("bgw2"), false) }},
		{"tunnel released", "shop-1", func(r *rig, k netlink.Kernel) error { return k.SetMaster(r.index("bgw1"), 0) }},
		{"MTU changed", "shop-1", func(r *rig, k netlink.Kernel) error { return k.SetMTU(r.index("bgw1"), 1280) }},
		{"address deleted", "shop-2", func(r *rig, k netlink.Kernel) error {
			return k.DeleteAddress(r.index("bgw2"), netip.MustParsePrefix("fd99::1/126"))
		}},
		{"member released", "vpc0", func(r *rig, k netlink.Kernel) error { return k.SetMaster(r.index("vpc0"), 0) }},
		{"VRF deleted", "bgwv1", func(r *rig, k netlink.Kernel) error { return k.DeleteLink(r.index("bgwv1")) }},
		{"VRF set down", "bgwv1", func(r *rig, k netlink.Kernel) error { return k.SetUp(r.index("bgwv1"), false) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.check(shop())
			if err := tt.do(r, r.kernel.Outside()); err != nil {
				t.Fatal(err)
			}
			if h := r.await(tt.object); h.Gateway != "shop" {
				t.Errorf("hint %+v", h)
			}
			r.check(shop())
		})
	}
}

func TestMissingDevicesAreAwaited(t *testing.T) {
	r := newRig(t)
	want := shop()
	want.Members = []string{"vpc7"}
	want.Interfaces[1].Underlay = "wan7"
	res, err := r.Apply(t.Context(), want)
	if err != nil || len(res.Errors) != 2 {
		t.Fatalf("Apply: %v, %v", err, res.Errors)
	}
	r.kernel.AddDevice("vpc7")
	r.await("vpc7")
	r.kernel.AddDevice("wan7")
	r.await("wan7")
	r.apply(want)
}

func TestDeviceInTheWayIsAwaited(t *testing.T) {
	r := newRig(t)
	r.kernel.AddDevice("bgw1")
	if res, err := r.Apply(t.Context(), shop()); err != nil || len(res.Errors) != 1 {
		t.Fatalf("Apply: %v, %v", err, res.Errors)
	}
	if err := r.kernel.Outside().DeleteLink(r.index("bgw1")); err != nil {
		t.Fatal(err)
	}
	if h := r.await("bgw1"); h.Gateway != "shop" {
		t.Errorf("hint %+v", h)
	}
	r.check(shop())
}

// Own writes lead to no hint: rounds do not cause rounds.
func TestOwnWritesAreNoNews(t *testing.T) {
	r := newRig(t)
	r.check(shop())
	changed := shop()
	changed.Interfaces[0].MTU = 1300
	changed.Interfaces[0].IfID = 99
	changed.Interfaces[1].Address = netip.MustParsePrefix("fd99::5/126")
	r.check(changed)
	r.check(shop())
	r.kernel.AddDevice("unrelated")
	if err := r.kernel.Outside().SetMTU(r.index("bgw2"), 1281); err != nil {
		t.Fatal(err)
	}
	if h := <-r.hints; h.Object != "shop-2" {
		t.Errorf("first hint is about own or unrelated writes: %+v", h)
	}
}

// The whole life of a gateway, once with each fault armed before each of its steps.
func TestLifeUnderFaults(t *testing.T) {
	smaller := shop()
	smaller.Interfaces = smaller.Interfaces[:1]
	smaller.Members = nil
	steps := []func(*rig){
		func(r *rig) { r.converge(shop()) },
		func(r *rig) {
			r.must(r.kernel.Outside().DeleteLink(r.index("bgw1")))
			r.converge(shop())
		},
		func(r *rig) { r.converge(smaller) },
		func(r *rig) {
			r.must(r.kernel.Outside().SetUp(r.index("bgw1"), false))
			r.must(r.kernel.Outside().SetMaster(r.index("bgw1"), 0))
			r.converge(shop())
		},
		func(r *rig) {
			for range 5 {
				if r.Remove(r.t.Context(), "shop") == nil && r.difference(link.Gateway{}) == "" {
					return
				}
			}
			r.t.Errorf("left after Remove (-want +got):\n%s", r.difference(link.Gateway{}))
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

// A random walk between desired sets, with another program interfering: every state is reached from every other.
func TestRandomWalk(t *testing.T) {
	r := newRig(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		want := link.Gateway{Name: "shop", VRF: "bgwv1", Table: 100001}
		if rnd.IntN(8) == 0 {
			want.VRF, want.Table = "bgwv2", 100002
		}
		if rnd.IntN(2) == 0 {
			want.Members = []string{"vpc0"}
		}
		ids := rnd.Perm(6)
		for i := range rnd.IntN(5) {
			want.Interfaces = append(want.Interfaces, link.Interface{
				Tunnel: fmt.Sprintf("t%d", i), Name: fmt.Sprintf("bgw%d", rnd.IntN(2)*10+i), IfID: uint32(1 + ids[i]), Underlay: "eth0",
				Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, byte(i), byte(1 + rnd.IntN(2))}), 30),
				MTU:     1300 + rnd.IntN(2)*100, Up: rnd.IntN(4) > 0,
			})
		}
		links, err := r.kernel.Outside().Links()
		if err != nil {
			t.Fatal(err)
		}
		if victim := links[rnd.IntN(len(links))]; victim.Kind != "" {
			switch rnd.IntN(3) {
			case 0:
				r.must(r.kernel.Outside().DeleteLink(victim.Index))
			case 1:
				r.must(r.kernel.Outside().SetUp(victim.Index, false))
			}
		}
		r.converge(want)
	}
}
