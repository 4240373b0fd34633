// Package agent turns snapshots of desired state into what one host's kernel, charon and BGP peers do, and tells what is true of them.
//
// One worker per BorderGateway reconciles it in rounds. A round reads what the drivers have in memory, plans, and gives every driver
// its whole desired set; drivers write only what differs. Snapshots, events and a slow timer start rounds. Stopping the agent changes
// nothing: tunnels, routes and packets go on.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bordergw/bordergw/agent/events"
	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/firewall"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
	"github.com/bordergw/bordergw/dataplane/route"
)

// Source brings the desired state: complete, admitted Sets, one after the other. *source.File is one.
type Source interface {
	// Run calls emit with every Set until ctx ends; emit does not change the Set.
	Run(ctx context.Context, emit func(*apiv1.Set)) error
	// Status tells about the newest reading and the one in force; the message is the caller's own.
	Status() *apiv1.SourceStatus
}

// Firewall is the part of *firewall.Driver that the agent uses. Unlike others it has no kernel that can be exchanged.
type Firewall interface {
	Apply(ctx context.Context, want firewall.Gateway) error
	Remove(ctx context.Context, gateway string) error
	Sweep(ctx context.Context) error
	Wire(ctx context.Context) (map[firewall.Endpoints]firewall.Traffic, error)
	// Forwarded counts, by device, what is forwarded over tunnels that are being drained.
	Forwarded(ctx context.Context) (map[string]firewall.Traffic, error)
	Watch(ctx context.Context, emit func(dataplane.Hint)) error
	Invalidate()
}

// BGP is the part of *gobgp.Driver that the agent uses. Its peers are on the network and cannot be exchanged without it.
type BGP interface {
	Apply(ctx context.Context, s bgp.Speaker) (bgp.Result, error)
	Remove(ctx context.Context, gateway string) error
	Sessions(gateway string) []bgp.Session
	Routes(gateway string) []bgp.Learned
	Refused(gateway string) []bgp.Refused
	Watch(ctx context.Context, emit func(bgp.Event))
	Run(ctx context.Context) error
}

// Drivers are the hands of the agent.
type Drivers struct {
	Charon   *charon.Driver
	Link     *link.Driver
	Route    *route.Driver
	Firewall Firewall
	Probe    *probe.Driver
	BGP      BGP
	BFD      *bfd.Driver
}

// Options of an Agent; all fields but the last two are needed.
type Options struct {
	Version string
	Host    plan.Host
	// MaxBGPRoutes is the quota of learned routes per BorderGateway; 0 means none.
	MaxBGPRoutes int
	Source       Source
	Drivers      Drivers
	// State is the folder for what must outlive the agent.
	State string
	// Parse, when set, reads a desired state for Plan as the source would, without taking it.
	Parse func([]manifest.File) (*apiv1.Set, []*apiv1.Finding, *manifest.Positions)
	Log   *slog.Logger
	// XfrmStat, when set, reads what the kernel counts of IPsec packets that it dropped.
	XfrmStat func() (map[string]uint64, error)
	// CharonChanged, when set, is called when charon can do something else than before, also the first time; it must not wait.
	CharonChanged func(charon.Capabilities)
}

// Agent serves the BorderGateways of one host.
type Agent struct {
	opts      Options
	host      plan.Host
	drivers   Drivers
	source    Source
	log       *slog.Logger
	ids       plan.IDs
	tracker   *status.Tracker
	publisher *publisher
	carriers  *carriers
	wire      *wire
	xfrm      *xfrm
	orphans   *orphans
	started   time.Time
	ready     atomic.Bool
	snapshots chan *apiv1.Set
	// charonSeen is closed when charon's SAs have been listed for the first time.
	charonSeen chan struct{}
	seenOnce   sync.Once
	// can is what charon could do when it was last looked at. It belongs to the goroutine of charon's events.
	can  charon.Capabilities
	ring *events.Ring
	// local holds what operators changed on this host; localChanged says that plans have to follow.
	local        *local.Keeper
	localChanged chan struct{}
	// inForce is the snapshot in force, for those that only look.
	inForce atomic.Pointer[apiv1.Set]

	mu      sync.Mutex
	workers map[string]*worker
	// gatewayOf finds the worker of a tunnel.
	gatewayOf map[string]string

	// What follows belongs to the goroutine of serve, before and between snapshots.
	leftovers leftovers
	// set is the snapshot in force.
	set   *apiv1.Set
	stale map[string][]bgp.Learned
	// forwarding has the gateways that an earlier agent left routes of, until they have a worker.
	forwarding map[string]bool
}

// New returns an agent; nothing happens until Run.
func New(opts Options) *Agent {
	a := &Agent{
		opts: opts, host: opts.Host, drivers: opts.Drivers, source: opts.Source, log: opts.Log, ids: plan.NewIDs(),
		tracker: status.NewTracker(opts.Host.Name, time.Now), started: time.Now(), snapshots: make(chan *apiv1.Set, 1),
		charonSeen: make(chan struct{}), localChanged: make(chan struct{}, 1), workers: map[string]*worker{}, forwarding: map[string]bool{}, gatewayOf: map[string]string{},
	}
	a.orphans = &orphans{list: opts.Drivers.Link.IPsec, remove: opts.Drivers.Link.RemoveIPsec, known: opts.Drivers.Charon.Known,
		misled: opts.Drivers.Charon.Rewrite, ours: plan.OwnIfID, now: time.Now, log: opts.Log}
	a.xfrm = &xfrm{tunnels: opts.Drivers.Link.SAErrors, host: opts.XfrmStat, log: opts.Log}
	a.ring = events.New(a.host.Name, events.Length)
	a.local = a.newKeeper()
	a.host.Local = a.local.Of
	a.publisher = newPublisher(a.hostView, a.ring.Publish)
	a.carriers = &carriers{list: opts.Drivers.Link.Carrying, now: time.Now, log: opts.Log}
	a.wire = &wire{read: opts.Drivers.Firewall.Wire, log: opts.Log}
	return a
}

// View returns the newest published view; never nil.
func (a *Agent) View() *status.View { return a.publisher.view.Load() }

// Published returns the newest published view, never nil, and a channel that is closed when there is a newer one.
func (a *Agent) Published() (*status.View, <-chan struct{}) { return a.publisher.published() }

// Ready says whether everything wanted has been applied once since the start.
func (a *Agent) Ready() bool { return a.ready.Load() }

// Run works until ctx ends, then returns nil with everything left as it is. It returns early only when a part cannot work at all.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	task := func(name string, run func(context.Context) error) {
		group.Go(func() error {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	watch := func(run func(context.Context)) {
		group.Go(func() error { run(ctx); return nil })
	}
	watch(func(ctx context.Context) { a.drivers.Charon.Watch(ctx, a.onCharon) })
	watch(func(ctx context.Context) { a.drivers.Probe.Watch(ctx, a.onProbe) })
	watch(func(ctx context.Context) { a.drivers.BGP.Watch(ctx, a.onBGP) })
	watch(func(ctx context.Context) { a.drivers.BFD.Watch(ctx, a.onBFD) })
	task("link events", func(ctx context.Context) error { return a.drivers.Link.Watch(ctx, a.onHint) })
	task("route events", func(ctx context.Context) error { return a.drivers.Route.Watch(ctx, a.onHint) })
	task("firewall events", func(ctx context.Context) error { return a.drivers.Firewall.Watch(ctx, a.onHint) })
	watch(a.publisher.run)
	task("charon", a.drivers.Charon.Run)
	task("probe", a.drivers.Probe.Run)
	task("bgp", a.drivers.BGP.Run)
	task("bfd", a.drivers.BFD.Run)
	task("source", func(ctx context.Context) error { return a.source.Run(ctx, a.offer) })
	task("local changes", a.local.Run)
	task("agent", func(ctx context.Context) error { return a.serve(ctx, group) })
	return group.Wait()
}

// offer takes a snapshot from the source; an older one that nobody has looked at yet is dropped.
func (a *Agent) offer(set *apiv1.Set) {
	for {
		select {
		case a.snapshots <- set:
			return
		default:
		}
		select {
		case <-a.snapshots:
		default:
		}
	}
}

// serve is the life of the agent: start of day, then snapshots and the slow timer.
func (a *Agent) serve(ctx context.Context, group *errgroup.Group) error {
	if !a.startOfDay(ctx, group) {
		return nil
	}
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	doubt := time.NewTicker(doubtInterval)
	defer doubt.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case set := <-a.snapshots:
			a.apply(ctx, group, set)
		case <-a.localChanged:
			a.apply(ctx, group, a.set)
		case <-ticker.C:
			a.refresh(ctx)
		case <-doubt.C:
			a.drivers.Link.Invalidate("")
			a.drivers.Route.Invalidate("")
			a.drivers.Firewall.Invalidate()
			a.pokeAll()
		}
	}
}

const (
	// refreshInterval is how often counters are read.
	refreshInterval = 10 * time.Second
	// doubtInterval is how often the kernel is listed although no event asks for it: some changes have none.
	doubtInterval = 5 * time.Minute
)

func (a *Agent) refresh(ctx context.Context) {
	if err := a.drivers.Charon.Refresh(ctx); err != nil && ctx.Err() == nil {
		a.log.Debug("SAs not listed", "error", err)
	}
	a.wire.refresh(ctx)
	a.xfrm.refresh(ctx, a.ifIDs())
	a.orphans.look(ctx)
	a.sweep(ctx)
	a.pokeAll()
}

// apply hands the snapshot to the workers, starts those that are new and lets go of those that are not served any more.
func (a *Agent) apply(ctx context.Context, group *errgroup.Group, set *apiv1.Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	served := map[string]bool{}
	a.gatewayOf = map[string]string{}
	warnings := tunnelWarnings(a.source.Status())
	a.set = set
	a.inForce.Store(set)
	a.local.Keep(ownTunnels(set, a.host))
	tunnels := set.ByConnection()
	for _, name := range plan.Serves(set, a.host) {
		g, err := plan.Build(set, a.host, a.ids, name, a.opts.MaxBGPRoutes)
		if err != nil {
			// Admission lets no such set pass; should it happen, the gateway stays as it was.
			a.log.Error("gateway cannot be planned", "gateway", name, "error", err)
			served[name] = true
			continue
		}
		served[name] = true
		for i := range g.Tunnels {
			a.gatewayOf[g.Tunnels[i].Name] = name
		}
		w, ok := a.workers[name]
		if !ok {
			w = a.newWorker(name)
			a.workers[name] = w
		}
		// Before it runs: a worker that nobody has told anything takes the gateway for one that is no longer served.
		w.set(desired{plan: g, set: set, connections: set.ConnectionsOf(name), tunnels: tunnels, warnings: warnings})
		if !ok {
			group.Go(func() error { a.work(ctx, w); return nil })
		}
	}
	for name, w := range a.workers {
		if !served[name] {
			w.set(desired{})
		}
	}
	a.tracker.Keep(func(tunnel string) bool { _, ok := a.gatewayOf[tunnel]; return ok },
		func(connection string) bool { _, ok := set.Connections[connection]; return ok })
	a.publisher.poke()
}

// work runs a worker until it has nothing left to do. A gateway that was wanted again meanwhile goes on with the same worker.
func (a *Agent) work(ctx context.Context, w *worker) {
	for {
		w.run(ctx)
		a.mu.Lock()
		if ctx.Err() != nil || w.wanted().plan == nil {
			delete(a.workers, w.name)
			if ctx.Err() == nil {
				// Still under the lock: a new worker of that name must not lose its fragment.
				a.publisher.drop(w.name)
			}
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
	}
}
