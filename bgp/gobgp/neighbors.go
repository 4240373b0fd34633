package gobgp

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/internal/secret"
)

// downTimeout bounds the wait for a session to end, which takes as long as writing the notification: a second at most.
const downTimeout = 2 * time.Second

func (g *gateway) add(ctx context.Context, n bgp.Neighbor) error {
	restarting := g.want.Forwarding && !g.seen[n.Name] && time.Since(g.d.started) < restartWindow
	p, err := peer(g.have, n, restarting)
	if err != nil {
		return err
	}
	if restarting && n.RestartTime > 0 {
		g.wait(n, p)
	}
	g.view.want(g.have.ASN, n)
	if err := g.server.AddPeer(ctx, &api.AddPeerRequest{Peer: p}); err != nil {
		return fmt.Errorf("add peer %v: %w", n.Address, err)
	}
	g.seen[n.Name] = true
	g.have.Neighbors = append(g.have.Neighbors, n)
	g.d.emit(bgp.SessionChanged{Gateway: g.name, Neighbor: n.Name})
	return nil
}

// listenFirst is how long a neighbor that knows us from before our restart is left to connect by itself.
const listenFirst = 10 * time.Second

// wait has p only listen for a while. The neighbor, which has lost the connection, connects as we do, and of two connections GoBGP keeps
// the wrong one and leaves the other open: the neighbor ends the first with a NOTIFICATION, which also ends its patience with our
// routes, and takes no other before its hold time is over on the second.
func (g *gateway) wait(n bgp.Neighbor, p *api.Peer) {
	if g.dials[n.Name] {
		return
	}
	g.dials[n.Name] = true
	p.Transport.PassiveMode = true
	time.AfterFunc(listenFirst, func() { g.d.tasks.add(task{gateway: g.name, neighbor: n.Name, why: dial}) })
}

// remove ends sessions. A peer is disabled and its session over before it is deleted: GoBGP would else take in an UPDATE that is just
// being read after it has dropped the peer's routes, and that route would stay for ever.
func (g *gateway) remove(ctx context.Context, neighbors []bgp.Neighbor) error {
	for _, n := range neighbors {
		if err := g.server.DisablePeer(ctx, &api.DisablePeerRequest{Address: n.Address.String()}); err != nil {
			return fmt.Errorf("disable peer %v: %w", n.Address, err)
		}
	}
	deadline, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	for _, n := range neighbors {
		g.waitDown(deadline, n)
	}
	for _, n := range neighbors {
		if err := g.delete(ctx, n); err != nil {
			return err
		}
	}
	if len(neighbors) > 0 {
		g.d.emit(bgp.RoutesChanged{Gateway: g.name})
	}
	return nil
}

func (g *gateway) waitDown(ctx context.Context, n bgp.Neighbor) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		down := false
		err := g.server.ListPeer(ctx, &api.ListPeerRequest{Address: n.Address.String()}, func(p *api.Peer) {
			down = p.GetState().GetAdminState() != api.PeerState_ADMIN_STATE_UP &&
				p.GetState().GetSessionState() != api.PeerState_SESSION_STATE_ESTABLISHED
		})
		if down || err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (g *gateway) delete(ctx context.Context, n bgp.Neighbor) error {
	if n.Password.IsSet() {
		// DeletePeer leaves the key on the listeners, where it would shut out a peer without a password for ever. Changing the
		// password to none removes it.
		n.Password = secret.Secret{}
		p, err := peer(g.have, n, false)
		if err != nil {
			return err
		}
		p.Conf.AdminDown = true
		if _, err := g.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: p}); err != nil {
			return fmt.Errorf("remove password of peer %v: %w", n.Address, err)
		}
	}
	if err := g.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.Address.String()}); err != nil {
		return fmt.Errorf("delete peer %v: %w", n.Address, err)
	}
	g.have.Neighbors = slices.DeleteFunc(g.have.Neighbors, func(o bgp.Neighbor) bool { return o.Name == n.Name })
	if h := g.holds[n.Name]; h != nil && g.held(n.Name) {
		g.view.suspend(n.Address, h.message(), h.until)
	} else {
		g.view.unwant(n.Address)
	}
	g.d.emit(bgp.SessionChanged{Gateway: g.name, Neighbor: n.Name})
	return nil
}

// update changes what can be changed without touching the session.
func (g *gateway) update(ctx context.Context, n bgp.Neighbor) error {
	p, err := peer(g.have, n, false)
	if err != nil {
		return err
	}
	if _, err := g.server.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: p}); err != nil {
		return fmt.Errorf("update peer %v: %w", n.Address, err)
	}
	return nil
}

// softOut announces everything to a neighbor again, under the present policy, and takes back what that does not allow.
func (g *gateway) softOut(ctx context.Context, n bgp.Neighbor) error {
	err := g.server.ResetPeer(ctx, &api.ResetPeerRequest{
		Address: n.Address.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT,
	})
	if err != nil {
		return fmt.Errorf("soft reset of peer %v: %w", n.Address, err)
	}
	return nil
}

// refreshCounters asks GoBGP for the prefix counters when these may have changed. It walks the peers' tables, so it is done
// at most once a second, and not while the speaker is being changed.
func (g *gateway) refreshCounters(ctx context.Context) {
	if !g.mu.TryLock() {
		return
	}
	defer g.mu.Unlock()
	if g.server == nil || !g.view.takeStale() {
		return
	}
	for _, n := range g.have.Neighbors {
		_ = g.server.ListPeer(ctx, &api.ListPeerRequest{Address: n.Address.String(), EnableAdvertised: true}, func(p *api.Peer) {
			var received, announced uint64
			for _, f := range p.GetAfiSafis() {
				received += f.GetState().GetReceived()
				announced += f.GetState().GetAdvertised()
			}
			g.view.counts(n.Address, uint32(received), uint32(announced))
		})
	}
}
