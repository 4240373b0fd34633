package charon

import (
	"container/heap"
	"time"
)

// schedule orders tunnels by the time at which the keeper has to look at them.
type schedule struct {
	heap []*tunnel
	// wake has room for one; it is signalled when the earliest time may have changed.
	wake chan struct{}
}

func newSchedule() *schedule { return &schedule{wake: make(chan struct{}, 1)} }

// at makes t due at a time, or earlier if it was due earlier already.
func (s *schedule) at(t *tunnel, due time.Time) {
	if t.index < 0 {
		t.due = due
		heap.Push(s, t)
	} else if due.Before(t.due) {
		t.due = due
		heap.Fix(s, t.index)
	} else {
		return
	}
	if s.heap[0] == t {
		s.signal()
	}
}

func (s *schedule) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next removes and returns the earliest tunnel if it is due; else it says how long to wait, with false when nothing is scheduled.
func (s *schedule) next(now time.Time) (t *tunnel, wait time.Duration, ok bool) {
	if len(s.heap) == 0 {
		return nil, 0, false
	}
	if wait := s.heap[0].due.Sub(now); wait > 0 {
		return nil, wait, true
	}
	return heap.Pop(s).(*tunnel), 0, true
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (s *schedule) Len() int           { return len(s.heap) }
func (s *schedule) Less(i, j int) bool { return s.heap[i].due.Before(s.heap[j].due) }
func (s *schedule) Swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.heap[i].index, s.heap[j].index = i, j
}

// Push appends a tunnel.
func (s *schedule) Push(x any) {
	t := x.(*tunnel)
	t.index = len(s.heap)
	s.heap = append(s.heap, t)
}

// Pop removes the last tunnel.
func (s *schedule) Pop() any {
	t := s.heap[len(s.heap)-1]
	s.heap = s.heap[:len(s.heap)-1]
	t.index = -1
	return t
}
