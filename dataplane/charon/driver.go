package charon

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/bordergw/bordergw/internal/backoff"
)

// Options of a Driver; the zero value of every field but Socket is usable.
type Options struct {
	// Socket is the path of charon's VICI socket.
	Socket string
	// Dial replaces the connection to Socket.
	Dial func(ctx context.Context) (net.Conn, error)
	// Log receives what the driver does; nil discards it.
	Log *slog.Logger
	// RetryMin and RetryMax bound the back-off of a tunnel's negotiation attempts and of reconnects to charon; 1 s and 30 s.
	RetryMin, RetryMax time.Duration
	// AttemptTimeout ends a negotiation attempt when for so long nothing was heard; 21 s.
	AttemptTimeout time.Duration
	// AttemptsPerSecond limits how many negotiations are started in one second over all tunnels; 50.
	AttemptsPerSecond int
	// KeyOverlap is how long a former pre-shared key is accepted after the new one first authenticated the peer; 10 min.
	KeyOverlap time.Duration
	// CommandTimeout bounds every command; a charon that takes longer counts as hung and is connected to anew; 60 s.
	CommandTimeout time.Duration
	// RefreshInterval is the time between two listings that look for drift; 30 s.
	RefreshInterval time.Duration

	// events replaces those that are registered for.
	events []string
}

func (o Options) withDefaults() Options {
	o.RetryMin = cmp.Or(o.RetryMin, time.Second)
	o.RetryMax = cmp.Or(o.RetryMax, 30*time.Second)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 21*time.Second)
	o.AttemptsPerSecond = cmp.Or(o.AttemptsPerSecond, 50)
	o.KeyOverlap = cmp.Or(o.KeyOverlap, 10*time.Minute)
	o.CommandTimeout = cmp.Or(o.CommandTimeout, time.Minute)
	o.RefreshInterval = cmp.Or(o.RefreshInterval, 30*time.Second)
	if o.events == nil {
		o.events = wantedEvents()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		socket := o.Socket
		o.Dial = func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	return o
}

// Driver keeps charon's configuration at what Apply was given and folds charon's events and listings into the state of each tunnel.
// All methods may be called at the same time.
type Driver struct {
	opts     Options
	watchers watchers
	// steps and listing admit one holder each: whoever changes a tunnel in charon, and whoever runs a listing.
	steps, listing chan struct{}

	mu       sync.Mutex
	tunnels  map[string]*tunnel
	byRemote map[netip.Addr]map[string]struct{}
	// accepted are the last sets without anything wrong, by gateway.
	accepted map[string]accepted
	plan     *schedule
	// nextSlot is when the next attempt may start, over all tunnels.
	nextSlot time.Time
	// session is the current connection, nil without one; sessions counts them.
	session  *session
	sessions uint64
	// epoch counts listings.
	epoch          uint64
	connected      bool
	connectedSince time.Time
	can            capabilities
	talks          talks
	foreign        foreigners
}

// accepted is a set of tunnels as Apply was given it, and its tunnels' names in order.
type accepted struct {
	desired []Tunnel
	names   []string
}

// is tells whether a set is the very same one.
func (a accepted) is(desired []Tunnel) bool {
	return len(desired) > 0 && len(desired) == len(a.desired) && &desired[0] == &a.desired[0]
}

// tunnel is everything known of one tunnel: desired by a gateway, or only seen in charon. Guarded by Driver.mu.
type tunnel struct {
	name string
	// gateway and want are set while desired; after that the tunnel is kept until it is removed from charon.
	gateway string
	desired bool
	want    Tunnel
	// changes counts what was desired so far.
	changes  uint64
	loadErr  error
	given    given
	sas      saSet
	failures map[string]uint64
	last     Failure

	// attempt is the negotiation in flight that the keeper started.
	attempt *attempt
	// failed: the last attempt did.
	failed  bool
	retry   backoff.Backoff
	nextTry time.Time
	slot    time.Time
	upSince time.Time
	// lastDown is when it last lost its last CHILD_SA.
	lastDown time.Time
	// cause is why the tunnel went down according to the log, which may say it before or after the event; down is when it went.
	cause          Failure
	down           time.Time
	terminated     time.Time
	pruned         time.Time
	duplicateSince time.Time
	// duplicateGrace is how long the next duplicates are left to the peer; 0 until we have removed some.
	duplicateGrace time.Duration
	duplicates     uint64
	refresh        refresh
	rotation       rotation
	doubt          doubt
	// generation is the one to load; reload asks for it.
	generation generation
	reload     bool
	// rewrite is why Rewrite was called, until that is done.
	rewrite string
	due     time.Time
	index   int
}

// given is what charon was given for a tunnel. Only the holder of Driver.steps changes it.
type given struct {
	// session in which the rest is true of charon; after a reconnect everything is given again.
	session uint64
	loaded  bool
	absent  bool
	// changes is tunnel.changes of what was given.
	changes uint64
	// Encoded settings of the last connection that charon took, in whichever session, and of the one it refused.
	ike, child, refused string
	generation          generation
	dpdTimeout          string
	keys                loaded
}

type attempt struct {
	started, deadline time.Time
	// ike is the unique id of its IKE_SA; 0 until the log told.
	ike uint32
}

// New returns a driver; nothing happens until Run.
func New(opts Options) *Driver {
	return &Driver{
		opts: opts.withDefaults(), steps: make(chan struct{}, 1), listing: make(chan struct{}, 1),
		tunnels: make(map[string]*tunnel), accepted: make(map[string]accepted), byRemote: make(map[netip.Addr]map[string]struct{}), plan: newSchedule(), foreign: foreigners{},
		connectedSince: time.Now(),
	}
}

// Watch calls emit for every event, in order, until ctx ends; the first is a Resync. A watcher that is too slow gets one Resync for
// what it missed.
func (d *Driver) Watch(ctx context.Context, emit func(Event)) {
	d.watchers.watch(ctx, Event{Kind: Resync, Time: time.Now()}, emit)
}

// Connected says whether charon answers and everything desired was given to it and its SAs were listed since it does.
func (d *Driver) Connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connected
}

// State returns what is known of a tunnel, whether or not it is desired.
func (d *Driver) State(name string) State {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := State{Tunnel: name, Connected: d.connected, Since: d.connectedSince, IKE: IKEDown}
	t := d.tunnels[name]
	if t == nil {
		return out
	}
	out.Loaded = t.given.loaded && t.given.session == d.sessions && t.loadErr == nil
	if t.loadErr != nil {
		out.LoadError = t.loadErr.Error()
	}
	out.IKE = t.ikeState()
	for _, c := range t.sas.live() {
		out.Children = append(out.Children, c.ChildSA)
		out.ESPSuite = c.Suite
	}
	if sa := t.sas.newest(); sa != nil {
		out.IKEVersion, out.IKESuite, out.NATT = sa.version, sa.suite, sa.natt
		out.LocalID, out.RemoteID, out.RemoteEndpoint = sa.localID, sa.remoteID, sa.remote
	}
	out.Traffic, out.Establishments, out.Rekeys, out.IKERekeys = t.sas.traffic, t.sas.establishments, t.sas.rekeys, t.sas.ikeRekeys
	out.Failures, out.LastFailure, out.LastDown = maps.Clone(t.failures), t.last, t.lastDown
	out.Renegotiations, out.DuplicatesClosed = t.doubt.count, t.duplicates
	if t.rotation.pending {
		out.KeyPending = t.rotation.since
	}
	return out
}

// ikeState counts an attempt of the keeper as connecting: charon has no event for its start.
func (t *tunnel) ikeState() IKEState {
	state := t.sas.ikeState()
	if state == IKEDown && t.attempt != nil {
		return IKEConnecting
	}
	return state
}

// tunnelFor returns the entry of a tunnel, making one if there is none. The caller holds the lock.
func (d *Driver) tunnelFor(name string) *tunnel {
	t := d.tunnels[name]
	if t == nil {
		t = &tunnel{name: name, index: -1, failures: make(map[string]uint64)}
		t.retry.Min, t.retry.Max = d.opts.RetryMin, d.opts.RetryMax
		t.doubt.retry.Min, t.doubt.retry.Max = renewMin, renewMax
		d.tunnels[name] = t
	}
	return t
}

// drop forgets a tunnel that nobody wants and that has nothing in charon. The caller holds the lock.
func (d *Driver) drop(t *tunnel) {
	if !t.desired && t.given.absent && t.given.session == d.sessions && t.sas.empty() && t.index < 0 {
		delete(d.tunnels, t.name)
	}
}

// setWant sets or clears what is desired of a tunnel and keeps the index of remote addresses. The caller holds the lock.
func (d *Driver) setWant(t *tunnel, gateway string, desired bool, want Tunnel) {
	if old := t.want.Remote; t.desired && d.byRemote[old] != nil {
		delete(d.byRemote[old], t.name)
		if len(d.byRemote[old]) == 0 {
			delete(d.byRemote, old)
		}
	}
	t.gateway, t.desired, t.want = gateway, desired, want
	t.changes++
	if desired {
		if d.byRemote[want.Remote] == nil {
			d.byRemote[want.Remote] = make(map[string]struct{})
		}
		d.byRemote[want.Remote][t.name] = struct{}{}
	}
}

// names returns the names of all tunnels for which keep is true, sorted. The caller holds the lock.
func (d *Driver) names(keep func(*tunnel) bool) []string {
	var out []string
	for name, t := range d.tunnels {
		if keep(t) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
