package gobgp

import (
	"context"
	"fmt"
	"time"

	"github.com/bordergw/bordergw/bgp"
)

// hold keeps a neighbor that has exceeded its prefix limit away for a while. GoBGP would leave it down for ever.
type hold struct {
	neighbor bgp.Neighbor
	failures int
	until    time.Time // zero: on probation, the neighbor is back
	since    time.Time // start of the probation
	timer    *time.Timer
}

func (h *hold) message() string {
	return fmt.Sprintf("more than %d prefixes announced, next attempt at %s",
		h.neighbor.MaxPrefixes, h.until.UTC().Format(time.DateTime+" MST"))
}

// do carries out a task of Run's.
func (g *gateway) do(ctx context.Context, t task) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.server == nil {
		return
	}
	errs := map[string]error{}
	switch h, i := g.holds[t.neighbor], g.index(t.neighbor); {
	case t.why == overLimit && i >= 0:
		g.hold(g.have.Neighbors[i])
	case t.why == retry && h != nil && g.held(t.neighbor):
		h.until, h.since = time.Time{}, time.Now()
	case t.why == hanging && i >= 0:
		errs[t.neighbor] = g.remove(ctx, []bgp.Neighbor{g.have.Neighbors[i]}) // and added again below
	case t.why == dial && i >= 0 && g.view.waiting(g.have.Neighbors[i].Address):
		delete(g.seen, t.neighbor) // it has not heard of our restart yet
		errs[t.neighbor] = g.remove(ctx, []bgp.Neighbor{g.have.Neighbors[i]})
	case t.why == settled && i >= 0:
		// GoBGP announces its table while a session is not yet established for everybody else: a route that appears between these
		// two moments is announced to this neighbor by nobody.
		errs[t.neighbor] = g.softOut(ctx, g.have.Neighbors[i])
	default:
		return
	}
	if err := g.converge(ctx, errs); err != nil {
		errs[t.neighbor] = err
	}
	for name, err := range errs {
		if err != nil {
			g.d.opts.Log.Error("bgp: neighbor not as desired", "gateway", g.name, "neighbor", name, "error", err)
		}
	}
}

// hold starts to keep a neighbor away.
func (g *gateway) hold(n bgp.Neighbor) {
	h := g.holds[n.Name]
	if h == nil || time.Since(h.since) > g.d.opts.RetryMax {
		h = &hold{}
		g.holds[n.Name] = h
	}
	delay := g.d.opts.RetryFirst
	for range h.failures {
		delay = min(2*delay, g.d.opts.RetryMax)
	}
	h.failures++
	h.neighbor, h.until = n, time.Now().Add(delay)
	h.timer = time.AfterFunc(delay, func() { g.d.tasks.add(task{gateway: g.name, neighbor: n.Name, why: retry}) })
}

func (g *gateway) held(name string) bool {
	h := g.holds[name]
	return h != nil && !h.until.IsZero()
}

// forgetHolds lets go of neighbors that are not wanted any more or wanted differently: a new limit deserves a new attempt.
func (g *gateway) forgetHolds() {
	wanted := map[string]bgp.Neighbor{}
	for _, n := range g.want.Neighbors {
		wanted[n.Name] = n
	}
	for name, h := range g.holds {
		n, ok := wanted[name]
		if ok && bgp.SameSession(h.neighbor, n) && h.neighbor.MaxPrefixes == n.MaxPrefixes {
			continue
		}
		h.timer.Stop()
		if g.held(name) {
			g.view.unwant(h.neighbor.Address)
		}
		delete(g.holds, name)
	}
}
