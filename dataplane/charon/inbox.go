package charon

import (
	"sync"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// inboxLimit bounds the memory that events may take while the driver is busy; beyond it they are dropped and SAs listed instead.
const inboxLimit = 1 << 20

// mark says what an entry of the inbox is besides an event.
type mark int

const (
	isEvent mark = iota
	listBegin
	listItem
	listEnd
)

type entry struct {
	mark    mark
	event   string
	message *vici.Message
	// failed and done belong to listEnd.
	failed bool
	done   chan struct{}
}

// inbox is the queue between the goroutine that reads from charon, which must never wait, and the one that folds.
type inbox struct {
	limit int
	// wake has room for one.
	wake chan struct{}

	mu     sync.Mutex
	queue  []entry
	lost   bool
	closed bool
}

func newInbox() *inbox { return &inbox{limit: inboxLimit, wake: make(chan struct{}, 1)} }

func (b *inbox) put(e entry) {
	b.mu.Lock()
	switch {
	case b.closed:
		if e.done != nil {
			close(e.done)
		}
	case e.mark == isEvent && len(b.queue) >= b.limit:
		b.lost = true
	default:
		b.queue = append(b.queue, e)
	}
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take waits for entries. lost says that events were dropped since the last take; after one with open false there is nothing more.
func (b *inbox) take() (entries []entry, lost, open bool) {
	for {
		b.mu.Lock()
		entries, lost, open = b.queue, b.lost, !b.closed
		b.queue, b.lost = nil, false
		b.mu.Unlock()
		if len(entries) > 0 || lost || !open {
			return entries, lost, open
		}
		<-b.wake
	}
}

// close lets the consumer finish what is queued.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.signal()
}
