package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

// whole fails the test unless everything of the shop is as wanted.
func (w *world) whole() {
	w.t.Helper()
	w.up(shop1, shop2)
	w.until("the gateway is programmed", func() bool { return w.gateway("shop").GetProgrammed() })
	devices := []string{w.device(shop1), w.device(shop2)}
	slices.Sort(devices)
	w.until("the routes", func() bool {
		return slices.Equal(w.devicesOf("shop", lan), devices) && slices.Equal(w.devicesOf("shop", vpc), []string{"vpc0"})
	})
}

func TestFaultAtTheStart(t *testing.T) {
	for _, fault := range netlinktest.Faults() {
		t.Run(string(fault), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.kernel.Arm(fault)
				w.write(manifests(shop()))
				w.start()
				w.ready()
				w.whole()
				if left := w.kernel.Armed(); len(left) > 0 {
					t.Errorf("did not happen: %q", left)
				}
			})
		})
	}
}

func TestFaultWhileATunnelGoesAndComes(t *testing.T) {
	for _, fault := range netlinktest.Faults() {
		t.Run(string(fault), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.startWith(manifests(shop()), shop1, shop2)
				w.kernel.Arm(fault)
				w.charon.PeerDies("bgw-" + shop1)
				w.until("down", func() bool { return w.tunnel(shop1).GetRunning() == apiv1.RunningDown })
				w.whole()
				w.pass(time.Minute)
				w.whole()
			})
		})
	}
}

// Another program takes away what it can: the agent notices, or at the latest after a lost event looks by itself.
func TestOtherProgramsAreSetRight(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(*testing.T, *world, netlink.Kernel)
	}{
		{"route deleted", func(t *testing.T, w *world, k netlink.Kernel) {
			for _, err := range k.DeleteRoutes(slices.DeleteFunc(w.allRoutes(), func(r netlink.Route) bool { return r.Metric != route.Metric })) {
				if err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"nexthop deleted", func(t *testing.T, w *world, k netlink.Kernel) {
			for _, err := range k.DeleteNexthops([]uint32{w.nexthop(w.device(shop1))}) {
				if err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"interface down", func(t *testing.T, w *world, k netlink.Kernel) {
			if err := k.SetUp(w.index(w.device(shop1)), false); err != nil {
				t.Fatal(err)
			}
		}},
		{"interface deleted", func(t *testing.T, w *world, k netlink.Kernel) {
			if err := k.DeleteLink(w.index(w.device(shop1))); err != nil {
				t.Fatal(err)
			}
		}},
		{"VRF deleted", func(t *testing.T, w *world, k netlink.Kernel) {
			if err := k.DeleteLink(w.index(w.gateway("shop").GetVrf())); err != nil {
				t.Fatal(err)
			}
		}},
		{"attachment released", func(t *testing.T, w *world, k netlink.Kernel) {
			if err := k.SetMaster(w.index("vpc0"), 0); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, fault := range []netlinktest.Fault{"", netlinktest.OverflowEvents, netlinktest.InterruptDump} {
			t.Run(tc.name+" "+string(fault), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
					sas := w.sas()
					if fault != "" {
						w.kernel.Arm(fault)
					}
					tc.damage(t, w, w.kernel.Outside())
					w.pass(5 * time.Second)
					w.whole()
					if diff := cmp.Diff(sas, w.sas()); diff != "" {
						t.Errorf("SAs (-before +after):\n%s", diff)
					}
				})
			})
		}
	}
}

func (w *world) index(device string) int {
	w.t.Helper()
	l, err := w.kernel.Outside().Link(device)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Index
}

// An event that the kernel loses without a word is made up for by a periodic look.
func TestEventLostSilently(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.kernel.Arm(netlinktest.LoseEvent)
		for _, err := range w.kernel.Outside().DeleteNexthops([]uint32{w.nexthop(w.device(shop1))}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		w.whole()
	})
}

func TestCharonRefusesAConfiguration(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Refuse = func(conn string) string {
			if conn == "bgw-"+shop1 {
				return "invalid value for: nothing in particular"
			}
			return ""
		}
		w.startWith(manifests(shop()), shop2)
		w.down(shop1, apiv1.ReasonCharonRefused)
		conditions := w.tunnel(shop1).GetConditions()
		if len(conditions) != 1 || conditions[0].GetObject() != "VPNTunnel/"+shop1 || conditions[0].GetType() != apiv1.ConditionNotProgrammed {
			t.Errorf("conditions: %v", conditions)
		}
		if got := w.devicesOf("shop", lan); !slices.Equal(got, []string{w.device(shop2)}) {
			t.Errorf("route over %q", got)
		}
	})
}
