package agent

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/internal/backoff"
)

// worker reconciles one BorderGateway: it has its own goroutine and its own back-off, so that a broken tenant holds up no other.
type worker struct {
	name    string
	host    string
	owns    func(netip.Addr) bool
	drivers Drivers
	tracker *status.Tracker
	log     *slog.Logger
	now     func() time.Time
	// done is called after every round with what readers should see.
	done func(fragment)
	// gone is called when the gateway is no longer served although not all of it could be removed yet.
	gone func()
	// carriers knows the kernel's SAs.
	carriers *carriers
	// wire knows the encrypted traffic.
	wire *wire
	// xfrm knows what the kernel dropped.
	xfrm *xfrm
	kick chan struct{}
	// first is closed after the first round.
	first   chan struct{}
	resyncs atomic.Uint64

	mu sync.Mutex
	// want is what the newest snapshot says of the gateway; want.plan is nil when it is no longer served.
	want desired
	// busySince is the start of the round under way, zero between rounds.
	busySince time.Time

	// What follows belongs to the goroutine that runs rounds.
	links    link.Result
	up       map[string]bool
	children map[string]bool
	// suites are what tunnels last negotiated: a tunnel that is down for a moment keeps its MTU.
	suites map[string]plan.TunnelRunning
	// forwarding says that the kernel had routes of the gateway when the agent started.
	forwarding bool
	// downs counts ends of BFD sessions.
	downs downs
	// spoken is what the BGP driver was given last.
	spoken   bgp.Speaker
	stale    []bgp.Learned
	staleEnd time.Time
	stats    status.ReconcileStats
	retry    backoff.Backoff
	// planned is the last plan and what it was made from.
	planned struct {
		plan plan.Plan
		from plan.Running
	}
	// conditions are those of the last round: a problem that stays keeps its since-time.
	conditions []*apiv1.Condition
}

// desired is what the newest snapshot says of one gateway.
type desired struct {
	plan *plan.Gateway
	set  *apiv1.Set
	// connections are the gateway's, tunnels those of every connection of the set.
	connections []*apiv1.VPNConnection
	tunnels     map[string][]*apiv1.VPNTunnel
	// warnings are conditions of tunnels that the manifests themselves cause, by tunnel name.
	warnings map[string][]*apiv1.Condition
}

// poke asks for a round soon. Many pokes during a round make one more round.
func (w *worker) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// set hands over what the newest snapshot says of the gateway.
func (w *worker) set(d desired) {
	w.mu.Lock()
	w.want = d
	w.mu.Unlock()
	w.poke()
}

func (w *worker) wanted() desired {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want
}

// stuckSince returns the start of the round under way, zero when there is none.
func (w *worker) stuckSince() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busySince
}

func (w *worker) busy(since time.Time) {
	w.mu.Lock()
	w.busySince = since
	w.mu.Unlock()
}

// run makes rounds until ctx ends or the gateway is no longer wanted and everything of it is gone. It changes nothing on the way out.
func (w *worker) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		case <-timer.C:
		}
		d := w.wanted()
		w.busy(w.now())
		var next time.Duration
		switch {
		case d.plan != nil:
			next = w.round(ctx, d)
		case !w.remove(ctx):
			w.gone()
			next = w.retry.Next()
		default:
			w.busy(time.Time{})
			w.firstDone()
			return
		}
		w.busy(time.Time{})
		w.firstDone()
		timer.Reset(next)
	}
}

func (w *worker) firstDone() {
	select {
	case <-w.first:
	default:
		close(w.first)
	}
}

// idleRound is how often a gateway is looked at when nothing happened: counters go on, and a hint that was never given is made up for.
const idleRound = 30 * time.Second

// running folds what the drivers have in memory into what plans depend on. It asks no daemon and no kernel.
func (w *worker) running(g *plan.Gateway) (plan.Running, map[string]status.Layers) {
	run := plan.Running{Tunnels: map[string]plan.TunnelRunning{}, Members: map[string]bool{}, Forwarding: w.forwarding}
	sessions := map[string]*bgp.Session{}
	for _, s := range w.drivers.BGP.Sessions(g.Name) {
		sessions[s.Neighbor] = &s
	}
	for name, m := range w.links.Members {
		run.Members[name] = m.Enslaved && m.OperUp
	}
	layers := map[string]status.Layers{}
	now := w.now()
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		l := w.layers(t, sessions)
		layers[t.Name] = l
		if l.Charon.ESPSuite.Encryption != "" {
			w.suites[t.Name] = plan.TunnelRunning{Encryption: l.Charon.ESPSuite.Encryption, Integrity: l.Charon.ESPSuite.Integrity,
				NATT: l.Charon.NATT}
		}
		r := w.suites[t.Name]
		r.Up = w.tracker.Judge(t.Name, l, now).Up
		r.Cut, r.BFDDowns = cut(l), w.downs.of(t.Name, l.BFD)
		run.Tunnels[t.Name] = r
	}
	run.Learned = w.learned(g, sessions)
	// Tunnels that left: one that comes back under the name is another one.
	forget(w.up, layers)
	forget(w.children, layers)
	forget(w.suites, layers)
	return run, layers
}

// plan is the gateway's plan for what is true now; the last one where that has not changed. Nobody may change it.
func (w *worker) plan(g *plan.Gateway, run plan.Running) (plan.Plan, error) {
	if w.planned.plan.Gateway == g && w.planned.from.Equal(run) {
		return w.planned.plan, nil
	}
	p, err := g.For(run)
	if err == nil {
		w.planned.plan, w.planned.from = p, run
	}
	return p, err
}

// forget deletes what concerns none of the tunnels.
func forget[T any](of map[string]T, tunnels map[string]status.Layers) {
	maps.DeleteFunc(of, func(name string, _ T) bool { _, there := tunnels[name]; return !there })
}

func (w *worker) layers(t *plan.Tunnel, sessions map[string]*bgp.Session) status.Layers {
	state := w.drivers.Charon.State(t.Name)
	if state.Up() && !w.children[t.Name] {
		// The peer may be another one, or have started anew: what it answered before says nothing now.
		w.drivers.Probe.Reset(t.Name)
	}
	w.children[t.Name] = state.Up()
	return status.Layers{
		AdminUp: t.AdminUp, Local: t.Local, Initiate: t.Initiate(), Charon: state, KernelCarries: w.kernelCarries(t, state),
		Interface: w.links.Interfaces[t.Name], InterfaceErr: w.links.Errors[link.ObjectTunnel+t.Name],
		Probe: w.drivers.Probe.State(t.Name), BFD: w.drivers.BFD.State(t.Name), BGPWanted: t.BGP, BGP: sessions[plan.TunnelNeighbor(t.Name)],
		Wire: w.wire.of(t), Errors: w.xfrm.of(t.IfID),
	}
}

// kernelCarries asks the kernel whether it has the tunnel's SAs, but only in the moments in which charon cannot tell and it matters.
func (w *worker) kernelCarries(t *plan.Tunnel, state charon.State) bool {
	knows := state.Connected && state.Up()
	if knows || !w.tracker.Past(t.Name).Up || w.now().Sub(state.Since) > status.CharonHold {
		return false
	}
	return w.carriers.has(t.IfID)
}
