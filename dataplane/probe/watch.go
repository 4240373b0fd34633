package probe

import (
	"context"
	"sync"
)

// hub passes events on to watchers without ever waiting for one.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

func (h *hub) add(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = make(map[*watcher]struct{})
	}
	h.watchers[w] = struct{}{}
}

func (h *hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		w.push(e)
	}
}

// watcher queues at most one event per tunnel, the newest, so that its memory is bounded and nothing that is still true
// is lost.
type watcher struct {
	mu    sync.Mutex
	queue []string // tunnels, in order of their oldest unseen event
	state map[string]State
	wake  chan struct{}
}

func newWatcher() *watcher {
	return &watcher{state: make(map[string]State), wake: make(chan struct{}, 1)}
}

func (w *watcher) push(e Event) {
	w.mu.Lock()
	if _, queued := w.state[e.Tunnel]; !queued {
		w.queue = append(w.queue, e.Tunnel)
	}
	w.state[e.Tunnel] = e.State
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) pop() (Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return Event{}, false
	}
	e := Event{Tunnel: w.queue[0]}
	e.State = w.state[e.Tunnel]
	delete(w.state, e.Tunnel)
	w.queue = w.queue[1:]
	return e, true
}

func (w *watcher) run(ctx context.Context, emit func(Event)) {
	for ctx.Err() == nil {
		if e, ok := w.pop(); ok {
			emit(e)
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		}
	}
}
