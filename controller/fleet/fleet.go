// Package fleet reads from the store what hosts have told, and knows under which names it is kept. It is pure.
//
// A host's presence is a record under a lease: it vanishes when nobody has heard of the host for that long, and all of its tunnels count
// as DOWN with the reason HOST_SILENT from then on, whatever they reported last. It comes back together with a complete report.
package fleet

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// Kinds of the records.
const (
	// KindHost: what a host told about itself.
	KindHost = "host"
	// KindPresence is there while the host is not silent; under a lease.
	KindPresence = "host-presence"
	// KindSilence: since when a host is silent.
	KindSilence = "host-silence"
	// KindApplied: the host's answer to its last snapshot.
	KindApplied = "host-applied"
	// KindTunnelStatus: what a host told last of a tunnel.
	KindTunnelStatus = "tunnel-status"
	// KindAvailability: a connection's verdict and history.
	KindAvailability = "availability"
	// KindCall: what an operator asks of an agent, for the moment; under a lease.
	KindCall = "host-call"
	// KindReply: what the agent said about it, under the same lease.
	KindReply = "host-reply"
)

// Host is where a host's record is.
func Host(name string) store.Ref { return store.Ref{Kind: KindHost, Name: name} }

// Presence is where a host's presence is.
func Presence(host string) store.Ref { return store.Ref{Kind: KindPresence, Name: host} }

// Silence is where a host's silence is.
func Silence(host string) store.Ref { return store.Ref{Kind: KindSilence, Name: host} }

// Applied is where a host's last answer is.
func Applied(host string) store.Ref { return store.Ref{Kind: KindApplied, Name: host} }

// TunnelStatusRef is where a tunnel's last report is.
func TunnelStatusRef(tunnel string) store.Ref { return store.Ref{Kind: KindTunnelStatus, Name: tunnel} }

// Availability is where a connection's verdict is.
func Availability(connection string) store.Ref {
	return store.Ref{Kind: KindAvailability, Name: connection}
}

// Call is where a call is.
func Call(id string) store.Ref { return store.Ref{Kind: KindCall, Name: id} }

// Reply is where the nth reply to a call is.
func Reply(call string, n int) store.Ref {
	return store.Ref{Kind: KindReply, Name: fmt.Sprintf("%s/%06d", call, n)}
}

// Object returns a resource of the store; nil when there is none of that type. It must not be changed.
func Object[T model.Object](r store.Reader, kind, name string) T {
	o, _ := model.Stored(r.Get(store.Ref{Kind: kind, Name: name})).(T)
	return o
}

// OwnerOf returns the name of the host that has a cloud address; empty when none has.
func OwnerOf(r store.Reader, cloud string) string {
	for _, h := range r.Find(model.HostOf(cloud)) {
		return h.Name
	}
	return ""
}

// TunnelStatus is what is known of a tunnel: what its host reported last or, when the host is silent, that it is.
func TunnelStatus(r store.Reader, t *apiv1.VPNTunnel) *apiv1.VPNTunnelStatus {
	cloud := t.GetSpec().GetCloudAddress()
	host := OwnerOf(r, cloud)
	var last *apiv1.VPNTunnelStatus
	if rec := r.Get(TunnelStatusRef(t.GetName())); rec != nil && rec.Value.GetTunnelStatus().GetHost() == host {
		last = rec.Value.GetTunnelStatus()
	}
	present := host != "" && r.Get(Presence(host)) != nil
	switch {
	case present && last != nil:
		return withRefusals(r, host, t.GetName(), last)
	case present:
		return withRefusals(r, host, t.GetName(), &apiv1.VPNTunnelStatus{
			Admin: t.GetSpec().GetAdminState(), Running: apiv1.RunningDown, Reason: apiv1.ReasonConnecting, Host: host,
			Message: "host " + host + " has not reported on it yet",
		})
	}
	out := &apiv1.VPNTunnelStatus{
		Admin: t.GetSpec().GetAdminState(), Running: apiv1.RunningDown, Reason: apiv1.ReasonHostSilent, Host: host,
		Message: "host " + host + " does not report",
	}
	switch {
	case host == "":
		out.Message = "no host has cloud address " + cloud
	case r.Get(Host(host)) == nil:
		out.Message = "host " + host + " has never reported"
	}
	if rec := r.Get(Silence(host)); rec != nil {
		out.Since = rec.Value.GetSilence().GetSince()
	}
	return out
}

// withRefusals adds what the host's agent could not take over of the tunnel.
func withRefusals(r store.Reader, host, tunnel string, st *apiv1.VPNTunnelStatus) *apiv1.VPNTunnelStatus {
	applied := valueOf(r, Applied(host)).GetApplied()
	var out *apiv1.VPNTunnelStatus
	for _, f := range applied.GetFindings() {
		if f.GetWarning() || f.GetObject() != apiv1.ObjectName(apiv1.KindVPNTunnel, tunnel) {
			continue
		}
		if out == nil {
			out = proto.CloneOf(st)
		}
		out.Conditions = append(out.Conditions, &apiv1.Condition{
			Type: apiv1.ConditionRefusedByHost, Object: f.GetObject(), Message: f.GetField() + ": " + f.GetMessage(), Since: applied.GetTime(),
		})
	}
	if out == nil {
		return st
	}
	return out
}

// ConnectionStatus is the last verdict on a connection; nil before the first.
func ConnectionStatus(r store.Reader, connection string) *apiv1.VPNConnectionStatus {
	return valueOf(r, Availability(connection)).GetAvailability().GetStatus()
}

// HostStatus is what is known of a host, but for the number of its connections and tunnels.
func HostStatus(r store.Reader, host string) *apiv1.GatewayHostStatus {
	out := &apiv1.GatewayHostStatus{State: apiv1.HostUnknown}
	if rec := r.Get(Host(host)); rec != nil {
		c := rec.Value.GetHost().GetCapabilities()
		out.AgentVersion, out.CharonVersion, out.Kernel, out.MlKem = c.GetAgentVersion(), c.GetCharonVersion(), c.GetKernel(), c.GetMlKem()
	}
	if rec := r.Get(Silence(host)); rec != nil {
		out.State, out.Since = apiv1.HostIsSilent, rec.Value.GetSilence().GetSince()
	}
	if rec := r.Get(Presence(host)); rec != nil {
		p := rec.Value.GetPresence()
		out.State, out.Since, out.Controller = apiv1.HostReporting, p.GetSince(), p.GetController()
	}
	applied := valueOf(r, Applied(host)).GetApplied()
	out.Revision = applied.GetRevision()
	for _, f := range applied.GetFindings() {
		if !f.GetWarning() {
			out.Refused = append(out.Refused, fmt.Sprintf("%s: %s: %s", f.GetObject(), f.GetField(), f.GetMessage()))
		}
	}
	return out
}

// valueOf returns what is kept under a name; nil when nothing is.
func valueOf(r store.Reader, ref store.Ref) *apiv1.Stored {
	if rec := r.Get(ref); rec != nil {
		return rec.Value
	}
	return nil
}
