package charon

import (
	"context"
	"fmt"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

const (
	// childlessGrace is how long an IKE_SA of ours may have no CHILD_SA after an attempt failed; the peer's own get peerGrace, since in
	// IKEv1 the CHILD_SA follows in an exchange of its own.
	childlessGrace = time.Second
	peerGrace      = 5 * time.Second
	// duplicateGrace lets the peer remove duplicates first. Two IKE_SAs of one tunnel do no harm but cost double. A peer that makes up for
	// everything that is closed (strongSwan's close_action) brings the duplicate back each time, and each time packets that were
	// on their way are lost: so the grace doubles whenever we have removed one, for as long as the tunnel is up.
	duplicateGrace    = time.Minute
	maxDuplicateGrace = 24 * time.Hour
	pruneInterval     = 10 * time.Second
)

// action is what the keeper has decided to send to charon for one tunnel.
type action struct {
	tunnel   string
	initiate bool
	// load gives charon the connection again.
	load bool
	keys keyAction
	// rekey and terminate hold arguments of those commands.
	rekey, terminate []*vici.Message
}

// keep holds tunnels at what is desired until ctx ends: initiates those that are down, closes SAs that were replaced.
func (d *Driver) keep(ctx context.Context, s *session) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		d.mu.Lock()
		now := time.Now()
		t, wait, scheduled := d.plan.next(now)
		var do *action
		if t != nil {
			do = d.decide(t, now)
		}
		d.mu.Unlock()
		if t != nil {
			if do != nil {
				d.perform(ctx, s, do)
			}
			continue
		}
		if scheduled {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-d.plan.wake:
		case <-timer.C:
		}
	}
}

// decide says what to do for t now and schedules the next look at it. The caller holds the lock.
func (d *Driver) decide(t *tunnel, now time.Time) *action {
	if !d.connected || !t.desired || !t.want.Up || !t.given.loaded || t.given.session != d.sessions {
		return nil
	}
	if do := d.overdue(t, now); do != nil {
		return do
	}
	if do := d.rotate(t, now); do != nil {
		return do
	}
	if t.reload {
		return &action{tunnel: t.name, load: true}
	}
	if do := d.rewritten(t, now); do != nil {
		return do
	}
	fresh, stale := t.sas.split(t.want)
	if do := d.renew(t, fresh, now); do != nil {
		return do
	}
	if len(stale) > 0 && (len(fresh) > 0 || !t.want.Initiate) {
		return d.prune(t, fresh, stale, now)
	}
	if len(fresh) > 0 {
		return d.deduplicate(t, fresh, now)
	}
	if !t.want.Initiate {
		return nil
	}
	if t.attempt != nil {
		if now.Before(t.attempt.deadline) {
			d.plan.at(t, t.attempt.deadline)
			return nil
		}
		d.report(t, nil, diagnose.Failure{Reason: diagnose.PeerUnreachable,
			Message: fmt.Sprintf("no outcome of the negotiation within %v", d.opts.AttemptTimeout)}, now)
		left := t.leftovers()
		d.endAttempt(t, true)
		return &action{tunnel: t.name, terminate: left}
	}
	return d.start(t, now)
}

// start begins the next attempt when its time has come.
func (d *Driver) start(t *tunnel, now time.Time) *action {
	waiting := now.Before(t.nextTry)
	if waiting {
		d.plan.at(t, t.nextTry)
	}
	if t.failed {
		if do := d.closeChildless(t, now, waiting); do != nil {
			d.plan.at(t, now.Add(childlessGrace))
			return do
		}
	}
	if waiting {
		return nil
	}
	// The peer may be about to set it up, or charon since before our time.
	for _, sa := range t.sas.ikes {
		if until := sa.since.Add(d.opts.AttemptTimeout); sa.connecting() && now.Before(until) {
			d.plan.at(t, until)
			return nil
		}
	}
	if t.slot.IsZero() {
		t.slot = now
		if d.nextSlot.After(now) {
			t.slot = d.nextSlot
		}
		d.nextSlot = t.slot.Add(time.Second / time.Duration(d.opts.AttemptsPerSecond))
	}
	if now.Before(t.slot) {
		d.plan.at(t, t.slot)
		return nil
	}
	if !t.signWith() {
		return d.rotate(t, now)
	}
	t.slot, t.failed = time.Time{}, false
	t.attempt = &attempt{started: now, deadline: now.Add(d.opts.AttemptTimeout)}
	d.plan.at(t, t.attempt.deadline)
	d.watchers.emit(Event{Kind: TunnelChanged, Tunnel: t.name, Time: now})
	return &action{tunnel: t.name, initiate: true}
}

// endAttempt ends what is in flight and, if it failed, schedules the next one. The caller holds the lock.
func (d *Driver) endAttempt(t *tunnel, failed bool) {
	if t.attempt == nil {
		return
	}
	t.attempt = nil
	for id, sa := range t.sas.ikes {
		// A listing may have shown the one that just ended; its end has no event.
		if sa.connecting() && sa.initiator {
			delete(t.sas.ikes, id)
		}
	}
	t.failed = failed
	if failed {
		now := time.Now()
		d.refusedKey(t, now)
		t.nextTry = now.Add(t.retry.Next())
		d.plan.at(t, now.Add(min(childlessGrace, t.nextTry.Sub(now))))
	}
}

// perform sends what was decided. A lost connection ends the session, which lists and decides anew.
func (d *Driver) perform(ctx context.Context, s *session, do *action) {
	if do.keys != keepKeys {
		if err := d.arrange(ctx, s, do.tunnel, do.keys); err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("keys not arranged", "tunnel", do.tunnel, "error", err)
		}
	}
	if do.load {
		d.again(ctx, do.tunnel)
	}
	for _, in := range do.rekey {
		if _, err := s.call(ctx, "rekey", in); err != nil && !gone(err) && ctx.Err() == nil {
			d.opts.Log.Warn("rekey failed", "tunnel", do.tunnel, "error", err)
		}
	}
	for _, in := range do.terminate {
		if _, err := s.call(ctx, "terminate", in); err != nil && !gone(err) && ctx.Err() == nil {
			d.opts.Log.Warn("terminate failed", "tunnel", do.tunnel, "error", err)
		}
		// Some ends have no event: an IKE_SA that was connecting, one that charon removed already.
		s.relist()
	}
	if !do.initiate {
		return
	}
	conn := Prefix + do.tunnel
	// Not waiting: a waiting one holds a thread of charon, and their number is small.
	_, err := s.call(ctx, "initiate", new(vici.Message).Set("child", conn).Set("ike", conn).Set("timeout", "-1"))
	if err == nil || ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tunnels[do.tunnel]
	if t == nil || t.attempt == nil {
		return
	}
	now := time.Now()
	if refused(err) {
		message := err.Error()
		// Such a charon takes the connection and fails to begin, without a word in its log; it has no command that tells before.
		if t.want.Version == 1 && s.can.maybeWithoutIKEv1() {
			message += " (charon " + s.can.version.text + ": from 6.1 on strongSwan is without IKEv1 unless it was built with it)"
		}
		d.report(t, nil, diagnose.Failure{Reason: diagnose.CharonRefused, Message: message}, now)
	}
	d.changing(do.tunnel, now, func(t *tunnel) { d.endAttempt(t, true) })
}

// again gives charon a tunnel's connection when another one is wished for. The step itself schedules the next look at the tunnel.
func (d *Driver) again(ctx context.Context, tunnel string) {
	if err := d.step(ctx, tunnel); err != nil && ctx.Err() == nil {
		d.opts.Log.Warn("tunnel not loaded", "tunnel", tunnel, "error", err)
		d.mu.Lock()
		defer d.mu.Unlock()
		if t := d.tunnels[tunnel]; t != nil {
			t.reload = false
		}
	}
}
