package probe

import "time"

// window is how many of the newest echoes are remembered: an answer to an older one is ignored.
const window = 64

type fate uint8

const (
	pending fate = iota
	answered
	lost
)

type echo struct {
	sent time.Time
	fate fate
}

// verdict turns echoes and answers into a State. It has no clock and no lock of its own; time never goes backwards.
type verdict struct {
	mode     Mode
	interval time.Duration
	failures int

	state State
	// next is the sequence number of the next echo; armed and due are those of the oldest echo since arming and of the
	// oldest whose fate may be open; newest is that of the newest answered one. Sequence numbers start at 1.
	next, armed, due, newest uint64
	ring                     [window]echo
	// losses counts lost echoes since the last answer, answers counts answers toward the end of FAILING.
	losses, answers int
	heard           bool // an answer came since arming
	// smoothed is the round-trip time as RFC 6298 §2 smooths it; 0 before the first answer since arming.
	smoothed time.Duration
}

// leastPatience is the shortest time that an answer has.
const leastPatience = 100 * time.Millisecond

// patience is how long an answer may take for its echo not to be lost: four times what is usual, at most an interval.
func (v *verdict) patience() time.Duration {
	if v.smoothed == 0 {
		return v.interval
	}
	return min(max(4*v.smoothed, leastPatience), v.interval)
}

// deciding says whether the next lost echo makes the target FAILING.
func (v *verdict) deciding() bool {
	return v.failures > 1 && v.losses == v.failures-1 && v.state.State != StateFailing
}

func newVerdict(t Target, now time.Time) *verdict {
	v := &verdict{mode: t.Mode, interval: t.Interval, failures: t.Failures, next: 1}
	v.arm(now)
	return v
}

// arm forgets everything but the counters.
func (v *verdict) arm(now time.Time) {
	v.armed, v.due, v.newest = v.next, v.next, 0
	v.losses, v.answers, v.heard, v.smoothed = 0, 0, false, 0
	v.state.RTT = 0
	v.state.State, v.state.Since = StateWaiting, now
}

// configure takes over what may change without arming anew, and reports whether State.State changed.
func (v *verdict) configure(t Target, now time.Time) bool {
	v.mode, v.interval, v.failures = t.Mode, t.Interval, t.Failures
	if v.mode != Auto || v.heard {
		return false
	}
	// Losses counted while the mode was ON would never have counted in AUTO.
	v.losses = 0
	return v.enter(StateWaiting, now)
}

// send records an echo sent now and returns its sequence number.
func (v *verdict) send(now time.Time) uint64 {
	seq := v.next
	v.next++
	v.ring[seq%window] = echo{sent: now, fate: pending}
	v.state.Sent++
	return seq
}

// deadline returns when the oldest open echo will be lost; false when none is open.
func (v *verdict) deadline() (time.Time, bool) {
	for ; v.due < v.next; v.due++ {
		if e := &v.ring[v.due%window]; e.fate == pending {
			return e.sent.Add(v.patience()), true
		}
	}
	return time.Time{}, false
}

// expire counts the echoes whose time is over as lost, and reports whether State.State changed.
func (v *verdict) expire(now time.Time) (changed bool) {
	for {
		deadline, open := v.deadline()
		if !open || now.Before(deadline) {
			return changed
		}
		v.ring[v.due%window].fate = lost
		v.due++
		if v.lose(now) {
			changed = true
		}
	}
}

func (v *verdict) lose(now time.Time) bool {
	v.state.Lost++
	if v.mode == Auto && !v.heard {
		return false
	}
	v.losses++
	if v.losses >= 2 {
		v.answers = 0
	}
	if v.losses < v.failures {
		return false
	}
	return v.enter(StateFailing, now)
}

// answer takes the answer to echo seq, and reports whether State.State changed. Answers to echoes never sent, sent before
// arming, forgotten, or answered already are ignored; ok says whether this one counted.
func (v *verdict) answer(seq uint64, now time.Time) (changed, ok bool) {
	if seq < v.armed || seq >= v.next || v.next-seq > window {
		return false, false
	}
	e := &v.ring[seq%window]
	if e.fate == answered {
		return false, false
	}
	e.fate = answered
	if seq > v.newest {
		v.newest = seq
		v.state.RTT = now.Sub(e.sent)
		if v.smoothed == 0 {
			v.smoothed = v.state.RTT
		} else {
			v.smoothed += (v.state.RTT - v.smoothed) / 8
		}
	}
	v.heard = true
	v.losses = 0
	if v.state.State == StateFailing {
		v.answers++
		if v.answers < RecoverAnswers {
			return false, true
		}
	}
	return v.enter(StatePassing, now), true
}

func (v *verdict) enter(state string, now time.Time) bool {
	v.answers = 0
	if v.state.State == state {
		return false
	}
	v.state.State, v.state.Since = state, now
	return true
}
