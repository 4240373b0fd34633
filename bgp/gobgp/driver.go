package gobgp

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bordergw/bordergw/bgp"
)

// Options of a Driver.
type Options struct {
	// Log receives what GoBGP logs, one level lower. Required.
	Log *slog.Logger
	// RetryFirst and RetryMax bound the back-off after a prefix limit, which doubles each time; zero means a minute and 15 minutes.
	RetryFirst, RetryMax time.Duration
}

// restartWindow is how long after New a neighbor that appears is taken for one of the process before.
const restartWindow = 2 * time.Minute

// errClosed is returned once Close was called.
var errClosed = errors.New("bgp: driver is closed")

// Driver runs the speakers of all gateways. Its methods may be called from any goroutine; calls for one gateway wait for each other.
type Driver struct {
	opts    Options
	started time.Time
	servers *servers
	tasks   *tasks

	mu       sync.Mutex
	gateways map[string]*gateway
	watchers map[*queue]struct{}
	closed   bool
}

// New returns a driver without speakers. Nothing happens before Apply.
func New(opts Options) *Driver {
	if opts.RetryFirst == 0 {
		opts.RetryFirst = time.Minute
	}
	if opts.RetryMax == 0 {
		opts.RetryMax = 15 * time.Minute
	}
	return &Driver{
		opts:     opts,
		started:  time.Now(),
		servers:  newServers(),
		tasks:    newTasks(),
		gateways: map[string]*gateway{},
		watchers: map[*queue]struct{}{},
	}
}

// Run does what must be done between calls of Apply: it takes down and retries neighbors that exceed their prefix limit, starts
// sessions afresh that GoBGP lets hang, repeats what it may have lost, and keeps the counters of Sessions fresh. It returns nil when ctx ends, and leaves the
// speakers running.
func (d *Driver) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for _, g := range d.all() {
				g.refreshCounters(ctx)
				for _, n := range g.view.hanging() {
					d.tasks.add(task{gateway: g.name, neighbor: n, why: hanging})
				}
				for _, n := range g.view.unsettled(d.settle(g)) {
					d.tasks.add(task{gateway: g.name, neighbor: n, why: settled})
				}
			}
		case <-d.tasks.wake:
			for _, t := range d.tasks.take() {
				if g := d.find(t.gateway); g != nil {
					g.do(ctx, t)
				}
			}
		}
	}
}

// Apply makes one gateway's speaker as desired; s is all of it. A server is started with the first neighbor and stopped with the
// last one. Applying the same speaker again changes nothing. Sessions start afresh only where [bgp.Diff] says so. Neighbors and
// announcements that could not be applied are in the result; the error is for the speaker as a whole, and a later Apply goes on from
// wherever it has come to.
func (d *Driver) Apply(ctx context.Context, s bgp.Speaker) (bgp.Result, error) {
	d.mu.Lock()
	g := d.gateways[s.Gateway]
	if g == nil && !d.closed && s.Gateway != "" {
		g = newGateway(d, s.Gateway)
		d.gateways[s.Gateway] = g
	}
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return bgp.Result{}, errClosed
	}
	if g == nil {
		_, _, err := bgp.Check(s)
		return bgp.Result{}, err
	}
	return g.apply(ctx, s)
}

// Remove stops a gateway's speaker, with a Cease to every neighbor, and forgets the gateway. Removing an unknown one is no error.
func (d *Driver) Remove(ctx context.Context, name string) error {
	d.mu.Lock()
	g := d.gateways[name]
	delete(d.gateways, name)
	d.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.close(ctx, false)
}

// Watch calls emit for what changes from now on, until ctx ends. Events are hints: equal ones within some milliseconds come once,
// and Sessions and Routes are at least as new as the event. emit may take its time; GoBGP never waits for it.
func (d *Driver) Watch(ctx context.Context, emit func(bgp.Event)) {
	q := newQueue()
	d.mu.Lock()
	d.watchers[q] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.watchers, q)
		d.mu.Unlock()
	}()
	q.run(ctx, emit)
}

// Sessions returns the sessions of a gateway, sorted by neighbor, from memory. Counters are up to a second old.
func (d *Driver) Sessions(gateway string) []bgp.Session {
	if g := d.find(gateway); g != nil {
		return g.view.snapshotSessions()
	}
	return nil
}

// Routes returns what a gateway's neighbors have announced and policy has accepted, sorted by prefix, from memory. The slices are
// shared with other callers and must not be changed.
func (d *Driver) Routes(gateway string) []bgp.Learned {
	if g := d.find(gateway); g != nil {
		return g.view.snapshotRoutes()
	}
	return nil
}

// Refused returns what a gateway's neighbors have announced and was not accepted, with the reason, sorted by neighbor and prefix, from
// memory.
func (d *Driver) Refused(gateway string) []bgp.Refused {
	if g := d.find(gateway); g != nil {
		return g.view.snapshotRefused()
	}
	return nil
}

// Close ends the driver. Normally every session ends with a Cease and all goroutines have ended when Close returns. With keep the
// speakers are left as they are for the end of the process, which must follow at once: to the neighbors it is then a lost
// connection, which those with graceful restart bridge. (GoBGP's own graceful stop withdraws routes from neighbors it has not yet
// come to.)
func (d *Driver) Close(ctx context.Context, keep bool) error {
	d.mu.Lock()
	d.closed = true
	gateways := d.gateways
	d.gateways = map[string]*gateway{}
	d.mu.Unlock()
	var errs []error
	for _, g := range gateways {
		errs = append(errs, g.close(ctx, keep))
	}
	return errors.Join(errs...)
}

func (d *Driver) emit(e bgp.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for q := range d.watchers {
		q.add(e)
	}
}

func (d *Driver) find(gateway string) *gateway {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gateways[gateway]
}

func (d *Driver) all() []*gateway {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := make([]*gateway, 0, len(d.gateways))
	for _, g := range d.gateways {
		l = append(l, g)
	}
	return l
}

// task is work for Run.
type task struct {
	gateway, neighbor string
	why               reasonToAct
}

type reasonToAct int

const (
	overLimit reasonToAct = iota // the neighbor has exceeded its prefix limit
	retry                        // and may come back
	hanging                      // the session makes no progress
	settled                      // the session has been established for some time
	dial                         // the neighbor was to connect by itself
)

// settle is how long after a session is established everything is announced once more. After a restart that must not cut the wait
// for the neighbors' routes short.
func (d *Driver) settle(g *gateway) time.Duration {
	if g.forwarding.Load() && time.Since(d.started) < restartWindow {
		return (deferral + 5) * time.Second
	}
	return time.Second
}

// tasks holds each task at most once.
type tasks struct {
	mu   sync.Mutex
	list []task
	wake chan struct{}
}

func newTasks() *tasks { return &tasks{wake: make(chan struct{}, 1)} }

func (q *tasks) add(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.Contains(q.list, t) {
		return
	}
	q.list = append(q.list, t)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *tasks) take() []task {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.list
	q.list = nil
	return l
}
