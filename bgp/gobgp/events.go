package gobgp

import (
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/bordergw/bordergw/bgp"
)

// callbacks feed the view with what one server reports. They are called one after the other, in the order in which things happened
// to each prefix and each session, and only touch the view and the queues, so that GoBGP's own queue, which has no limit, stays short.
func (g *gateway) callbacks(epoch int) server.WatchEventMessageCallbacks {
	changed := func(neighbor string) {
		if neighbor != "" {
			g.d.emit(bgp.SessionChanged{Gateway: g.name, Neighbor: neighbor})
		}
	}
	return server.WatchEventMessageCallbacks{
		OnPathUpdate: func(paths []*apiutil.Path, _ time.Time) {
			if g.view.paths(epoch, paths) {
				g.d.emit(bgp.RoutesChanged{Gateway: g.name})
			}
		},
		OnPathEor: func(p *apiutil.Path, _ time.Time) {
			neighbor, dropped := g.view.endOfRIB(epoch, p)
			changed(neighbor)
			if dropped {
				g.d.emit(bgp.RoutesChanged{Gateway: g.name})
			}
		},
		OnPeerUpdate: func(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
			neighbor, tooMany := g.view.peerEvent(epoch, e)
			changed(neighbor)
			if tooMany {
				g.d.tasks.add(task{gateway: g.name, neighbor: neighbor, why: overLimit})
			}
		},
	}
}
