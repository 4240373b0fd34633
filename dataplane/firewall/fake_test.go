package firewall

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// fake is nftables with this one table. It refuses what nftables refuses, and fails once when told to.
type fake struct {
	mu       sync.Mutex
	present  bool
	table    table
	replaced int // transactions, of either kind
	wires    map[flow]Counters
	passed   map[passage]Counters
	faults   map[string]bool
	watchers map[chan string]bool
}

func newFake() *fake {
	return &fake{faults: make(map[string]bool), watchers: make(map[chan string]bool)}
}

// The faults of a fake.
const (
	loadFails          = "load fails"
	replaceFails       = "replace fails"
	replaceUnconfirmed = "replace takes effect but its acknowledgement is lost"
	updateFails        = "update fails"
	updateUnconfirmed  = "update takes effect but its acknowledgement is lost"
	forwardedFails     = "counters of forwarded packets cannot be read"
	wireFails          = "counters of encrypted packets cannot be read"
	eventLost          = "event lost silently"
	eventsOverflow     = "event buffer overflow"
)

func (f *fake) fault(name string) bool {
	armed := f.faults[name]
	delete(f.faults, name)
	return armed
}

func (f *fake) load() (table, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault(loadFails) {
		return table{}, false, unix.EINTR
	}
	t := f.table
	t.content = t.content.without(func(string) bool { return false })
	return t, f.present, nil
}

func (f *fake) dropped() (Counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.table.dropped, nil
}

func (f *fake) wire() (map[flow]Counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault(wireFails) {
		return nil, unix.EINTR
	}
	out := make(map[flow]Counters)
	for w := range f.table.content.wire {
		out[w] = f.wires[w]
	}
	return out, nil
}

func (f *fake) forwarded() (map[passage]Counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault(forwardedFails) {
		return nil, unix.EINTR
	}
	out := make(map[passage]Counters)
	for device := range f.table.content.watched {
		for _, p := range []passage{{device, false}, {device, true}} {
			out[p] = f.passed[p]
		}
	}
	return out, nil
}

// forward is one packet from or to a device.
func (f *fake) forward(device string, out bool, bytes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table.content.watched[device] {
		f.passed[passage{device, out}] = f.passed[passage{device, out}].plus(Counters{1, bytes})
	}
}

// count is one packet each way; packets between endpoints that are in no set count nowhere.
func (f *fake) count(e Endpoints, in, out uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w, bytes := range map[flow]uint64{{e, false}: in, {e, true}: out} {
		if f.table.content.wire[w] {
			f.wires[w] = f.wires[w].plus(Counters{1, bytes})
		}
	}
}

func (f *fake) replace(t table) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replaced++
	if f.fault(replaceFails) {
		return unix.EBUSY
	}
	for d := range t.content.tunnels {
		if d == "" || len(d) > maxName {
			return fmt.Errorf("%w: element %q", unix.EINVAL, d)
		}
	}
	t.content = t.content.without(func(string) bool { return false }) // a copy
	f.table, f.present = t, true
	f.wires, f.passed = make(map[flow]Counters), make(map[passage]Counters)
	if f.fault(replaceUnconfirmed) {
		return unix.ENOBUFS
	}
	return nil
}

func (f *fake) update(from, to content) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replaced++
	if f.fault(updateFails) {
		return unix.EBUSY
	}
	if !f.present || !f.table.content.equal(from) {
		return unix.ENOENT // an element to delete is not there, or one to add is
	}
	for w := range f.passed {
		if !to.watched[w.device] {
			delete(f.passed, w)
		}
	}
	for w := range f.wires {
		if !to.wire[w] {
			delete(f.wires, w)
		}
	}
	f.table.content = to.without(func(string) bool { return false }) // a copy
	if f.fault(updateUnconfirmed) {
		return unix.ENOBUFS
	}
	return nil
}

func (f *fake) remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table, f.present, f.wires = table{}, false, nil
	return nil
}

func (f *fake) watch(ctx context.Context, ready, changed func()) error {
	events := make(chan string, 16)
	f.mu.Lock()
	f.watchers[events] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, events)
	}()
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if e == eventsOverflow {
				return errEventsLost
			}
			changed()
		}
	}
}

// outside is a change by another program.
func (f *fake) outside(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	if f.fault(eventLost) {
		return
	}
	event := "changed"
	if f.fault(eventsOverflow) {
		event = eventsOverflow
	}
	for w := range f.watchers {
		w <- event
	}
}

func (f *fake) flush() { f.outside(func() { f.table, f.present, f.wires = table{}, false, nil }) }

func (f *fake) takeReplaced() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.replaced
	f.replaced = 0
	return n
}

// passes says what the rules do to a packet that arrives on one device and leaves by another.
func (f *fake) passes(in, out string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.table.content
	if c.same[pair{in, out}] {
		return true
	}
	return !(c.guarded[in] && c.tunnels[out]) && !(c.tunnels[in] && c.guarded[out])
}
