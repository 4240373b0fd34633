package agent

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// liveness has SAs replaced through which no packets come. The tunnel is out of routing by then: the round has taken its nexthop out of
// all groups before. Both calls are hints; what to do when is charon's driver's.
func (w *worker) liveness(g *plan.Gateway, layers map[string]status.Layers) {
	for i := range g.Tunnels {
		name := g.Tunnels[i].Name
		switch l := layers[name]; {
		case !l.AdminUp || !l.Charon.Connected:
		case l.Charon.Up() && l.Interface.OperUp && l.Probe.State == probe.StateFailing:
			w.drivers.Charon.Renegotiate(name, "the peer's inside address answers no probes")
		case l.Charon.Up() && l.Interface.OperUp && cut(l):
			w.drivers.Charon.Renegotiate(name, "the peer is gone for BFD")
		case l.Probe.State != probe.StateFailing && !cut(l):
			w.drivers.Charon.Trust(name)
		}
	}
}

// rotation is the condition of a tunnel whose peer has not accepted a new key yet. It is no problem of the gateway's.
func rotation(tunnel string, l status.Layers) []*apiv1.Condition {
	if l.Charon.KeyPending.IsZero() {
		return nil
	}
	return []*apiv1.Condition{{Type: apiv1.ConditionKeyRotation, Object: apiv1.KindVPNTunnel + "/" + tunnel, Since: timestamppb.New(l.Charon.KeyPending),
		Message: "the customer has not accepted the new pre-shared key yet; the former one stays good until then, and for a while after"}}
}
