package gobgp

import (
	"context"
	"sync"
	"time"

	"github.com/bordergw/bordergw/bgp"
)

// coalesce is how long events are gathered before they are handed out, so that a full table is one event.
const coalesce = 20 * time.Millisecond

// queue holds events for one watcher: each at most once, in the order of their first appearance since it was last handed out.
// That bounds it by the number of neighbors, and adding never blocks.
type queue struct {
	mu      sync.Mutex
	events  []bgp.Event
	pending map[bgp.Event]bool
	wake    chan struct{}
}

func newQueue() *queue {
	return &queue{pending: map[bgp.Event]bool{}, wake: make(chan struct{}, 1)}
}

func (q *queue) add(e bgp.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending[e] {
		return
	}
	q.pending[e] = true
	q.events = append(q.events, e)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) take() []bgp.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	clear(q.pending)
	return events
}

// run hands out events until ctx ends.
func (q *queue) run(ctx context.Context, emit func(bgp.Event)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(coalesce):
		}
		for _, e := range q.take() {
			emit(e)
		}
	}
}
