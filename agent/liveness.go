package agent

import (
	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
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
		case l.Probe.State != probe.StateFailing:
			w.drivers.Charon.Trust(name)
		}
	}
}
