package charon

import (
	"fmt"
	"strings"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// charon gives up on an IKEv2 peer after its retransmissions, which are the same for all tunnels and take longer than any tunnel's
// timeout (configs/strongswan.conf). So the driver closes IKE_SAs of which nothing was heard for the tunnel's own timeout. It learns from
// the log that charon asks (a DPD request, or any other one that has to be repeated) and what it hears; and from a listing, made when the
// time is over, when ESP last came in (use-in, which charon takes from the kernel).

// vital takes signs of life of the peer, and of charon missing one, from a line about an established IKE_SA.
func (d *Driver) vital(t *tunnel, k *talk, line string, now time.Time) {
	switch {
	case strings.HasPrefix(line, "parsed "):
		// Only what could be decrypted and verified is parsed.
		k.heard, k.guessed, k.asked = now, false, time.Time{}
		if t.attempt != nil && t.attempt.ike == k.id {
			t.attempt.deadline = now.Add(d.opts.AttemptTimeout)
		}
	case !k.established || !k.asked.IsZero():
	case line == "sending DPD request":
		// charon asks when nothing came in for the interval. It counts in whole seconds and looks again after whole seconds, so what came
		// in last came up to a second before or after that.
		if last := now.Add(-t.want.DPDInterval); k.heard.Before(last.Add(-time.Second)) {
			k.heard, k.guessed = last, true
		}
		d.missing(t, k, now)
	case strings.HasPrefix(line, "retransmit ") || strings.HasPrefix(line, "sending retransmit "):
		if k.heard.IsZero() {
			k.heard = now
		}
		d.missing(t, k, now)
	}
}

func (d *Driver) missing(t *tunnel, k *talk, now time.Time) {
	k.asked = now
	d.plan.at(t, k.heard.Add(t.want.DPDTimeout))
}

// heardESP takes from a listed IKE_SA when something last came in through its CHILD_SAs. The kernel keeps that in whole seconds of the wall
// clock, so the middle of that second is taken: at most half a second off. It counts only when the number of packets has changed since the
// listing before, because only then has charon asked the kernel; else it counts on in seconds of another clock.
func (d *Driver) heardESP(t *tunnel, body *vici.Message, listing, now time.Time) {
	id, ok := number(body, "uniqueid")
	k := d.talks.byID[id]
	if !ok || k == nil || k.asked.IsZero() {
		return
	}
	k.verified = listing
	for _, child := range body.Section("child-sas").Sections() {
		if _, used := child.Lookup("use-in"); !used {
			continue
		}
		of, _ := number(child, "uniqueid")
		if known := t.sas.children[of]; known != nil && known.Traffic.PacketsIn == counter(child, "packets-in") {
			continue
		}
		second := now.Add(-time.Duration(now.Nanosecond()) - time.Duration(counter(child, "use-in"))*time.Second)
		at := second.Add(time.Second / 2)
		if at.After(now) {
			at = now
		}
		if k.guessed || at.After(k.heard) {
			k.heard, k.guessed = at, false
		}
	}
}

// overdue closes IKE_SAs whose peer was not heard for the tunnel's timeout. The caller holds the lock.
func (d *Driver) overdue(t *tunnel, now time.Time) *action {
	timeout := t.want.DPDTimeout
	if t.want.DPDInterval == 0 || timeout == 0 {
		return nil
	}
	do := &action{tunnel: t.name}
	for id, sa := range t.sas.ikes {
		k := d.talks.byID[id]
		if k == nil || k.asked.IsZero() || !sa.established() {
			continue
		}
		due := k.heard.Add(timeout)
		switch {
		case now.Before(due):
			d.plan.at(t, due)
		case k.verified.Before(due):
			if d.session != nil {
				d.session.urge()
			}
			d.plan.at(t, now.Add(time.Second))
		default:
			k.asked = time.Time{}
			t.cause = Failure{Reason: diagnose.DPDTimeout, Time: now,
				Message: fmt.Sprintf("the peer gave no sign of life for %v (dpd.timeout)", timeout)}
			do.terminate = append(do.terminate, terminate("ike-id", fmt.Sprint(id)))
		}
	}
	if len(do.terminate) == 0 {
		return nil
	}
	d.plan.at(t, now)
	return do
}

// waiting says whether charon waits for a sign of life of the tunnel's peer.
func (d *Driver) waiting(t *tunnel) bool {
	for id := range t.sas.ikes {
		if k := d.talks.byID[id]; k != nil && !k.asked.IsZero() {
			return true
		}
	}
	return false
}
