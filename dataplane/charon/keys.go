package charon

import (
	"context"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/secret"
)

// A new pre-shared key does not have to be given to both ends at the same moment. The former one stays in charon beside it, until the new one
// has authenticated an IKE_SA and Options.KeyOverlap has passed. charon accepts what a peer signs with any key whose owner fits, but signs
// with the one that was loaded last (mem_cred.c, credential_manager.c), so which that is decides what a peer will believe:
//
//   - our own attempts sign with the new key, beside the SAs in force, with the back-off of all negotiations;
//   - between them the former key is loaded last, for a peer that does not know of the new one and begins itself;
//   - without SAs in force our attempts take turns;
//   - where only the peer may initiate, the keys take turns whenever a negotiation fails.
//
// An IKE_SA that comes up while the new key is the last one proves that the peer has it; one that the peer began only if it stays, because the
// responder is established before the initiator has looked at its signature. One that comes up with the former key is kept, and replaced as
// soon as the peer has the new one.

// Tunnels of one host with the same remote identity share their keys in charon; while the key of one is replaced, another's may be what is signed
// with. Rotating them one after the other avoids it.

// proofTime is how long a peer has to refuse our signature.
const proofTime = 5 * time.Second

// rotation is the way of a tunnel from one key to the next.
type rotation struct {
	// pending: the new key has not authenticated anything yet. since is when it came, proven when it first did.
	pending       bool
	since, proven time.Time
	// candidate is an IKE_SA of the peer's making that may prove it, came when it came up.
	candidate uint32
	came      time.Time
	// former says which key charon is to sign with, turn which one an attempt without SAs in force is to take.
	former, turn bool
}

// loaded are the keys that charon was given for a tunnel. Part of given.
type loaded struct {
	owner         string
	key, former   secret.Secret
	formerIsFirst bool
	// session in which charon has them.
	session uint64
}

func formerKey(tunnel string) string { return Prefix + tunnel + ".former" }

// loadKeys gives charon the tunnel's key, and keeps a former one beside it.
func (d *Driver) loadKeys(ctx context.Context, s *session, t *tunnel, want Tunnel, have *loaded) error {
	here := have.session == s.number
	if here && have.owner == want.RemoteID && have.key.Equal(want.PSK) {
		return nil
	}
	next := *have
	next.session, next.owner = s.number, want.RemoteID
	changed := false
	switch {
	case have.owner != want.RemoteID:
		// Another identity: what came before says nothing about it.
		next.former = secret.Secret{}
	case !have.key.Equal(want.PSK):
		changed = true
		d.mu.Lock()
		unproven := t.rotation.pending
		d.mu.Unlock()
		switch {
		case have.former.Equal(want.PSK) && have.former.IsSet():
			next.former = have.key
		case !unproven || !have.former.IsSet():
			// A key that was never accepted is not worth keeping: the peer has the one before it.
			next.former = have.key
		}
	}
	next.key = want.PSK
	if next.former.IsSet() {
		if err := s.loadKey(ctx, formerKey(want.Name), next.former, want.RemoteID); err != nil {
			return err
		}
	} else if have.former.IsSet() && here {
		if _, err := s.call(ctx, "unload-shared", new(vici.Message).Set("id", formerKey(want.Name))); err != nil && !gone(err) {
			return err
		}
	}
	if err := s.loadKey(ctx, Prefix+want.Name, next.key, want.RemoteID); err != nil {
		return err
	}
	next.formerIsFirst = false
	*have = next
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !next.former.IsSet():
		t.rotation = rotation{}
	case changed:
		t.rotation = rotation{pending: true, since: time.Now(), former: !want.Initiate}
		if want.Initiate {
			// SAs made with the former key are as good as before, so they stay until there are others. It needs another generation for that.
			t.sas.markStale(true)
			t.generation = (t.generation + 1) % generations
		}
		t.retry.Reset()
		t.nextTry = time.Time{}
	}
	return nil
}

func (s *session) loadKey(ctx context.Context, id string, key secret.Secret, owner string) error {
	_, err := s.call(ctx, "load-shared", new(vici.Message).
		Set("id", id).
		Set("type", "IKE").
		Set("data", key.Reveal()).
		// The remote identity is the only owner: charon offers a key when either end's identity is among its owners, so the shared local
		// one would make every customer's key open every tunnel.
		SetList("owners", owner))
	return err
}

// rotate says what has to be done about the keys now. The caller holds the lock.
func (d *Driver) rotate(t *tunnel, now time.Time) *action {
	if !t.given.keys.former.IsSet() {
		return nil
	}
	if !t.rotation.pending {
		if until := t.rotation.proven.Add(d.opts.KeyOverlap); now.Before(until) {
			d.plan.at(t, until)
			return nil
		}
		return &action{tunnel: t.name, keys: forgetFormer}
	}
	switch sa := t.sas.ikes[t.rotation.candidate]; {
	case t.rotation.candidate == 0:
	case sa == nil:
		t.rotation.candidate = 0
	default:
		until := t.rotation.came.Add(proofTime)
		if !now.Before(until) {
			d.prove(t, now)
			return nil
		}
		d.plan.at(t, until)
	}
	if fresh, stale := t.sas.split(t.want); t.want.Initiate && t.attempt == nil && t.rotation.candidate == 0 && len(fresh) > 0 && len(stale) == 0 {
		// Everything was replaced and the event that says with which key got lost.
		t.sas.markStale(true)
		return d.another(t, now)
	}
	switch {
	case t.rotation.former && !t.given.keys.formerIsFirst:
		return &action{tunnel: t.name, keys: formerFirst}
	case !t.rotation.former && t.given.keys.formerIsFirst:
		return &action{tunnel: t.name, keys: newFirst}
	}
	return nil
}

// signWith chooses the key of the next attempt and says whether charon has it first already. The caller holds the lock.
func (t *tunnel) signWith() bool {
	if !t.rotation.pending {
		return true
	}
	t.rotation.former = t.rotation.turn && !t.sas.up()
	return t.rotation.former == t.given.keys.formerIsFirst
}

// refusedKey takes note of a negotiation that failed while a key is being replaced. The caller holds the lock.
func (d *Driver) refusedKey(t *tunnel, now time.Time) {
	switch {
	case !t.rotation.pending:
		return
	case !t.want.Initiate:
		t.rotation.former = !t.rotation.former
	default:
		t.rotation.former, t.rotation.turn = true, !t.rotation.turn
	}
	d.plan.at(t, now)
}

// authenticated takes note of an IKE_SA that came up. The caller holds the lock.
func (d *Driver) authenticated(t *tunnel, sa *ikeSA, now time.Time) {
	switch {
	case !t.rotation.pending:
	case t.given.keys.formerIsFirst:
		if known := t.sas.ikes[sa.id]; known != nil && t.want.Initiate {
			known.stale = true
		}
	case !sa.initiator:
		t.rotation.candidate, t.rotation.came = sa.id, now
		d.plan.at(t, now)
	default:
		d.prove(t, now)
	}
}

func (d *Driver) prove(t *tunnel, now time.Time) {
	t.rotation = rotation{since: t.rotation.since, proven: now}
	d.say(t, now, "the peer has accepted the new pre-shared key")
	d.plan.at(t, now)
}

// lost takes note of an IKE_SA that went down. The caller holds the lock.
func (d *Driver) lost(t *tunnel, sa *ikeSA, now time.Time) {
	known := t.sas.ikes[sa.id]
	if !t.rotation.pending || known == nil || known.initiator || now.Sub(known.since) >= proofTime {
		return
	}
	t.rotation.candidate = 0
	if !t.want.Initiate {
		d.refusedKey(t, now)
	}
}

// keyAction is what the keeper does about keys.
type keyAction int

const (
	keepKeys keyAction = iota
	formerFirst
	newFirst
	forgetFormer
)

// arrange carries a keyAction out.
func (d *Driver) arrange(ctx context.Context, s *session, name string, do keyAction) error {
	select {
	case d.steps <- struct{}{}:
		defer func() { <-d.steps }()
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	t := d.tunnels[name]
	if t == nil || d.session != s || t.given.session != s.number || !t.given.keys.former.IsSet() {
		d.mu.Unlock()
		return nil
	}
	have := t.given.keys
	d.mu.Unlock()
	var err error
	switch do {
	case formerFirst:
		have.formerIsFirst = true
		err = s.loadKey(ctx, formerKey(name), have.former, have.owner)
	case newFirst:
		have.formerIsFirst = false
		err = s.loadKey(ctx, Prefix+name, have.key, have.owner)
	case forgetFormer:
		have.former = secret.Secret{}
		if _, err = s.call(ctx, "unload-shared", new(vici.Message).Set("id", formerKey(name))); gone(err) {
			err = nil
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		t.given.keys = have
		if do == forgetFormer {
			t.rotation = rotation{}
		}
	}
	d.plan.at(t, time.Now())
	return err
}
