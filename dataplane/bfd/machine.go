package bfd

import (
	"fmt"
	"time"
)

// slow is the least interval between packets of a session that is not up (RFC 5880 §6.8.3).
const slow = time.Second

// machine is one session as RFC 5880 §6.8 describes it, without socket and clock. Times are handed in; the zero time means never.
type machine struct {
	interval   time.Duration
	multiplier uint8
	// random gives a number in [0, 1) for the jitter.
	random func() float64

	state, remoteState code
	diag, remoteDiag   diagnostic
	local, remote      uint32 // discriminators
	remoteMinRx        time.Duration
	remoteMinTx        time.Duration
	remoteMultiplier   uint8
	remoteDemand       bool
	// before is the interval in force until the peer has answered a poll, when it differs from interval (§6.8.3).
	before  time.Duration
	polling bool

	armed        bool
	downs        uint64
	since, heard time.Time
	// expires is the end of the detection time, next when a packet is due.
	expires, next time.Time
}

func newMachine(interval time.Duration, multiplier uint8, discriminator uint32, random func() float64, now time.Time) *machine {
	return &machine{
		interval: interval, before: interval, multiplier: multiplier, random: random, state: codeDown, remoteState: codeDown,
		local: discriminator, remoteMinRx: time.Microsecond, since: now, next: now,
	}
}

// retune changes the parameters of a running session without an interruption: what gets longer counts from when the peer knows.
func (m *machine) retune(interval time.Duration, multiplier uint8, now time.Time) {
	if interval != m.interval {
		m.before, m.interval, m.polling = m.interval, interval, true
	}
	m.multiplier = multiplier
	m.next = now
}

// minTx is the desired minimum transmit interval that the peer is told.
func (m *machine) minTx() time.Duration {
	if m.state != codeUp {
		return max(slow, m.interval)
	}
	return m.interval
}

// transmitInterval is the time between packets before jitter (§6.8.7); 0 means that none are due.
func (m *machine) transmitInterval() time.Duration {
	if m.remoteMinRx == 0 || m.remoteDemand && m.state == codeUp && m.remoteState == codeUp && !m.polling {
		return 0
	}
	desired := m.minTx()
	if m.state == codeUp && m.polling {
		desired = min(desired, m.before)
	}
	return max(desired, m.remoteMinRx)
}

// detection is how long the peer may be silent (§6.8.4).
func (m *machine) detection() time.Duration {
	receive := m.interval
	if m.polling {
		receive = max(receive, m.before)
	}
	return time.Duration(m.remoteMultiplier) * max(receive, m.remoteMinTx)
}

// receive takes in a packet of the session's peer. reply says that it must be answered at once.
func (m *machine) receive(c control, now time.Time) (reply bool, err error) {
	if c.yours != 0 && c.yours != m.local {
		return false, fmt.Errorf("your discriminator %#x is not ours", c.yours)
	}
	interval, wasUp := m.transmitInterval(), m.state == codeUp
	m.remote, m.remoteState, m.remoteDiag, m.remoteDemand = c.mine, c.state, c.diag, c.demand
	m.remoteMinRx, m.remoteMinTx, m.remoteMultiplier = c.minRx, c.minTx, c.multiplier
	m.heard = now
	if c.final {
		m.polling, m.before = false, m.interval
	}
	m.transition(c.state, now)
	m.expires = now.Add(m.detection())
	if (m.state == codeUp) != wasUp || m.transmitInterval() != interval {
		m.schedule(now)
	}
	return c.poll, nil
}

// transition is the state machine of §6.2 and the end of §6.8.6.
func (m *machine) transition(peer code, now time.Time) {
	switch {
	case peer == codeAdminDown:
		m.armed = false
		if m.state != codeDown {
			m.become(codeDown, diagNeighborDown, now)
		}
	case m.state == codeDown && peer == codeDown:
		m.become(codeInit, diagNone, now)
	case m.state == codeDown && peer == codeInit, m.state == codeInit && (peer == codeInit || peer == codeUp):
		m.become(codeUp, diagNone, now)
		m.armed = true
		if m.interval < slow {
			m.polling = true // the peer is told of the faster rate
		}
	case m.state == codeUp && peer == codeDown:
		m.become(codeDown, diagNeighborDown, now)
	}
}

func (m *machine) become(s code, d diagnostic, now time.Time) {
	if m.state == codeUp && m.armed {
		m.downs++
	}
	if s == codeDown {
		m.polling, m.before = false, m.interval
	}
	m.state, m.diag, m.since = s, d, now
	m.next = now
}

// expire ends the session when the peer was silent for too long, and says whether it did.
func (m *machine) expire(now time.Time) bool {
	if m.expires.IsZero() || now.Before(m.expires) {
		return false
	}
	m.expires = time.Time{}
	m.remote, m.remoteState, m.remoteMinRx, m.remoteDemand = 0, codeDown, time.Microsecond, false // §6.8.1
	if m.state == codeDown {
		return false
	}
	m.become(codeDown, diagExpired, now)
	return true
}

// due returns the packet to send now, if one is due.
func (m *machine) due(now time.Time) (control, bool) {
	if m.next.IsZero() || now.Before(m.next) {
		return control{}, false
	}
	m.schedule(now)
	return m.packet(m.polling, false), true
}

// schedule sets the time of the next packet: 75 to 100 % of the interval, 90 % at most when a single lost packet counts (§6.8.7).
func (m *machine) schedule(now time.Time) {
	interval := m.transmitInterval()
	if interval == 0 {
		m.next = time.Time{}
		return
	}
	spread := 0.25
	if m.multiplier == 1 {
		spread = 0.15
	}
	m.next = now.Add(time.Duration((0.75 + spread*m.random()) * float64(interval)))
}

func (m *machine) packet(poll, final bool) control {
	return control{
		diag: m.diag, state: m.state, poll: poll, final: final, multiplier: m.multiplier,
		mine: m.local, yours: m.remote, minTx: m.minTx(), minRx: m.interval,
	}
}

// farewell is what the peer is told when the session is given up: no failure (RFC 5882 §3.2).
func (m *machine) farewell() control {
	c := m.packet(false, false)
	c.state, c.diag = codeAdminDown, diagAdminDown
	return c
}

// wake is when something is due next; zero for never.
func (m *machine) wake() time.Time {
	if m.expires.IsZero() || !m.next.IsZero() && m.next.Before(m.expires) {
		return m.next
	}
	return m.expires
}
