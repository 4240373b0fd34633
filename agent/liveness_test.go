package agent

import (
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// TestSAsThatCarryNothingAreReplaced: a probe that fails has the SAs of that tunnel replaced, less and less often, and of no other.
func TestSAsThatCarryNothingAreReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.until("probes pass", func() bool { return w.tunnel(shop1).GetProbe() == "PASSING" })
		count := func(tunnel string) (n int) {
			for _, c := range w.charon.Commands() {
				if c == "initiate bgw-"+tunnel {
					n++
				}
			}
			return n
		}
		one, two := count(shop1), count(shop2)
		w.peers.silence(shop1, true)
		w.down(shop1, apiv1.ReasonProbeFailed)
		w.until("replaced", func() bool { return count(shop1) == one+1 && w.tunnel(shop1).GetCounters().GetRenegotiations() == 1 })
		w.pass(20 * time.Minute)
		if n := count(shop1) - one; n < 3 || n > 15 {
			t.Errorf("%d times in 20 minutes", n)
		}
		w.peers.silence(shop1, false)
		w.up(shop1)
		w.pass(time.Minute)
		n := count(shop1)
		w.pass(time.Hour)
		if got := count(shop1); got != n {
			t.Errorf("%d times after the cure", got-n)
		}
		if got := count(shop2); got != two {
			t.Errorf("the other tunnel's SAs were replaced %d times", got-two)
		}
		w.up(shop1, shop2)
	})
}
