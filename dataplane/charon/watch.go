package charon

import (
	"context"
	"sync"
)

// watcherLimit is how many events a watcher may be behind before it gets a Resync instead of them.
const watcherLimit = 1 << 16

// watchers hands events to any number of watchers; none of them can hold up the driver.
type watchers struct {
	mu  sync.Mutex
	all map[*watcher]struct{}
}

type watcher struct {
	mu    sync.Mutex
	queue []Event
	wake  chan struct{}
}

func (w *watchers) emit(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all {
		one.push(e)
	}
}

func (w *watcher) push(e Event) {
	w.mu.Lock()
	if len(w.queue) >= watcherLimit {
		w.queue = append(w.queue[:0], Event{Kind: Resync, Time: e.Time})
	}
	w.queue = append(w.queue, e)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watchers) watch(ctx context.Context, first Event, emit func(Event)) {
	one := &watcher{queue: []Event{first}, wake: make(chan struct{}, 1)}
	one.wake <- struct{}{}
	w.mu.Lock()
	if w.all == nil {
		w.all = make(map[*watcher]struct{})
	}
	w.all[one] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.all, one)
		w.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-one.wake:
		}
		one.mu.Lock()
		events := one.queue
		one.queue = nil
		one.mu.Unlock()
		for _, e := range events {
			if ctx.Err() != nil {
				return
			}
			emit(e)
		}
	}
}
