package charon

import (
	"fmt"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/backoff"
)

// generation numbers connections of one tunnel that differ in nothing but that. charon uses an IKE_SA again for whatever is initiated
// with equal settings, and refuses a second CHILD_SA on it ("existing duplicate"); with another generation it makes a new IKE_SA
// beside the old one.
type generation uint8

// generations is how many there are. Each makes rand_time a second longer, by how much a rekeying of ours may come early.
const generations = 4

const (
	// renewMin and renewMax bound the back-off between renegotiations that did not help.
	renewMin, renewMax = 15 * time.Second, 5 * time.Minute
	// peerRenewGrace is how long a tunnel that only the peer may initiate has after its CHILD_SAs were rekeyed, before they are closed.
	peerRenewGrace = 15 * time.Second
	// trustAfter is how long packets must have come through for the back-off to start over.
	trustAfter = time.Minute
)

// doubt is what somebody who watches packets thinks of a tunnel's SAs.
type doubt struct {
	on bool
	// why is for the log.
	why   string
	retry backoff.Backoff
	// next is when the SAs that are there then may be replaced.
	next time.Time
	// trusted is when doubt last ended.
	trusted time.Time
	// rekeyed is set while the peer has a last chance.
	rekeyed bool
	count   uint64
}

// Renegotiate says that no packets come through the tunnel although charon has CHILD_SAs installed. They are replaced: a new IKE_SA is
// negotiated beside them, and they are closed once its CHILD_SA is installed. While that fails it is tried again with the back-off of
// negotiations, and the old SAs stay. New SAs that do not help are replaced in turn, with a back-off of their own (15 s to 5 min).
// Where only the peer may initiate, the CHILD_SAs are rekeyed, which either end may do, and 15 s later closed, so that the peer begins.
//
// It goes on until Trust or until no CHILD_SA is left, when the keeper does what it always does. Saying it again changes nothing.
func (d *Driver) Renegotiate(tunnel, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tunnels[tunnel]
	if t == nil || t.doubt.on || !t.desired || !t.want.Up || !t.sas.up() {
		return
	}
	now := time.Now()
	if !t.doubt.trusted.IsZero() && now.Sub(t.doubt.trusted) >= trustAfter {
		t.doubt.retry.Reset()
		t.doubt.next = time.Time{}
	}
	t.doubt.on, t.doubt.why, t.doubt.rekeyed = true, why, false
	d.plan.at(t, now)
}

// Rewrite has the kernel's policies of a tunnel written anew, by a new CHILD_SA: they were found to lead nowhere although charon has a
// CHILD_SA installed. With IKEv2 that is a rekeying; with IKEv1, which cannot be relied on for that, new SAs.
func (d *Driver) Rewrite(tunnel, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tunnels[tunnel]
	if t == nil || !t.desired || !t.want.Up || !t.sas.up() {
		return
	}
	t.rewrite = why
	d.plan.at(t, time.Now())
}

// Trust takes Renegotiate back: packets come through. What was replaced already is closed still; what was not stays.
func (d *Driver) Trust(tunnel string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tunnels[tunnel]; t != nil && t.doubt.on {
		t.doubt.on, t.doubt.trusted = false, time.Now()
		if fresh, _ := t.sas.split(t.want); len(fresh) == 0 {
			t.sas.doubt(false)
		}
		d.plan.at(t, time.Now())
	}
}

// renew begins to replace SAs in doubt, when their time has come. The caller holds the lock.
func (d *Driver) renew(t *tunnel, fresh []*childSA, now time.Time) *action {
	switch {
	case !t.doubt.on || len(fresh) == 0:
		return nil
	case now.Before(t.doubt.next):
		d.plan.at(t, t.doubt.next)
		return nil
	case t.want.Initiate:
		t.doubt.next = now.Add(t.doubt.retry.Next())
		d.note(t, now, "renegotiating: "+t.doubt.why)
		t.sas.doubt(true)
		return d.another(t, now)
	case !t.doubt.rekeyed && t.want.Version == 2:
		t.doubt.rekeyed, t.doubt.next = true, now.Add(peerRenewGrace)
		d.plan.at(t, t.doubt.next)
		d.note(t, now, "rekeying: "+t.doubt.why)
		return &action{tunnel: t.name, rekey: children(fresh)}
	}
	t.doubt.rekeyed, t.doubt.next = false, now.Add(t.doubt.retry.Next())
	t.terminated = now
	d.note(t, now, "closing for the peer to negotiate anew: "+t.doubt.why)
	return &action{tunnel: t.name, terminate: []*vici.Message{terminate("ike", Prefix+t.name)}}
}

// rewritten carries Rewrite out.
func (d *Driver) rewritten(t *tunnel, now time.Time) *action {
	why := t.rewrite
	t.rewrite = ""
	live := t.sas.live()
	switch {
	case why == "" || len(live) == 0:
		return nil
	case t.want.Version == 2 || !t.want.Initiate:
		d.note(t, now, "rekeying: "+why)
		return &action{tunnel: t.name, rekey: children(live[len(live)-1:])}
	}
	d.note(t, now, "renegotiating: "+why)
	t.sas.doubt(true)
	return d.another(t, now)
}

// another loads the tunnel's connection in another generation, so that the next attempt makes an IKE_SA of its own.
func (d *Driver) another(t *tunnel, now time.Time) *action {
	t.generation = (t.generation + 1) % generations
	t.reload = true
	d.plan.at(t, now)
	return &action{tunnel: t.name, load: true}
}

// note counts a renegotiation and says why.
func (d *Driver) note(t *tunnel, now time.Time, line string) {
	t.doubt.count++
	d.say(t, now, line)
}

// say puts a line of ours into the tunnel's negotiation log.
func (d *Driver) say(t *tunnel, now time.Time, line string) {
	d.opts.Log.Info(line, "tunnel", t.name)
	d.watchers.emit(Event{Kind: LogLine, Tunnel: t.name, Time: now, Message: line})
}

// children are arguments of rekey.
func children(list []*childSA) []*vici.Message {
	var out []*vici.Message
	for _, c := range list {
		out = append(out, new(vici.Message).Set("child-id", fmt.Sprint(c.UniqueID)))
	}
	return out
}
