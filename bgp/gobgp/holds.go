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
	if g.closed {
		return
	}
	if t.retry {
		h := g.holds[t.neighbor]
		if h == nil || h.until.IsZero() {
			return
		}
		h.until, h.since = time.Time{}, time.Now()
	} else if !g.hold(t.neighbor) {
		return
	}
	errs := map[string]error{}
	if err := g.converge(ctx, errs); err != nil {
		errs[t.neighbor] = err
	}
	for name, err := range errs {
		g.d.opts.Log.Error("bgp: neighbor not as desired", "gateway", g.name, "neighbor", name, "error", err)
	}
}

// hold starts to keep a neighbor away. It returns false when the neighbor is not there anyway.
func (g *gateway) hold(name string) bool {
	i := g.index(name)
	if i < 0 {
		return false
	}
	h := g.holds[name]
	if h == nil || time.Since(h.since) > g.d.opts.RetryMax {
		h = &hold{}
		g.holds[name] = h
	}
	delay := g.d.opts.RetryFirst
	for range h.failures {
		delay = min(2*delay, g.d.opts.RetryMax)
	}
	h.failures++
	h.neighbor, h.until = g.have.Neighbors[i], time.Now().Add(delay)
	h.timer = time.AfterFunc(delay, func() { g.d.tasks.add(task{gateway: g.name, neighbor: name, retry: true}) })
	return true
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
