package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

func TestOrphansAreRemoved(t *testing.T) {
	cloud, customer := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		one := w.tunnel(shop1)
		spi := func(text string) (n uint32) {
			if _, err := fmt.Sscanf(text, "%x", &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		in, out := spi(one.GetChildSas()[0].GetSpiIn()), spi(one.GetChildSas()[0].GetSpiOut())
		state := func(ifID, spi uint32, larval bool) netlink.SA {
			return netlink.SA{IfID: ifID, Source: cloud, Destination: customer, SPI: spi, Larval: larval}
		}
		policy := func(ifID, spi uint32, selector byte) netlink.Policy {
			return netlink.Policy{IfID: ifID, Out: true, Direction: 1, SPI: spi, Selector: [56]byte{selector}}
		}
		const nobodys = 0x0bfffff0 // an if_id of ours that no tunnel has
		states := []netlink.SA{
			state(one.GetIfId(), in, false), state(one.GetIfId(), out, false), // charon's
			state(one.GetIfId(), 0x111, false), // a killed charon's
			state(one.GetIfId(), 0x222, true),  // a negotiation under way
			state(nobodys, 0x333, false), state(7, 0x444, false), state(0, 0x555, false),
		}
		w.kernel.SetSAs(states...)
		w.kernel.SetPolicies(policy(one.GetIfId(), out, 1), policy(nobodys, 0x333, 2), policy(7, 0x444, 3))
		w.rest()
		// Nothing before charon has been there for a while, and nothing at first sight.
		w.pass(70 * time.Second)
		if writes := w.kernel.TakeWrites(); len(writes) > 0 {
			t.Errorf("too early: %q", writes)
		}
		w.pass(40 * time.Second)
		want := []string{fmt.Sprintf("delete policy 1 of if_id %#x", nobodys), fmt.Sprintf("delete SA %08x of if_id %#x", 0x111, one.GetIfId()),
			fmt.Sprintf("delete SA %08x of if_id %#x", 0x333, nobodys)}
		if diff := cmp.Diff(want, w.kernel.TakeWrites()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if h := w.agent.View().Host; h.GetOrphanedStatesRemoved() != 2 || h.GetOrphanedPoliciesRemoved() != 1 {
			t.Errorf("counted %v", h)
		}

		// While charon is away everything is one.
		w.charon.Kill()
		w.pass(5 * time.Minute)
		if writes := w.kernel.TakeWrites(); strings.Contains(strings.Join(writes, "\n"), "delete SA") {
			t.Errorf("without charon: %q", writes)
		}
	})
}

// TestMisledPolicyIsRewritten: a policy that leads to an SA which charon does not have has the CHILD_SA rekeyed, probe or not.
func TestMisledPolicyIsRewritten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		rekeys := func() (n int) {
			for _, c := range w.charon.Commands() {
				if strings.HasPrefix(c, "rekey ") {
					n++
				}
			}
			return n
		}
		w.kernel.SetPolicies(netlink.Policy{IfID: w.tunnel(shop1).GetIfId(), Out: true, Direction: 1, SPI: 0x999})
		w.until("rekeyed", func() bool { return rekeys() == 1 })
		w.kernel.SetPolicies()
		w.pass(time.Hour)
		if n := rekeys(); n != 1 {
			t.Errorf("rekeyed %d times", n)
		}
		w.up(shop1, shop2)
	})
}
