package bfd

import (
	"testing"
	"time"
)

// pair is two machines and the wires between them, in steps of one millisecond.
type pair struct {
	t    *testing.T
	now  time.Time
	ends [2]*machine
	cut  [2]bool // what the end in question sends is lost
	sent [2][]time.Time
}

func newPair(t *testing.T, a, b time.Duration) *pair {
	p := &pair{t: t, now: time.Unix(1000, 0)}
	random := func() float64 { return 0.5 }
	p.ends = [2]*machine{newMachine(a, 3, 11, random, p.now), newMachine(b, 3, 22, random, p.now)}
	return p
}

func (p *pair) run(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(time.Millisecond) {
		for i, m := range p.ends {
			m.expire(p.now)
			if c, due := m.due(p.now); due {
				p.deliver(i, c)
			}
		}
	}
}

func (p *pair) deliver(from int, c control) {
	p.sent[from] = append(p.sent[from], p.now)
	if p.cut[from] {
		return
	}
	c, err := parse(c.append(nil))
	if err != nil {
		p.t.Fatal(err)
	}
	to := p.ends[1-from]
	reply, err := to.receive(c, p.now)
	if err != nil {
		p.t.Fatal(err)
	}
	if reply {
		p.deliver(1-from, to.packet(false, true))
	}
}

func (p *pair) are(a, b code) {
	p.t.Helper()
	if p.ends[0].state != a || p.ends[1].state != b {
		p.t.Fatalf("%v and %v, want %v and %v", p.ends[0].state, p.ends[1].state, a, b)
	}
}

// last is the average interval between the last n packets of an end.
func (p *pair) last(end, n int) time.Duration {
	s := p.sent[end]
	return s[len(s)-1].Sub(s[len(s)-1-n]) / time.Duration(n)
}

func TestUpSilentAndUpAgain(t *testing.T) {
	p := newPair(t, 300*time.Millisecond, 300*time.Millisecond)
	p.are(codeDown, codeDown)
	p.run(3 * time.Second)
	p.are(codeUp, codeUp)
	if !p.ends[0].armed || p.ends[0].polling || p.ends[0].detection() != 900*time.Millisecond {
		t.Fatalf("armed %v, polling %v, detection %v", p.ends[0].armed, p.ends[0].polling, p.ends[0].detection())
	}
	// 87.5 % of the interval: jitter with a random number that is always in the middle.
	if got := p.last(0, 4); got < 260*time.Millisecond || got > 265*time.Millisecond {
		t.Errorf("one packet every %v", got)
	}
	p.cut[1] = true
	lost := p.now
	p.run(time.Second)
	// The silent end's peer says that it is down, which ends the other.
	p.are(codeDown, codeDown)
	if after := p.ends[0].since.Sub(lost); after < 600*time.Millisecond || after > 900*time.Millisecond {
		t.Errorf("known after %v", after)
	}
	if p.ends[0].diag != diagExpired || p.ends[1].diag != diagNeighborDown || p.ends[0].downs != 1 || p.ends[1].downs != 1 {
		t.Errorf("%+v, %+v", p.ends[0], p.ends[1])
	}
	p.run(5 * time.Second)
	if got := p.last(0, 3); got < 750*time.Millisecond {
		t.Errorf("one packet every %v while down, and RFC 5880 §6.8.3 wants no more than one a second before jitter", got)
	}
	p.cut[1] = false
	p.run(3 * time.Second)
	p.are(codeUp, codeUp)
}

// TestAdminDown: the peer's wish is no failure, and comes back as nothing but a session.
func TestAdminDown(t *testing.T) {
	p := newPair(t, 300*time.Millisecond, 300*time.Millisecond)
	p.run(3 * time.Second)
	p.are(codeUp, codeUp)
	c := p.ends[1].farewell()
	if _, err := p.ends[0].receive(c, p.now); err != nil {
		t.Fatal(err)
	}
	if m := p.ends[0]; m.state != codeDown || m.armed || m.downs != 0 || m.remoteState != codeAdminDown {
		t.Fatalf("%+v", m)
	}
	// The peer's process has started anew, with another discriminator.
	p.ends[1] = newMachine(300*time.Millisecond, 3, 33, func() float64 { return 0 }, p.now)
	p.run(3 * time.Second)
	p.are(codeUp, codeUp)
	if !p.ends[0].armed {
		t.Error("not armed again")
	}
}

// TestPeerStartsAnew: a peer that has lost its memory is taken for what it says, before the detection time ends.
func TestPeerStartsAnew(t *testing.T) {
	p := newPair(t, time.Second, time.Second)
	p.run(6 * time.Second)
	p.are(codeUp, codeUp)
	p.ends[1] = newMachine(time.Second, 3, 33, func() float64 { return 0 }, p.now)
	p.run(10 * time.Millisecond)
	if m := p.ends[0]; m.state != codeDown || m.diag != diagNeighborDown || m.downs != 1 {
		t.Fatalf("%+v", m)
	}
	p.run(4 * time.Second)
	p.are(codeUp, codeUp)
}

// TestNeverUp: silence, or somebody else's packets, arm nothing.
func TestNeverUp(t *testing.T) {
	p := newPair(t, 300*time.Millisecond, 300*time.Millisecond)
	p.cut[1] = true
	p.run(10 * time.Second)
	if m := p.ends[0]; m.state != codeDown || m.armed || m.downs != 0 {
		t.Fatalf("%+v", m)
	}
	if _, err := p.ends[0].receive(control{state: codeUp, multiplier: 3, mine: 5, yours: 99}, p.now); err == nil {
		t.Error("a packet for another session was taken")
	}
}

// TestRates: the slower of what one end wants to send and the other to receive, and the detection time follows the sender.
func TestRates(t *testing.T) {
	p := newPair(t, 100*time.Millisecond, 500*time.Millisecond)
	p.run(4 * time.Second)
	p.are(codeUp, codeUp)
	if got := p.last(0, 4); got < 430*time.Millisecond {
		t.Errorf("a packet every %v to a peer that takes one every 500 ms", got)
	}
	if a, b := p.ends[0].detection(), p.ends[1].detection(); a != 1500*time.Millisecond || b != 1500*time.Millisecond {
		t.Errorf("detection %v and %v", a, b)
	}
	// A peer that wants none gets none, and we still hear it.
	p.ends[1].interval = 500 * time.Millisecond
	c := p.ends[1].packet(false, false)
	c.minRx = 0
	if _, err := p.ends[0].receive(c, p.now); err != nil {
		t.Fatal(err)
	}
	if _, due := p.ends[0].due(p.now.Add(time.Hour)); due {
		t.Error("sent to a peer that wants nothing")
	}
}

// TestRetune: a running session changes its rate in both directions without an end.
func TestRetune(t *testing.T) {
	p := newPair(t, 100*time.Millisecond, 100*time.Millisecond)
	p.run(4 * time.Second)
	p.are(codeUp, codeUp)
	for _, interval := range []time.Duration{2 * time.Second, 50 * time.Millisecond, 300 * time.Millisecond} {
		p.ends[0].retune(interval, 5, p.now)
		p.run(15 * time.Second)
		p.are(codeUp, codeUp)
		if p.ends[0].downs+p.ends[1].downs > 0 {
			t.Fatalf("%v: an end on the way", interval)
		}
		want := max(interval, 100*time.Millisecond)
		if got := p.last(0, 4); got < want*8/10 || got > want {
			t.Errorf("%v: a packet every %v", interval, got)
		}
		if got := p.ends[1].detection(); got != 5*want {
			t.Errorf("%v: the peer waits %v", interval, got)
		}
	}
}

func TestDemand(t *testing.T) {
	p := newPair(t, 100*time.Millisecond, 100*time.Millisecond)
	p.run(4 * time.Second)
	c := p.ends[1].packet(false, false)
	c.demand = true
	if _, err := p.ends[0].receive(c, p.now); err != nil {
		t.Fatal(err)
	}
	if got := p.ends[0].transmitInterval(); got != 0 {
		t.Errorf("a packet every %v although the peer is in demand mode", got)
	}
}
