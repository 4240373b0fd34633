package plan

import (
	"math"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

// While a tunnel is drained it is the last resort for what leaves, and neighbors hear first of a longer way and then of none; what
// arrives is forwarded until the end.

// maxPrepend is the longest that one path segment can be (RFC 4271 §4.3).
const maxPrepend = 255

// worsePrepend makes a way longer than any other that is meant to be used: customers' own prepending seldom exceeds three or four.
const worsePrepend = 8

// draining says that traffic is being moved away from the tunnel, which is still up.
func (t *Tunnel) draining() bool {
	return t.AdminUp && t.Local.GetState() == apiv1.LocalDraining
}

// withdrawn says that neighbors are told of no way over the tunnel.
func (t *Tunnel) withdrawn() bool {
	return t.draining() && t.Local.GetStage() != apiv1.DrainAnnouncedWorse
}

// leaving says that all that the gateway still carries here is carried by tunnels that are being drained.
func (g *Gateway) leaving(run Running) bool {
	leaving := false
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		switch {
		case !t.AdminUp || !run.Carries(t.Name):
		case !t.draining():
			return false
		default:
			leaving = true
		}
	}
	return leaving
}

// worsen makes what a neighbor is told the way of last resort: the longer AS_PATH between AS, the highest MED where paths of equal
// length come from one AS.
func worsen(n *bgp.Neighbor) {
	n.Prepend = min(n.Prepend+worsePrepend, maxPrepend)
	worst := uint32(math.MaxUint32)
	n.MED = &worst
}
