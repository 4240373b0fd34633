package status

import (
	"slices"
	"sync"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// logLength is how many entries a tunnel's negotiation log keeps: some negotiations in charon's words.
const logLength = 200

// Tracker remembers what a single look at the drivers cannot tell: since when, how it was before, and what was said meanwhile.
// Safe for concurrent use.
type Tracker struct {
	host string
	now  func() time.Time

	mu          sync.Mutex
	tunnels     map[string]*tunnelRecord
	connections map[string]*connectionRecord
}

type tunnelRecord struct {
	up       bool
	known    bool
	since    time.Time
	lastUp   time.Time
	lastDown time.Time // of charon, as last seen
	previous Judgement
	log      []*apiv1.LogEntry
	// appended counts all entries there ever were.
	appended uint64
}

type connectionRecord struct {
	availability string
	reasons      []string
	since        time.Time
}

// NewTracker returns an empty tracker for the named host; now is the clock.
func NewTracker(host string, now func() time.Time) *Tracker {
	return &Tracker{host: host, now: now, tunnels: map[string]*tunnelRecord{}, connections: map[string]*connectionRecord{}}
}

// Tunnel judges a tunnel's layers, remembers the outcome and returns the status. The second result says that running or the reason
// changed since the last call.
func (t *Tracker) Tunnel(name string, l Layers) (*apiv1.VPNTunnelStatus, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	r := t.record(name)
	j := Judge(l, r.past(), now)
	blinked := r.blinked(l, j)
	if blinked {
		r.append(l.Charon.LastDown, transition(Judge(l.withoutSAs(), r.past(), l.Charon.LastDown)))
	}
	changed := !r.known || r.up != j.Up || r.previous.Reason != j.Reason || blinked
	if !r.known || r.up != j.Up || blinked {
		r.since = now
		if j.Up {
			r.lastUp = now
		}
	}
	if changed {
		r.append(now, transition(j))
	}
	r.known, r.up, r.previous, r.lastDown = true, j.Up, j, l.Charon.LastDown
	st := tunnelStatus(l, j, r.since, t.host)
	if j.Up && !l.Charon.Up() {
		// charon does not know it any more; the kernel has it.
		st.Child = apiv1.ChildInstalled
	}
	return st, changed
}

// Judge is Tunnel without remembering anything: what the state would be now.
func (t *Tracker) Judge(name string, l Layers, now time.Time) Judgement {
	t.mu.Lock()
	defer t.mu.Unlock()
	var past Past
	if r, ok := t.tunnels[name]; ok {
		past = r.past()
	}
	return Judge(l, past, now)
}

// Past returns what is remembered of a tunnel; nothing of one that was never seen.
func (t *Tracker) Past(name string) Past {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.tunnels[name]; ok {
		return r.past()
	}
	return Past{}
}

// blinked says that the tunnel was DOWN between the last look and this one. What charon says of the time in which the kernel carried on
// without it is no such thing.
func (r *tunnelRecord) blinked(l Layers, j Judgement) bool {
	return r.known && r.up && j.Up && l.Charon.Up() && l.Charon.LastDown.After(r.lastDown) && l.Charon.LastDown.After(l.Charon.Since.Add(CharonHold))
}

func (r *tunnelRecord) past() Past { return Past{Up: r.up, LastUp: r.lastUp} }

func transition(j Judgement) string {
	if j.Up {
		return "running: UP"
	}
	return "running: DOWN " + j.Reason + ": " + j.Message
}

func (t *Tracker) record(name string) *tunnelRecord {
	r, ok := t.tunnels[name]
	if !ok {
		r = &tunnelRecord{}
		t.tunnels[name] = r
	}
	return r
}

func (r *tunnelRecord) append(at time.Time, message string) {
	if len(r.log) >= logLength {
		r.log = slices.Clone(r.log[len(r.log)-logLength+1:])
	}
	r.log = append(r.log, &apiv1.LogEntry{Time: stamp(at), Message: message})
	r.appended++
}

// Log adds a line to a tunnel's negotiation log. The line must hold no secrets.
func (t *Tracker) Log(tunnel string, at time.Time, message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record(tunnel).append(at, message)
}

// Logs returns a tunnel's negotiation log, oldest first. The entries are shared and must not be changed.
func (t *Tracker) Logs(tunnel string) []*apiv1.LogEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.tunnels[tunnel]; ok {
		return slices.Clone(r.log)
	}
	return nil
}

// LogAfter returns what was added to a tunnel's log since there were that many entries in all, as far as it is still there, and how many
// there are now. It says false when the tunnel is not known.
func (t *Tracker) LogAfter(tunnel string, count uint64) ([]*apiv1.LogEntry, uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.tunnels[tunnel]
	if !ok {
		return nil, 0, false
	}
	if count > r.appended {
		count = 0 // another tunnel of that name
	}
	fresh := min(r.appended-count, uint64(len(r.log)))
	return slices.Clone(r.log[uint64(len(r.log))-fresh:]), r.appended, true
}

// Connection sets the since-time of a connection's verdict: when the verdict or its reasons last changed.
func (t *Tracker) Connection(name string, verdict *apiv1.VPNConnectionStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.connections[name]
	if !ok || r.availability != verdict.GetAvailability() || !slices.Equal(r.reasons, verdict.GetReasons()) {
		r = &connectionRecord{availability: verdict.GetAvailability(), reasons: slices.Clone(verdict.GetReasons()), since: t.now()}
		t.connections[name] = r
	}
	verdict.Since = stamp(r.since)
}

// Keep forgets every tunnel and connection that neither predicate names.
func (t *Tracker) Keep(tunnel, connection func(string) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.tunnels {
		if !tunnel(name) {
			delete(t.tunnels, name)
		}
	}
	for name := range t.connections {
		if !connection(name) {
			delete(t.connections, name)
		}
	}
}
