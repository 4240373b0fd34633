package ctl

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// MergeConnections makes one list of what several agents say about connections, sorted by name; each inner list is one agent's answer.
//
// A tunnel's status is the one of the agent that owns it. A tunnel that no answer has a status for gets running DOWN with the reason
// HOST_SILENT. A connection that only one agent knows keeps that agent's verdict and since-time, because the agent computed it from
// the same facts; otherwise the verdict is computed over all tunnels with apiv1.Evaluate. The answers are not changed.
func MergeConnections(answers [][]*apiv1.ConnectionView) []*apiv1.ConnectionView {
	byName := make(map[string][]*apiv1.ConnectionView)
	for _, list := range answers {
		for _, v := range list {
			byName[v.GetConnection().GetName()] = append(byName[v.GetConnection().GetName()], v)
		}
	}
	merged := make([]*apiv1.ConnectionView, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		merged = append(merged, mergeConnection(byName[name]))
	}
	return merged
}

// mergeConnection takes the resources from the first view: agents that read the same desired state agree on them.
func mergeConnection(views []*apiv1.ConnectionView) *apiv1.ConnectionView {
	out := proto.CloneOf(views[0])
	tunnels := make(map[string]*apiv1.VPNTunnel)
	for _, v := range views {
		for _, t := range v.GetTunnels() {
			if known, ok := tunnels[t.GetName()]; !ok || knowsBetter(t.GetStatus(), known.GetStatus()) {
				tunnels[t.GetName()] = t
			}
		}
	}
	out.Tunnels = out.Tunnels[:0]
	for _, name := range slices.Sorted(maps.Keys(tunnels)) {
		t := proto.CloneOf(tunnels[name])
		if t.GetStatus() == nil {
			t.Status = silentStatus(t.GetSpec())
		}
		out.Tunnels = append(out.Tunnels, t)
	}
	if len(views) == 1 && out.GetConnection().GetStatus() != nil {
		return out
	}
	if out.Connection == nil {
		out.Connection = &apiv1.VPNConnection{}
	}
	out.Connection.Status = apiv1.Evaluate(out.GetConnection(), out.GetCustomerGateway(), out.GetTunnels())
	out.Connection.Status.Since = verdictSince(out, views)
	return out
}

// knowsBetter decides between two statuses of one tunnel. Two owners are a mistake of configuration; the one that carries traffic
// is then the one that counts, else the newer one.
func knowsBetter(a, b *apiv1.VPNTunnelStatus) bool {
	switch {
	case a == nil || b == nil:
		return b == nil && a != nil
	case a.GetRunning() != b.GetRunning():
		return a.GetRunning() == apiv1.RunningUp
	}
	return timeOf(a.GetSince()).After(timeOf(b.GetSince()))
}

func silentStatus(spec *apiv1.VPNTunnelSpec) *apiv1.VPNTunnelStatus {
	return &apiv1.VPNTunnelStatus{
		Admin:   cmp.Or(spec.GetAdminState(), apiv1.AdminStateUp),
		Running: apiv1.RunningDown,
		Reason:  apiv1.ReasonHostSilent,
		Message: "no agent that was asked reports on " + spec.GetCloudAddress(),
	}
}

// verdictSince dates a verdict that no single agent has taken.
//
// HIGHLY_AVAILABLE has held at least since every cloud address had the tunnel that is UP the longest. NOT_HIGHLY_AVAILABLE for want
// of an UP tunnel began when the first cloud address lost its last one. Without such a change the layout itself decides, which the
// agents date: the newest of their times counts.
func verdictSince(v *apiv1.ConnectionView, views []*apiv1.ConnectionView) *timestamppb.Timestamp {
	var changes []time.Time
	highlyAvailable := v.GetConnection().GetStatus().GetAvailability() == apiv1.HighlyAvailable
	for _, address := range v.GetConnection().GetSpec().GetCloudAddresses() {
		since, up := addressSince(v.GetTunnels(), address)
		if up == highlyAvailable && !since.IsZero() {
			changes = append(changes, since)
		}
	}
	if len(changes) > 0 && highlyAvailable {
		return timestamppb.New(slices.MaxFunc(changes, time.Time.Compare))
	}
	if len(changes) > 0 {
		return timestamppb.New(slices.MinFunc(changes, time.Time.Compare))
	}
	var newest time.Time
	for _, view := range views {
		if t := timeOf(view.GetConnection().GetStatus().GetSince()); t.After(newest) {
			newest = t
		}
	}
	if newest.IsZero() {
		return nil
	}
	return timestamppb.New(newest)
}

// addressSince tells whether a cloud address has a tunnel UP, and since when it has one or has none; zero if that is not known.
func addressSince(tunnels []*apiv1.VPNTunnel, address string) (since time.Time, up bool) {
	var oldestUp, newestDown time.Time
	for _, t := range tunnels {
		at := timeOf(t.GetStatus().GetSince())
		switch {
		case t.GetSpec().GetCloudAddress() != address:
		case t.GetStatus().GetRunning() == apiv1.RunningUp:
			if !up || at.Before(oldestUp) {
				oldestUp = at
			}
			up = true
		case at.After(newestDown):
			newestDown = at
		}
	}
	if up {
		return oldestUp, true
	}
	return newestDown, false
}

// timeOf is the zero time for a timestamp that is not set.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
