package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/internal/backoff"
)

// charonPatience is how long after the start the agent waits for charon's list of SAs. Rounds that begin without it would take tunnels that
// carry traffic for dead.
const charonPatience = 10 * time.Second

// leftovers says which drivers have not yet removed what an earlier agent left and nobody wants.
type leftovers struct{ kernel, charon bool }

// startOfDay reads what exists, waits for the first snapshot and for charon, applies, and sweeps last. Until the first snapshot
// nothing is written. It says false when ctx ended meanwhile.
func (a *Agent) startOfDay(ctx context.Context, group *errgroup.Group) bool {
	var set *apiv1.Set
	select {
	case <-ctx.Done():
		return false
	case set = <-a.snapshots:
	}
	patience := time.NewTimer(time.Until(a.started.Add(charonPatience)))
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-a.charonSeen:
	case <-patience.C:
		a.log.Warn("charon does not answer; links and routes are made without it")
	}
	// What was Up is adopted under its own numbers, so this comes before any plan is made.
	stale, err := a.adopt(ctx)
	for err != nil {
		a.log.Error("what exists cannot be read", "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
		stale, err = a.adopt(ctx)
	}
	for _, p := range a.drivers.Link.EnsureSysctls(ctx) {
		a.log.Warn("sysctl is not as needed", "key", p.Key, "have", p.Have, "want", p.Want, "error", p.Err)
	}
	a.stale = stale
	a.apply(ctx, group, set)
	// What gateways left that are not in this snapshot is swept; it must not come back with them one day.
	a.stale = nil
	if !a.firstRounds(ctx) {
		return false
	}
	a.wire.refresh(ctx)
	a.xfrm.refresh(ctx, a.ifIDs())
	a.leftovers = leftovers{kernel: true, charon: true}
	a.sweep(ctx)
	a.ready.Store(true)
	a.publisher.poke()
	a.log.Info("ready", "after", time.Since(a.started).Round(time.Millisecond))
	return true
}

// firstRounds waits until every gateway has been tried once.
func (a *Agent) firstRounds(ctx context.Context) bool {
	a.mu.Lock()
	workers := make([]*worker, 0, len(a.workers))
	for _, w := range a.workers {
		workers = append(workers, w)
	}
	a.mu.Unlock()
	for _, w := range workers {
		select {
		case <-ctx.Done():
			return false
		case <-w.first:
		}
	}
	return true
}

// adopt tells the number pools what is programmed already, and returns for each gateway the routes in its table that an earlier
// agent had learned.
func (a *Agent) adopt(ctx context.Context) (map[string][]bgp.Learned, error) {
	vrfs, interfaces, err := a.drivers.Link.Existing(ctx)
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	tunnelOf := map[string]string{}
	for _, i := range interfaces {
		tunnelOf[i.Name] = i.Tunnel
		if !a.ids.IfID.Adopt(i.Tunnel, i.IfID) {
			a.log.Warn("interface id cannot be kept", "interface", i.Name, "tunnel", i.Tunnel, "if_id", i.IfID)
		}
	}
	stale := map[string][]bgp.Learned{}
	for _, v := range vrfs {
		if !a.ids.Table.Adopt(v.Gateway, v.Table) {
			a.log.Warn("routing table cannot be kept", "vrf", v.Name, "gateway", v.Gateway, "table", v.Table)
		}
		routes, err := a.drivers.Route.Existing(ctx, v.Table)
		if err != nil {
			return nil, fmt.Errorf("routes of %s: %w", v.Name, err)
		}
		a.forwarding[v.Gateway] = len(routes) > 0
		for _, r := range routes {
			if l, ok := leftBehind(r.Prefix, r.Interfaces, tunnelOf); ok {
				stale[v.Gateway] = append(stale[v.Gateway], l)
			}
		}
	}
	return stale, nil
}

// leftBehind is a route found in the kernel, seen as if its tunnels' peers had announced it. Routes that the snapshot asks for hide
// it, so it does no harm that static ones are among them.
func leftBehind(prefix netip.Prefix, interfaces []string, tunnelOf map[string]string) (bgp.Learned, bool) {
	l := bgp.Learned{Prefix: prefix}
	for _, name := range interfaces {
		if tunnel, ok := tunnelOf[name]; ok {
			l.Paths = append(l.Paths, bgp.Path{Neighbor: plan.TunnelNeighbor(tunnel), Kind: bgp.Customer})
		}
	}
	slices.SortFunc(l.Paths, func(x, y bgp.Path) int { return strings.Compare(x.Neighbor, y.Neighbor) })
	return l, len(l.Paths) > 0
}

// sweep removes what carries our mark and nobody wants, as far as that has not succeeded yet.
func (a *Agent) sweep(ctx context.Context) {
	if a.leftovers.kernel {
		failed := false
		for name, sweep := range map[string]func(context.Context) error{
			"routes": a.drivers.Route.Sweep, "firewall": a.drivers.Firewall.Sweep, "links": a.drivers.Link.Sweep,
		} {
			if err := sweep(ctx); err != nil {
				failed = true
				a.log.Warn("sweep ended with errors", "of", name, "error", err)
			}
		}
		a.leftovers.kernel = failed
	}
	if a.leftovers.charon && a.drivers.Charon.Connected() {
		if err := a.drivers.Charon.Sweep(ctx); err != nil {
			a.log.Warn("sweep ended with errors", "of", "charon", "error", err)
			return
		}
		a.leftovers.charon = false
	}
}

func (a *Agent) newWorker(name string) *worker {
	w := &worker{
		name: name, host: a.host.Name, owns: a.host.Owns, drivers: a.drivers, tracker: a.tracker, now: time.Now,
		log: a.log.With(slog.String("gateway", name)), kick: make(chan struct{}, 1), first: make(chan struct{}),
		done: func(f fragment) { a.publisher.put(name, f) }, carriers: a.carriers, wire: a.wire, xfrm: a.xfrm, gone: func() { a.publisher.drop(name) },
		forwarding: a.forwarding[name], up: map[string]bool{}, downs: downs{}, children: map[string]bool{}, suites: map[string]plan.TunnelRunning{},
		retry: backoff.Backoff{Min: time.Second, Max: 30 * time.Second}, stale: a.stale[name], staleEnd: time.Now().Add(staleTime),
	}
	w.stats.Gateway = name
	delete(a.stale, name)
	delete(a.forwarding, name)
	// What an earlier agent had in its groups may be there still: the first round must take dead ones out like any other.
	w.links = link.Result{}
	return w
}

func tunnelOf(object string) (string, bool) {
	return strings.CutPrefix(object, apiv1.KindVPNTunnel+"/")
}
