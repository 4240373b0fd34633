package charon

import (
	"fmt"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

const (
	// settleGrace is how long new SAs are there before those that they replace are closed: the peer may have them a moment later, and
	// what is on its way in the old ones shall arrive.
	settleGrace = 2 * time.Second
	// refreshWait bounds how long a rekeying may take that has to be over before duplicates are closed.
	refreshWait = 10 * time.Second
)

// refresh is a rekeying of the CHILD_SA that stays when duplicates are closed.
type refresh struct {
	asked time.Time
	child uint32
	// suspect: charon's policies may not lead to the SA that charon believes they do, see suspicious.
	suspect bool
}

// suspicious is what charon logs when it finds a policy in the kernel that it was about to make. When two IKE_SAs of a tunnel set up their
// CHILD_SAs at the same time, the second one may reach the kernel first. The kernel's policy then leads to the first one's SPI while charon
// takes it for the second one's, and when the first one is closed charon leaves the policy as it is: packets get lost
// (kernel_netlink_ipsec.c: add_policy puts a new entry into its table without marking it as being worked on; 5.9.8 to 6.0.6 at least).
// A CHILD_SA installed later, by a rekeying, puts that right. The line also appears when charon was killed and finds its former policies.
const suspicious = "policy already exists, try to update it"

// leftovers are arguments of terminate for all that a failed attempt may have left in charon.
func (t *tunnel) leftovers() []*vici.Message {
	if t.attempt == nil || t.attempt.ike == 0 {
		if !t.sas.up() {
			return []*vici.Message{terminate("ike", Prefix+t.name)}
		}
	}
	var out []*vici.Message
	if t.attempt != nil && t.attempt.ike != 0 {
		out = append(out, terminate("ike-id", fmt.Sprint(t.attempt.ike)))
	}
	for _, sa := range t.sas.childless() {
		if t.attempt == nil || sa.id != t.attempt.ike {
			out = append(out, terminate("ike-id", fmt.Sprint(sa.id)))
		}
	}
	return out
}

// closeChildless closes IKE_SAs whose CHILD_SA failed: charon would use them for the next attempt, and what the peer refused once on an
// IKE_SA it refuses again.
func (d *Driver) closeChildless(t *tunnel, now time.Time, waiting bool) *action {
	do := &action{tunnel: t.name}
	for _, sa := range t.sas.childless() {
		grace := peerGrace
		if sa.initiator {
			grace = childlessGrace
		}
		if until := sa.since.Add(grace); now.Before(until) && (waiting || !sa.initiator) {
			d.plan.at(t, until)
			continue
		}
		if !t.sas.up() {
			t.terminated = now
		}
		do.terminate = append(do.terminate, terminate("ike-id", fmt.Sprint(sa.id)))
	}
	if len(do.terminate) == 0 {
		return nil
	}
	return do
}

// prune closes CHILD_SAs that were replaced, and with them IKE_SAs that carry no others. The first time it leaves the peer time to answer,
// so that neither end closes while the other still sends.
func (d *Driver) prune(t *tunnel, fresh, stale []*childSA, now time.Time) *action {
	due := t.pruned.Add(pruneInterval)
	if until := oldest(fresh).Add(settleGrace); len(fresh) > 0 && until.After(due) {
		due = until
	}
	if now.Before(due) {
		d.plan.at(t, due)
		return nil
	}
	closing := terminate
	if len(fresh) > 0 && now.Sub(t.pruned) > 2*pruneInterval {
		closing = gently
	}
	t.pruned = now
	if len(fresh) == 0 {
		t.terminated = now
	}
	d.plan.at(t, now.Add(pruneInterval))
	keep, done := make(map[uint32]bool), make(map[uint32]bool)
	for _, c := range fresh {
		keep[c.IKEUniqueID] = true
	}
	do := &action{tunnel: t.name}
	for _, c := range stale {
		switch {
		case keep[c.IKEUniqueID]:
			do.terminate = append(do.terminate, closing("child-id", fmt.Sprint(c.UniqueID)))
		case !done[c.IKEUniqueID]:
			done[c.IKEUniqueID] = true
			do.terminate = append(do.terminate, closing("ike-id", fmt.Sprint(c.IKEUniqueID)))
		}
	}
	return do
}

// oldest is since when the first of the CHILD_SAs is there.
func oldest(list []*childSA) (first time.Time) {
	for _, c := range list {
		if first.IsZero() || c.since.Before(first) {
			first = c.since
		}
	}
	return first
}

// deduplicate closes what both ends set up at the same time, if the peer does not. Before that the CHILD_SA that stays is rekeyed: the new one
// is what both kernels send with from then on, so that nothing is on its way in what is closed.
func (d *Driver) deduplicate(t *tunnel, fresh []*childSA, now time.Time) *action {
	extra := t.sas.duplicates(fresh)
	if len(extra) == 0 {
		t.duplicateSince, t.refresh.asked = time.Time{}, time.Time{}
		return nil
	}
	keep := survivor(fresh, extra)
	if t.refresh.suspect && t.want.Version == 2 && t.refresh.asked.IsZero() {
		return d.rekeySurvivor(t, keep, now)
	}
	if !t.want.Initiate {
		return nil
	}
	if t.duplicateSince.IsZero() {
		t.duplicateSince = now
	}
	grace := max(t.duplicateGrace, duplicateGrace)
	patience := grace
	if ike := t.sas.ikes[keep.IKEUniqueID]; ike != nil && !ike.initiator {
		// The other end may go by the same rule; both shall not rekey at the same time.
		patience += grace / 2
	}
	if until := t.duplicateSince.Add(patience); now.Before(until) {
		d.plan.at(t, until)
		return nil
	}
	if t.want.Version == 2 {
		if t.refresh.asked.IsZero() {
			return d.rekeySurvivor(t, keep, now)
		}
		until := t.refresh.asked.Add(refreshWait)
		if keep.UniqueID != t.refresh.child {
			until = keep.since.Add(settleGrace)
		}
		if now.Before(until) {
			d.plan.at(t, until)
			return nil
		}
	}
	t.duplicateSince, t.refresh.asked, t.duplicateGrace = time.Time{}, time.Time{}, min(2*grace, maxDuplicateGrace)
	d.plan.at(t, now.Add(pruneInterval))
	do := &action{tunnel: t.name}
	t.duplicates += uint64(len(extra))
	for _, id := range extra {
		do.terminate = append(do.terminate, gently("ike-id", fmt.Sprint(id)))
	}
	return do
}

func (d *Driver) rekeySurvivor(t *tunnel, keep *childSA, now time.Time) *action {
	t.refresh = refresh{asked: now, child: keep.UniqueID}
	d.plan.at(t, now.Add(refreshWait))
	return &action{tunnel: t.name, rekey: children([]*childSA{keep})}
}

// survivor returns the newest of the CHILD_SAs whose IKE_SA is not among those given.
func survivor(list []*childSA, extra []uint32) (keep *childSA) {
	for _, c := range list {
		dying := false
		for _, id := range extra {
			dying = dying || c.IKEUniqueID == id
		}
		if !dying {
			keep = c
		}
	}
	return keep
}
