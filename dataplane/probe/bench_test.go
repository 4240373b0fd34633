package probe

import (
	"net/netip"
	"os"
	"testing"
	"time"
)

// mirror is a Conn in memory that answers at once.
type mirror struct {
	reply  [messageLen]byte
	wake   chan struct{}
	closed chan struct{}
}

func (m *mirror) Send(message []byte) error {
	copy(m.reply[:], message)
	m.reply[0] = icmpEchoReply
	m.reply[2], m.reply[3] = 0, 0
	sum := checksum(m.reply[:])
	m.reply[2], m.reply[3] = byte(sum>>8), byte(sum)
	m.wake <- struct{}{}
	return nil
}

func (m *mirror) Receive(buf []byte) ([]byte, error) {
	select {
	case <-m.wake:
		return buf[:copy(buf, m.reply[:])], nil
	case <-m.closed:
		return nil, os.ErrClosed
	}
}

func (m *mirror) Close() error { close(m.closed); return nil }

// BenchmarkEcho is everything that one echo costs in the process, without the kernel's part and without the timer.
func BenchmarkEcho(b *testing.B) {
	m := &mirror{wake: make(chan struct{}), closed: make(chan struct{})}
	d := New(Options{Listen: func(Target) (Conn, error) { return m, nil }})
	p := newProber(d, Target{
		Tunnel: "a", Device: "bgw1", Mode: Auto, Interval: time.Second, Failures: 3,
		Local: netip.MustParseAddr("169.254.10.1"), Peer: netip.MustParseAddr("169.254.10.2"),
	})
	defer p.disconnect()
	b.ReportAllocs()
	for b.Loop() {
		p.mu.Lock()
		p.next = time.Time{}
		p.mu.Unlock()
		p.step()
	}
	b.StopTimer()
	if s := p.state(); s.State != StatePassing || s.Lost != 0 {
		b.Fatalf("%+v", s)
	}
}

// BenchmarkVerdict is the state machine alone.
func BenchmarkVerdict(b *testing.B) {
	now := time.Now()
	v := newVerdict(Target{Mode: Auto, Interval: time.Second, Failures: 3}, now)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		v.expire(now)
		v.answer(v.send(now), now.Add(time.Millisecond))
	}
}
