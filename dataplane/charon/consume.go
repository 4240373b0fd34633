package charon

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

const (
	// causeWindow is how far apart the log's reason and the event of a tunnel going down may be: charon queues log lines on their own.
	causeWindow = 3 * time.Second
	// reportWindow takes what charon says about one failure together.
	reportWindow = 2 * time.Second
	// ownDownWindow is how long after our own terminate a tunnel going down is no failure.
	ownDownWindow = 10 * time.Second
	// steadyAfter is how long a tunnel must be up for its back-off to start over; shorter ones flap.
	steadyAfter = 10 * time.Second
)

// consume folds the inbox until it is closed and empty. It is the only one to change what is known of SAs from charon's words.
func (d *Driver) consume(s *session) {
	var listStart time.Time
	for {
		entries, lost, open := s.inbox.take()
		if lost {
			d.opts.Log.Warn("events dropped, listing SAs")
			d.watchers.emit(Event{Kind: Resync, Time: time.Now()})
			s.relist()
		}
		for _, e := range entries {
			d.mu.Lock()
			now := time.Now()
			switch e.mark {
			case listBegin:
				d.epoch++
				listStart = now
			case listItem:
				d.foldItem(e.message, listStart, now)
			case listEnd:
				// What an event dropped by the inbox added meanwhile is not known to be gone.
				if !e.failed && !lost {
					d.endListing(listStart, now)
				}
				close(e.done)
			case isEvent:
				if !d.fold(e.event, e.message, now) {
					s.relist()
				}
			}
			d.mu.Unlock()
		}
		if !open {
			return
		}
	}
}

// fold takes one event; false asks for a listing.
func (d *Driver) fold(event string, m *vici.Message, now time.Time) bool {
	switch event {
	case "log":
		d.foldLog(m, now)
		return true
	case "alert":
		d.foldAlert(m, now)
		return true
	}
	regular := true
	for conn, body := range m.Sections() {
		if !d.foldSA(event, conn, m, body, now) {
			regular = false
		}
	}
	return regular
}

// foldSA takes an event about the SAs of one connection.
func (d *Driver) foldSA(event, conn string, m, body *vici.Message, now time.Time) bool {
	name, isOurs := ours(conn)
	if !isOurs {
		d.foldStranger(body)
		return true
	}
	at := stamp{now: now, epoch: d.epoch}
	regular := true
	d.changing(name, now, func(t *tunnel) {
		if event == "ike-rekey" {
			old, ok := parseIKE(body.Section("old"))
			fresh, ok2 := parseIKE(body.Section("new"))
			if regular = ok && ok2; regular {
				t.sas.ikeRekey(old, fresh, at)
				d.talks.get(fresh.id).established = true
			}
			return
		}
		ike, ok := parseIKE(body)
		if !ok {
			regular = false
			return
		}
		up := m.Get("up") == "yes"
		switch event {
		case "ike-updown":
			regular = d.foldIKE(t, ike, up, at)
		case "ike-update":
			ike.local, ike.remote = endpoint(m, "local"), endpoint(m, "remote")
			t.sas.ikeUp(ike, at)
		case "child-updown":
			for _, section := range body.Section("child-sas").Sections() {
				c, ok := parseChild(section, ike.id, now)
				switch {
				case !ok:
					regular = false
				case up:
					t.sas.childUp(ike, c, at)
				default:
					t.sas.childDown(c, at)
				}
			}
		case "child-rekey":
			for _, pair := range body.Section("child-sas").Sections() {
				old, ok := parseChild(pair.Section("old"), ike.id, now)
				fresh, ok2 := parseChild(pair.Section("new"), ike.id, now)
				regular = ok && ok2 && t.sas.childRekey(ike, old, fresh, at) && regular
			}
		}
	})
	return regular
}

// foldIKE takes an ike-updown; false asks for a listing.
func (d *Driver) foldIKE(t *tunnel, ike *ikeSA, up bool, at stamp) bool {
	if up {
		t.sas.ikeUp(ike, at)
		d.authenticated(t, ike, at.now)
		d.talks.get(ike.id).established = true
		return true
	}
	if known := t.sas.ikes[ike.id]; known != nil && known.established() {
		d.talks.get(ike.id).established = true
	}
	d.lost(t, ike, at.now)
	regular := t.sas.ikeDown(ike)
	// Only the one of our own attempt ends it. Why is in the log, which may come later.
	if t.attempt != nil && t.attempt.ours(ike.id, ike.connecting() && ike.initiator) {
		d.endAttempt(t, true)
	}
	return regular
}

// foldStranger learns addresses of IKE_SAs that charon has no connection for yet.
func (d *Driver) foldStranger(body *vici.Message) {
	ike, ok := parseIKE(body)
	if !ok {
		return
	}
	if k := d.talks.byID[ike.id]; k != nil && k.tunnel == "" {
		k.Local, k.Remote = ike.local.Addr(), ike.remote.Addr()
	}
}

func (d *Driver) foldItem(m *vici.Message, listing, now time.Time) {
	for conn, body := range m.Sections() {
		if name, isOurs := ours(conn); isOurs {
			d.changing(name, now, func(t *tunnel) {
				d.heardESP(t, body, listing, now)
				t.sas.listed(body, stamp{now: now, epoch: d.epoch})
			})
		} else {
			for _, child := range body.Section("child-sas").Sections() {
				d.foreign.note(child.Get("spi-in"), child.Get("spi-out"), d.epoch)
			}
		}
	}
}

// endListing removes what is gone. An attempt of which nothing is left in charon has ended without a word.
func (d *Driver) endListing(started, now time.Time) {
	maps.DeleteFunc(d.foreign, func(_ string, epoch uint64) bool { return epoch < d.epoch })
	for _, name := range d.names(func(*tunnel) bool { return true }) {
		d.changing(name, now, func(t *tunnel) {
			if t.sas.endListing(d.epoch) && d.session != nil {
				d.session.urge()
			}
			if d.waiting(t) {
				d.plan.at(t, now)
			}
			if t.attempt != nil && t.attempt.started.Before(started) && (len(t.sas.ikes) == 0 || t.attempt.ike != 0 && t.sas.ikes[t.attempt.ike] == nil) {
				if t.last.Time.Before(t.attempt.started) {
					d.report(t, nil, diagnose.Failure{Reason: diagnose.PeerUnreachable,
						Message: "the negotiation ended without a reason in charon's log"}, now)
				}
				d.endAttempt(t, true)
			}
		})
		d.drop(d.tunnels[name])
	}
}

// changing runs change on a tunnel and tells watchers and keeper what became of it.
func (d *Driver) changing(name string, now time.Time, change func(*tunnel)) {
	t := d.tunnelFor(name)
	before, wasUp := t.picture(), t.sas.up()
	change(t)
	up := t.sas.up()
	switch {
	case up && !wasUp:
		t.upSince, t.down, t.terminated, t.slot, t.cause = now, time.Time{}, time.Time{}, time.Time{}, Failure{}
	case wasUp && !up:
		d.wentDown(t, now)
	}
	if t.attempt != nil {
		if fresh, _ := t.sas.split(t.want); len(fresh) > 0 {
			t.attempt = nil
		}
	}
	if !slices.Equal(before, t.picture()) {
		d.watchers.emit(Event{Kind: TunnelChanged, Tunnel: name, Time: now})
		d.plan.at(t, now)
	}
}

// facet is a comparable part of what others see of a tunnel.
type facet struct {
	state, spiIn, spiOut string
	id, ike              uint32
}

func (t *tunnel) picture() []facet {
	live := t.sas.live()
	out := make([]facet, 0, len(live)+1)
	out = append(out, facet{state: string(t.ikeState())})
	for _, c := range live {
		out = append(out, facet{state: c.State, spiIn: c.SPIIn, spiOut: c.SPIOut, id: c.UniqueID, ike: c.IKEUniqueID})
	}
	return out
}

// wentDown notes the end of the last CHILD_SA. An SA that was up for a while is replaced at once.
func (d *Driver) wentDown(t *tunnel, now time.Time) {
	t.duplicateGrace, t.lastDown = 0, now
	if now.Sub(t.terminated) < ownDownWindow {
		t.cause = Failure{}
		return
	}
	if now.Sub(t.upSince) >= steadyAfter {
		t.retry.Reset()
		t.nextTry = now
	} else {
		t.nextTry = now.Add(t.retry.Next())
	}
	t.down, t.failed = now, false
	if t.cause.Reason != "" && now.Sub(t.cause.Time) < causeWindow {
		d.report(t, nil, diagnose.Failure{Reason: t.cause.Reason, Message: t.cause.Message}, now)
		t.cause, t.down = Failure{}, time.Time{}
	}
}

func (d *Driver) foldLog(m *vici.Message, now time.Time) {
	id, known := number(m, "ikesa-uniqueid")
	line := m.Get("msg")
	if !known {
		return
	}
	k := d.talks.get(id)
	name, isOurs := ours(m.Get("ikesa-name"))
	if isOurs {
		k.tunnel = name
		d.offers(k)
	}
	outcome, failure := k.Observe(line)
	if !isOurs && k.tunnel == "" && k.Remote.IsValid() {
		k.tunnel = d.tunnelOf(k.Local, k.Remote)
	}
	t := d.tunnels[k.tunnel]
	if t == nil {
		return
	}
	if sa := t.sas.ikes[id]; sa != nil && sa.established() {
		// Adopted ones were established before anything was heard of them.
		k.established = true
	}
	for _, told := range k.tell(line) {
		d.watchers.emit(Event{Kind: LogLine, Tunnel: t.name, Time: now, Message: told})
	}
	d.attend(t, id, line, now)
	d.vital(t, k, line, now)
	d.conclude(t, k, outcome, failure, now)
}

// offers tells a conversation what our end offers.
func (d *Driver) offers(k *talk) {
	if t := d.tunnels[k.tunnel]; t != nil && d.session != nil && k.IKEOffer == nil {
		k.IKEOffer, k.ESPOffer = knownProposals(t.want.IKEProposals, d.session.can), knownProposals(t.want.ESPProposals, d.session.can)
	}
}

// attend takes from the log what is about our own doing.
func (d *Driver) attend(t *tunnel, id uint32, line string, now time.Time) {
	switch {
	case t.attempt != nil && t.attempt.ike == 0 && strings.HasPrefix(line, "initiating ") && strings.Contains(line, "IKE_SA "):
		t.attempt.ike = id
	case t.attempt != nil && strings.Contains(line, "due to existing duplicate"):
		// The peer, or an earlier agent, has made SAs of this generation. Nothing was sent, so the next one need not wait, unless all were tried.
		t.attempt, t.nextTry = nil, now.Add(childlessGrace)
		t.generation, t.reload = (t.generation+1)%generations, true
		if t.generation == 0 {
			t.nextTry = now.Add(t.retry.Next())
		}
		d.plan.at(t, now)
	case line == suspicious:
		t.refresh.suspect = true
		d.plan.at(t, now)
	}
}

// ours says whether the IKE_SA of that id is the attempt's; likely decides while the attempt's is not known.
func (a *attempt) ours(id uint32, likely bool) bool {
	return a.ike == id || a.ike == 0 && likely
}

func (d *Driver) foldAlert(m *vici.Message, now time.Time) {
	outcome, failure := diagnose.Alert(m.Get("type"))
	for conn, body := range m.Section("ike-sa").Sections() {
		ike, ok := parseIKE(body)
		if !ok {
			return
		}
		k := d.talks.get(ike.id)
		k.established = k.established || ike.established()
		if name, isOurs := ours(conn); isOurs {
			k.tunnel = name
		} else if k.tunnel == "" {
			k.tunnel = d.tunnelOf(ike.local.Addr(), ike.remote.Addr())
		}
		if t := d.tunnels[k.tunnel]; t != nil {
			d.conclude(t, k, outcome, failure, now)
		}
	}
}

// conclude draws the consequences of what was said about an IKE_SA of t.
func (d *Driver) conclude(t *tunnel, k *talk, outcome diagnose.Outcome, f diagnose.Failure, now time.Time) {
	switch outcome {
	case diagnose.Failed:
		d.report(t, k, f, now)
	case diagnose.Unanswered, diagnose.Closed:
		if k.established {
			if outcome == diagnose.Unanswered {
				f.Reason = diagnose.DPDTimeout
			}
			d.ended(t, k, f, now)
			break
		}
		// What came before on the same IKE_SA is the reason: with a wrong IKEv1 key the messages of either end cannot be read.
		if !k.Failed {
			d.report(t, k, f, now)
		}
	default:
		return
	}
	if t.attempt != nil && t.attempt.ours(k.id, !k.PeerStarted && (outcome == diagnose.Failed || !k.established)) {
		d.changing(t.name, now, func(t *tunnel) { d.endAttempt(t, true) })
	}
}

// ended takes the reason for which an established IKE_SA or its CHILD_SA ended. It is a failure only if the tunnel goes down with it:
// after a rekeying the peer closes what was replaced.
func (d *Driver) ended(t *tunnel, k *talk, f diagnose.Failure, now time.Time) {
	if !t.down.IsZero() && now.Sub(t.down) < causeWindow {
		t.down = time.Time{}
		d.report(t, k, f, now)
		return
	}
	t.cause = Failure{Reason: f.Reason, Message: f.Message, Time: now}
	if t.attempt != nil && !t.sas.up() && !k.Failed {
		d.report(t, k, f, now)
	}
}

// report counts a failure and tells watchers. Of several statements about one failure of an IKE_SA the first one counts, and the
// longest explanation for the same reason stays.
func (d *Driver) report(t *tunnel, k *talk, f diagnose.Failure, now time.Time) {
	if k != nil {
		if now.Sub(k.reported) < reportWindow {
			if k.reason == f.Reason && t.last.Reason == f.Reason && len(f.Message) > len(t.last.Message) {
				t.last.Message = f.Message
			}
			return
		}
		k.reported, k.reason = now, f.Reason
	}
	t.failures[f.Reason]++
	t.last = Failure{Reason: f.Reason, Message: f.Message, Time: now}
	d.watchers.emit(Event{Kind: FailureSeen, Tunnel: t.name, Time: now, Reason: f.Reason, Message: f.Message})
}
