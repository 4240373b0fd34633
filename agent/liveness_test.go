package agent

import (
	"slices"
	"strings"
	"sync"
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

// TestKeyRotationIsTold: a new key that the customer does not have yet is a condition of the tunnel, which stays up; the gateway is as wanted.
func TestKeyRotationIsTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		customer := map[string]string{}
		w.charon.PeerKey = func(conn string) string {
			mu.Lock()
			defer mu.Unlock()
			return customer[conn]
		}
		before := manifests(shop())
		customer["bgw-"+shop1], customer["bgw-"+shop2] = pskMark+shop1, pskMark+shop2
		w.startWith(before, shop1, shop2)
		since := w.tunnel(shop1).GetSince().AsTime()
		w.write(strings.Replace(before, pskMark+shop1, pskMark+"renewed", 1))
		pending := func() bool {
			return slices.ContainsFunc(w.tunnel(shop1).GetConditions(), func(c *apiv1.Condition) bool { return c.GetType() == apiv1.ConditionKeyRotation })
		}
		w.until("the condition", pending)
		w.pass(10 * time.Minute)
		if !pending() || !w.gateway("shop").GetProgrammed() || len(w.tunnel(shop2).GetConditions()) > 0 {
			t.Errorf("after ten minutes: %v", w.dump())
		}
		mu.Lock()
		customer["bgw-"+shop1] = pskMark + "renewed"
		mu.Unlock()
		w.until("the customer's new key", func() bool { return !pending() })
		if st := w.tunnel(shop1); st.GetRunning() != apiv1.RunningUp || !st.GetSince().AsTime().Equal(since) {
			t.Errorf("it was down in between: %v", st)
		}
	})
}
