package remote

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// reporter finds out what a controller has not been told yet, in one session.
type reporter struct {
	// told has the statuses that were reported: the message of the view, and what was sent of it.
	told map[string]toldStatus
}

type toldStatus struct{ seen, sent *apiv1.VPNTunnelStatus }

// report returns what is new in a view, or nil. Nothing is said before the agent has applied everything once: until then its tunnels
// are not down, they are not known.
func (r *reporter) report(v *status.View) *apiv1.StatusReport {
	if !v.Host.GetReady() {
		return nil
	}
	out := &apiv1.StatusReport{Complete: r.told == nil}
	if r.told == nil {
		r.told = map[string]toldStatus{}
	}
	there := make(map[string]bool, len(v.Tunnels))
	for _, t := range v.Tunnels {
		there[t.GetName()] = true
		before := r.told[t.GetName()]
		if before.seen == t.GetStatus() {
			continue
		}
		now := lasting(t.GetStatus())
		r.told[t.GetName()] = toldStatus{t.GetStatus(), now}
		if !proto.Equal(before.sent, now) {
			out.Tunnels = append(out.Tunnels, &apiv1.TunnelReport{Name: t.GetName(), Status: now})
		}
	}
	for _, name := range apiv1.Names(r.told) {
		if !there[name] {
			delete(r.told, name)
			out.Removed = append(out.Removed, name)
		}
	}
	if !out.Complete && len(out.Tunnels) == 0 && len(out.Removed) == 0 {
		return nil
	}
	return out
}

// lasting is a status without what changes all the time.
func lasting(st *apiv1.VPNTunnelStatus) *apiv1.VPNTunnelStatus {
	out := proto.CloneOf(st)
	out.Counters = nil
	if b := out.GetBgpSession(); b != nil {
		b.PrefixesReceived, b.PrefixesAccepted, b.PrefixesAnnounced = 0, 0, 0
	}
	return out
}

// counters is what lasting leaves out, of all tunnels; nil when there are none.
func counters(v *status.View) *apiv1.CountersReport {
	if !v.Host.GetReady() || len(v.Tunnels) == 0 {
		return nil
	}
	out := &apiv1.CountersReport{Time: timestamppb.Now()}
	for _, t := range v.Tunnels {
		b := t.GetStatus().GetBgpSession()
		out.Tunnels = append(out.Tunnels, &apiv1.TunnelCounters{
			Name: t.GetName(), Counters: t.GetStatus().GetCounters(),
			PrefixesReceived: b.GetPrefixesReceived(), PrefixesAccepted: b.GetPrefixesAccepted(), PrefixesAnnounced: b.GetPrefixesAnnounced(),
		})
	}
	return out
}
