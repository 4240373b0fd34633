// Package events remembers the last things that happened on a host and hands them to readers. Who publishes never waits: a reader that
// is too slow loses the oldest events and is told how many.
package events

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Length is how many events a host remembers.
const Length = 4096

// Ring is a bounded memory of events. Safe for concurrent use.
type Ring struct {
	host string

	mu sync.Mutex
	// buf holds the newest events; the one with the sequence number n is at n modulo its length.
	buf []*apiv1.HostEvent
	// newest is the sequence number of the last event, 0 before the first.
	newest uint64
	// more is closed, and replaced, with every event.
	more chan struct{}
}

// New returns a ring of that length for the named host.
func New(host string, length int) *Ring {
	return &Ring{host: host, buf: make([]*apiv1.HostEvent, length), more: make(chan struct{})}
}

// Publish adds an event; sequence, time and host are filled in. The event belongs to the ring from then on.
func (r *Ring) Publish(e *apiv1.HostEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest++
	e.Sequence, e.Time, e.Host = r.newest, timestamppb.New(time.Now().Truncate(time.Millisecond)), r.host
	r.buf[r.newest%uint64(len(r.buf))] = e
	close(r.more)
	r.more = make(chan struct{})
}

// after returns the events behind a sequence number that are still there, how many are not, and what is closed with the next event.
func (r *Ring) after(sequence uint64) (fresh []*apiv1.HostEvent, dropped uint64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	length := uint64(len(r.buf))
	if r.newest > length && sequence < r.newest-length {
		dropped = r.newest - length - sequence
		sequence += dropped
	}
	for n := sequence + 1; n <= r.newest; n++ {
		fresh = append(fresh, r.buf[n%length])
	}
	return fresh, dropped, r.more
}

// Watch calls send with the last events and, with follow, with each further one until ctx ends, which is its error then, or send fails.
// Events must not be changed.
func (r *Ring) Watch(ctx context.Context, last int, follow bool, send func(*apiv1.HostEvent) error) error {
	r.mu.Lock()
	seen := r.newest - min(r.newest, uint64(max(last, 0)), uint64(len(r.buf)))
	r.mu.Unlock()
	for {
		fresh, dropped, more := r.after(seen)
		for _, e := range fresh {
			if dropped > 0 {
				e, dropped = withDropped(e, dropped), 0
			}
			if err := send(e); err != nil {
				return err
			}
			seen = e.GetSequence()
		}
		if !follow {
			return nil
		}
		if len(fresh) > 0 {
			continue // what came while these were sent
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

func withDropped(e *apiv1.HostEvent, dropped uint64) *apiv1.HostEvent {
	out := proto.CloneOf(e)
	out.Dropped = dropped
	return out
}
