package probe

import (
	"time"
)

// retarget takes over another target of the same tunnel.
func (p *prober) retarget(t Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t == p.target {
		return
	}
	old := p.target
	p.target = t
	now := time.Now()
	p.next = p.tick(now, t.Interval)
	if p.verdict.configure(t, now) {
		p.changed()
	}
	if t.Device != old.Device || t.Local != old.Local || t.Peer != old.Peer {
		p.arm(now)
	}
	p.notify()
}

// reset arms the target anew.
func (p *prober) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arm(time.Now())
	p.notify()
}

// arm is called with mu held.
func (p *prober) arm(now time.Time) {
	p.verdict.expire(now) // what was lost before counts as sent and lost
	p.verdict.arm(now)
	p.renew, p.works = true, false
	p.changed()
}

// notify makes the sending goroutine look again.
func (p *prober) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *prober) state() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict.state
}

// introduce queues the present state for a watcher, in order with the changes.
func (p *prober) introduce(w *watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.push(p.event())
}

// changed publishes the state. It is called with mu held, which keeps events in order.
func (p *prober) changed() {
	if p.stopped {
		return
	}
	e := p.event()
	p.log.Info("probe", "state", e.State.State, "sent", e.State.Sent, "lost", e.State.Lost)
	p.hub.publish(e)
}

func (p *prober) event() Event { return Event{Tunnel: p.target.Tunnel, State: p.verdict.state} }

// stop ends the sending goroutine, which closes done. With off, the last event says that the target is OFF.
func (p *prober) stop(off bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if off {
		p.hub.publish(Event{Tunnel: p.target.Tunnel, State: State{State: StateOff, Since: time.Now()}})
	}
	close(p.quit)
}
