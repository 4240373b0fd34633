package gobgp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/bgp"
)

func TestQueueCoalescesAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		events, busy := make(chan bgp.Event, 10), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			count := 0
			q.run(ctx, func(e bgp.Event) {
				events <- e
				if count++; count == 3 {
					<-busy
				}
			})
		}()
		routes, session := bgp.RoutesChanged{Gateway: "gw"}, bgp.SessionChanged{Gateway: "gw", Neighbor: "tunnel/a"}
		other := bgp.RoutesChanged{Gateway: "other"}
		start := time.Now()
		for range 1000 {
			q.add(session)
			q.add(routes)
			q.add(other)
		}
		synctest.Wait()
		if len(events) != 0 {
			t.Errorf("handed out at once: %v", <-events)
		}
		// The watcher is busy with the third one; adding does not wait for it, and nothing is lost.
		got := []bgp.Event{<-events, <-events, <-events}
		if d := time.Since(start); d > 50*time.Millisecond {
			t.Errorf("the first events took %v", d)
		}
		for range 1000 {
			q.add(other)
			q.add(session)
		}
		close(busy)
		got = append(got, <-events, <-events)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(events) != 0 {
			t.Errorf("handed out twice: %v", <-events)
		}
		if diff := cmp.Diff([]bgp.Event{session, routes, other, other, session}, got); diff != "" {
			t.Error(diff)
		}
		cancel()
		<-done
	})
}
