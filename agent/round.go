package agent

import (
	"context"
	"errors"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/link"
)

// round makes the gateway what d says, as far as that is possible now, and returns when to look again. Its order keeps traffic going:
// what is dead is taken out of the nexthop groups first, what carries is made before what uses it, routes and sessions leave a tunnel
// before its SAs do.
func (w *worker) round(ctx context.Context, d desired) time.Duration {
	start := w.now()
	g := d.plan
	var problems problems

	loaded := w.preload(ctx, g)
	run, layers := w.running(g)
	w.dropDead(ctx, g, run, &problems)
	changed := w.applyLinks(ctx, g, run, &problems)
	if w.stats.Rounds == 0 || changed {
		<-loaded
		run, layers = w.running(g)
	}
	p, err := w.plan(g, run)
	if err != nil {
		problems.add("BorderGateway/"+g.Name, err)
	} else {
		w.applyPlan(ctx, p, run, &problems)
	}
	if ctx.Err() != nil {
		return idleRound
	}
	if p.Routing.OverQuota > 0 {
		problems.note(apiv1.ConditionNotProgrammed, "BorderGateway/"+g.Name, "%d learned routes are over the quota of %d and left out",
			p.Routing.OverQuota, g.MaxBGPRoutes)
	}

	w.stats.Rounds++
	w.stats.LastSeconds = w.now().Sub(start).Seconds()
	next := idleRound
	if problems.retry {
		w.stats.Errors++
		next = w.retry.Next()
		w.log.Warn("round ended with errors", "errors", problems.errs(), "retry", next)
	} else {
		w.retry.Reset()
	}
	w.liveness(g, layers)
	w.stats.Resyncs = w.resyncs.Load()
	w.done(w.fragment(d, p, layers, problems))
	return w.untilHoldEnds(w.untilStaleEnds(next), layers)
}

// preload has charon take the gateway's tunnels while the first round makes their interfaces, which takes the kernel as long when there
// are many. Nothing leaks meanwhile: the policies of an SA concern only packets of the interface with its if_id. The first Apply removes
// nothing, so that no order of removals is lost; what comes of it is known when the round applies the same again.
func (w *worker) preload(ctx context.Context, g *plan.Gateway) <-chan struct{} {
	done := make(chan struct{})
	if w.stats.Rounds > 0 {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		if _, err := w.drivers.Charon.Apply(ctx, g.Name, g.Charon()); err != nil {
			w.log.Debug("tunnels not loaded yet", "error", err)
		}
	}()
	return done
}

// untilHoldEnds shortens the time to the next round while tunnels count as up only because charon may come back.
func (w *worker) untilHoldEnds(next time.Duration, layers map[string]status.Layers) time.Duration {
	for _, l := range layers {
		if left := status.CharonHold - w.now().Sub(l.Charon.Since); l.KernelCarries && left > 0 {
			next = min(next, left+time.Millisecond)
		}
	}
	return next
}

// dropDead takes the nexthops of tunnels that are no longer up out of all groups: one message each, before anything else is done.
func (w *worker) dropDead(ctx context.Context, g *plan.Gateway, run plan.Running, problems *problems) {
	for i := range g.Tunnels {
		name := g.Tunnels[i].Name
		up := run.Carries(name) && g.Tunnels[i].AdminUp
		if w.up[name] && !up {
			ids, err := g.TunnelNexthops(name)
			for _, id := range ids {
				err = errors.Join(err, w.drivers.Route.DropNexthop(ctx, g.Name, id))
			}
			if err != nil {
				problems.add("VPNTunnel/"+name, err)
			}
		}
		w.up[name] = up
	}
}

// applyLinks makes devices and their firewall, and says whether the devices are others than before.
func (w *worker) applyLinks(ctx context.Context, g *plan.Gateway, run plan.Running, problems *problems) (changed bool) {
	links, err := g.Link(run)
	if err != nil {
		problems.add("BorderGateway/"+g.Name, err)
		return false
	}
	result, err := w.drivers.Link.Apply(ctx, links)
	if err != nil {
		problems.add("BorderGateway/"+g.Name, err)
		return false
	}
	changed = !result.Equal(w.links)
	w.links = result
	for object, err := range result.Errors {
		problems.addConflict(linkObject(g, object), err, errors.Is(err, link.ErrConflict))
	}
	fw, err := g.Firewall(run)
	if err == nil {
		err = w.drivers.Firewall.Apply(ctx, fw)
	}
	if err != nil {
		problems.add("BorderGateway/"+g.Name, err)
	}
	return changed
}

func (w *worker) applyPlan(ctx context.Context, p plan.Plan, run plan.Running, problems *problems) {
	g := p.Gateway
	w.withdraw(ctx, p.Speaker, problems)
	routes, err := w.drivers.Route.Apply(ctx, p.Routing.Desired)
	known := err == nil
	if err != nil {
		problems.add("BorderGateway/"+g.Name, err)
	}
	for _, err := range routes.NexthopErrors {
		problems.add("BorderGateway/"+g.Name, err)
	}
	for _, err := range routes.GroupErrors {
		problems.add("BorderGateway/"+g.Name, err)
	}
	for prefix, err := range routes.RouteErrors {
		problems.add("BorderGateway/"+g.Name+"/"+prefix.String(), err)
	}
	for i := range g.Tunnels {
		name := g.Tunnels[i].Name
		w.up[name] = run.Carries(name) && g.Tunnels[i].AdminUp
	}

	w.speak(ctx, p.Speaker, p.Routing.Desired, routes, known, problems)

	loaded, err := w.drivers.Charon.Apply(ctx, g.Name, p.Charon)
	switch {
	case errors.Is(err, charon.ErrUnavailable):
		// The driver keeps the set and loads it when charon is back, which also starts a round.
		problems.note(apiv1.ConditionNotProgrammed, "BorderGateway/"+g.Name, "%v", err)
	case err != nil:
		problems.add("BorderGateway/"+g.Name, err)
	}
	for tunnel, err := range loaded.Errors {
		problems.add("VPNTunnel/"+tunnel, err)
	}
	probes, err := w.drivers.Probe.Apply(ctx, g.Name, p.Probes)
	if err != nil {
		problems.add("BorderGateway/"+g.Name, err)
	}
	for tunnel, err := range probes.Errors {
		problems.add("VPNTunnel/"+tunnel, err)
	}
	w.watchPeers(ctx, p, problems)
}

// remove takes everything of the gateway away, routes first, and says whether all of it is gone.
func (w *worker) remove(ctx context.Context) bool {
	w.spoken = bgp.Speaker{}
	err := errors.Join(
		w.drivers.BGP.Remove(ctx, w.name),
		w.drivers.Route.Remove(ctx, w.name),
		w.removeCharon(ctx),
		w.drivers.Firewall.Remove(ctx, w.name),
		w.drivers.Link.Remove(ctx, w.name),
		w.removeProbes(ctx),
		w.removeBFD(ctx),
	)
	if err != nil {
		w.stats.Errors++
		w.log.Warn("removal ended with errors", "error", err)
		return false
	}
	w.log.Info("removed")
	return true
}

func (w *worker) removeCharon(ctx context.Context) error {
	result, err := w.drivers.Charon.Apply(ctx, w.name, nil)
	for _, e := range result.Errors {
		err = errors.Join(err, e)
	}
	return err
}

func (w *worker) removeProbes(ctx context.Context) error {
	_, err := w.drivers.Probe.Apply(ctx, w.name, nil)
	return err
}
