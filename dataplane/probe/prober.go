package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// reopenMax bounds how long a missing socket waits for its next opening.
const reopenMax = 5 * time.Second

// prober probes one target. Its sending goroutine owns conn and everything about opening it; mu guards what others see.
type prober struct {
	log    *slog.Logger
	listen func(Target) (Conn, error)
	hub    *hub
	id     uint16
	token  uint64
	epoch  time.Time // ticks are counted from here, alike for all targets of a driver
	phase  uint64    // nanoseconds, to be taken modulo the interval

	wake chan struct{} // the target changed
	quit chan struct{}
	done chan struct{} // the sending goroutine ended

	mu      sync.Mutex
	target  Target
	verdict *verdict
	next    time.Time // of the next echo
	stopped bool      // publish no more
	renew   bool      // replace conn at once, without back-off
	broken  bool      // conn's Receive failed
	works   bool      // an answer came through conn

	conn     *connection
	skip     int // ticks that pass before the socket is opened again
	backoff  int // ticks to skip after the next failure
	sendFail bool
	message  [messageLen]byte
}

// connection is an open Conn and the goroutine that receives from it.
type connection struct {
	Conn
	received chan struct{} // closed when the goroutine ended
}

func newProber(d *Driver, t Target) *prober {
	now := time.Now()
	p := &prober{
		log: d.log.With("tunnel", t.Tunnel), listen: d.listen, hub: &d.hub,
		id: identifier(t.Tunnel), token: rand.Uint64(), epoch: d.epoch, phase: hash(t.Tunnel),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		target: t, verdict: newVerdict(t, now),
	}
	p.next = p.tick(now, t.Interval)
	return p
}

// hash is a good one because a cheap one, such as FNV, leaves names that differ in their last digits only close together.
func hash(tunnel string) uint64 {
	sum := sha256.Sum256([]byte(tunnel))
	return binary.BigEndian.Uint64(sum[:])
}

// identifier is the ICMP identifier of a tunnel's echoes.
func identifier(tunnel string) uint16 {
	return uint16(hash(tunnel) >> 48)
}

// tick returns the first tick after now. Ticks stand at fixed times, so that a late goroutine does not shift the next echo
// and ticks missed (the machine stood still) are skipped: they count neither as sent nor as lost.
func (p *prober) tick(now time.Time, interval time.Duration) time.Time {
	first := p.epoch.Add(time.Duration(p.phase % uint64(interval)))
	if now.Before(first) {
		return first
	}
	return now.Add(interval - now.Sub(first)%interval)
}

// run probes until stop.
func (p *prober) run() {
	defer close(p.done)
	defer p.disconnect()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
		case <-timer.C:
		}
		timer.Reset(time.Until(p.step()))
	}
}

// step does what is due and returns when to come back.
func (p *prober) step() time.Time {
	now := time.Now()
	p.mu.Lock()
	p.expire(now)
	target, due := p.target, !now.Before(p.next)
	renew, broken, works := p.renew, p.broken, p.works
	p.renew, p.broken, p.works = false, false, false
	p.mu.Unlock()

	if renew || works {
		p.skip, p.backoff = 0, 0
	}
	if renew {
		p.disconnect()
	}
	if broken {
		p.retreat(target)
	}
	if due {
		p.connect(target)
		p.send()
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	wake := p.next
	if deadline, open := p.verdict.deadline(); open && deadline.Before(wake) {
		wake = deadline
	}
	return wake
}

// expire is called with mu held.
func (p *prober) expire(now time.Time) {
	before := p.verdict.losses
	if p.verdict.expire(now) {
		p.changed()
	}
	if p.verdict.losses != before && p.verdict.deciding() {
		// The echo that decides goes out early, so that its fate is known when it would have gone out: no target that answers fast is
		// silent for more than Failures intervals without being FAILING.
		p.next = p.next.Add(-p.verdict.patience())
		if p.next.Before(now) {
			p.next = now
		}
	}
}

// send sends the next echo. Without a socket, or refused by the kernel, it is an echo like any other: nothing answers it.
func (p *prober) send() {
	p.mu.Lock()
	if p.renew {
		// Armed anew a moment ago: conn may lead to the former peer, whose answer must not count.
		p.mu.Unlock()
		return
	}
	now := time.Now()
	target := p.target
	putRequest(&p.message, target.Local.Is6(), p.id, p.token, p.verdict.send(now))
	p.next = p.tick(now, target.Interval)
	p.mu.Unlock()
	if p.conn == nil {
		return
	}
	err := p.conn.Send(p.message[:])
	if err != nil && !p.sendFail {
		p.log.Warn("probe not sent", "err", err)
	}
	p.sendFail = err != nil
	if errors.Is(err, ErrStale) {
		p.retreat(target)
	}
}

// connect opens the socket where there is none and its back-off is over.
func (p *prober) connect(t Target) {
	if p.conn != nil {
		return
	}
	if p.skip > 0 {
		p.skip--
		return
	}
	conn, err := p.listen(t)
	if err != nil {
		if p.backoff == 0 {
			p.log.Warn("probe socket not opened", "device", t.Device, "err", err)
		}
		p.retreat(t)
		return
	}
	c := &connection{Conn: conn, received: make(chan struct{})}
	p.conn = c
	go p.receive(c, t.Local.Is6())
}

// retreat closes the socket and lets pass twice as many ticks as the last time before it is opened again, none at first.
func (p *prober) retreat(t Target) {
	p.disconnect()
	p.skip = p.backoff
	p.backoff = min(2*p.backoff+1, int(reopenMax/t.Interval))
}

func (p *prober) disconnect() {
	if p.conn == nil {
		return
	}
	if err := p.conn.Close(); err != nil {
		p.log.Warn("probe socket not closed", "err", err)
	}
	<-p.conn.received
	p.conn = nil
	p.mu.Lock()
	p.broken = false // it was said of this conn
	p.mu.Unlock()
}

// receive hands c's answers to the verdict until c fails or is closed.
func (p *prober) receive(c *connection, v6 bool) {
	defer close(c.received)
	buf := make([]byte, 256) // longer messages are cut, and are not ours
	for {
		message, err := c.Receive(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				p.log.Warn("probe socket failed", "err", err)
			}
			p.mu.Lock()
			p.broken = true
			p.mu.Unlock()
			return
		}
		if seq, ok := parseReply(message, v6, p.id, p.token); ok {
			p.answer(seq)
		}
	}
}

func (p *prober) answer(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed, counted := p.verdict.answer(seq, time.Now())
	if counted {
		p.works = true
	}
	if changed {
		p.changed()
	}
}
