package agent

import (
	"context"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
)

// cut says that BFD takes the tunnel's peer for gone. Then nothing is routed over the tunnel, and its BGP session starts afresh. It ends
// with the BFD session's return, with the peer's AdminDown, or, when the peer has said nothing more over BFD, with the BGP session's
// return: it crosses the tunnel in both directions, so what has ended is the peer's BFD and not the peer.
func cut(l status.Layers) bool {
	if !l.BFD.Dead() {
		return false
	}
	silent := !l.BFD.Heard.After(l.BFD.Since)
	return !silent || l.BGP == nil || l.BGP.State != bgp.Established || !l.BGP.Since.After(l.BFD.Since)
}

// downs counts by tunnel how often BFD has found the peer gone. Unlike the driver's count it goes on when a session is removed and begun
// anew, so that this alone does not restart the BGP session.
type downs map[string]downCount

type downCount struct{ total, seen uint64 }

func (d downs) of(tunnel string, s bfd.State) uint64 {
	c := d[tunnel]
	if s.Downs > c.seen {
		c.total += s.Downs - c.seen
	}
	c.seen = s.Downs
	d[tunnel] = c
	return c.total
}

func (w *worker) watchPeers(ctx context.Context, p plan.Plan, problems *problems) {
	result, err := w.drivers.BFD.Apply(ctx, p.Gateway.Name, p.BFD)
	if err != nil {
		problems.add("BorderGateway/"+p.Gateway.Name, err)
	}
	for tunnel, err := range result.Errors {
		problems.add("VPNTunnel/"+tunnel, err)
	}
}

func (w *worker) removeBFD(ctx context.Context) error {
	_, err := w.drivers.BFD.Apply(ctx, w.name, nil)
	return err
}
