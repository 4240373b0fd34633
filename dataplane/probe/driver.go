package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ErrStale is wrapped by errors of a Conn whose device is gone or was recreated under the same name.
var ErrStale = errors.New("device gone or recreated")

// ErrStopped is returned by Apply after the end of Run, and by a second Run.
var ErrStopped = errors.New("probe driver was stopped or runs already")

// Conn sends and receives ICMP messages, without IP header, between the two addresses of one target.
type Conn interface {
	// Send sends one message without blocking and does not keep it. An error that wraps ErrStale asks for a new Conn; after
	// any other the Conn is still good.
	Send(message []byte) error
	// Receive waits for a message and returns it as a part of buf. After an error the Conn is replaced. A closed Conn
	// returns an error that wraps os.ErrClosed.
	Receive(buf []byte) ([]byte, error)
	// Close makes Receive return.
	Close() error
}

// Options of a Driver; the zero value is usable.
type Options struct {
	// Log receives changes of state and socket errors; nil discards them.
	Log *slog.Logger
	// Listen opens the Conn of a target; nil means [Listen], the raw socket. An error counts its echoes as lost; opening is
	// tried again with back-off, 5 s at most.
	Listen func(Target) (Conn, error)
}

// Driver probes tunnels. All methods may be called at the same time.
type Driver struct {
	log    *slog.Logger
	listen func(Target) (Conn, error)
	epoch  time.Time
	hub    hub

	mu      sync.Mutex
	phase   phase
	tunnels map[string]*tunnel
}

type phase uint8

const (
	idle phase = iota
	running
	stopped
)

// tunnel is one applied target. Its prober is nil while the mode is OFF.
type tunnel struct {
	gateway string
	prober  *prober
	// sent and lost are those of earlier probers.
	sent, lost uint64
}

// New returns a driver; nothing is sent until Run.
func New(opts Options) *Driver {
	d := &Driver{log: opts.Log, listen: opts.Listen, epoch: time.Now(), tunnels: make(map[string]*tunnel)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.listen == nil {
		d.listen = Listen
	}
	return d
}

// Run probes until ctx ends, closes every socket and returns nil. It may be called once; State keeps its last answers.
func (d *Driver) Run(ctx context.Context) error {
	d.mu.Lock()
	if d.phase != idle {
		d.mu.Unlock()
		return ErrStopped
	}
	d.phase = running
	for _, t := range d.tunnels {
		if t.prober != nil {
			go t.prober.run()
		}
	}
	d.mu.Unlock()

	<-ctx.Done()

	d.mu.Lock()
	d.phase = stopped
	var stopping []*prober
	for _, t := range d.tunnels {
		if t.prober != nil {
			stopping = append(stopping, t.prober)
		}
	}
	d.mu.Unlock()
	for _, p := range stopping {
		p.stop(false)
	}
	for _, p := range stopping {
		<-p.done
	}
	return nil
}

// Apply makes targets the whole set of one gateway. It is idempotent: an unchanged target keeps its state and its pace.
// An empty set forgets the gateway. The sockets of targets no longer wanted are closed when Apply returns. A target that is
// invalid, listed twice, or another gateway's gets an error in Result and leaves everything as it was for its tunnel. The
// error returned is that of ctx, or ErrStopped; nothing was changed then.
func (d *Driver) Apply(ctx context.Context, gateway string, targets []Target) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	result := Result{Errors: make(map[string]error)}
	listed := make(map[string]int, len(targets))
	for _, t := range targets {
		listed[t.Tunnel]++
	}
	stopping, err := d.apply(gateway, targets, listed, &result)
	if err != nil {
		return Result{}, err
	}
	for _, p := range stopping {
		<-p.done
	}
	slices.Sort(result.Installed)
	return result, nil
}

// apply returns the probers that were told to stop, of those that run.
func (d *Driver) apply(gateway string, targets []Target, listed map[string]int, result *Result) ([]*prober, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == stopped {
		return nil, ErrStopped
	}
	var stopping []*prober
	stop := func(t *tunnel) {
		if t.prober == nil {
			return
		}
		t.prober.stop(true)
		last := t.prober.state()
		t.sent, t.lost = t.sent+last.Sent, t.lost+last.Lost
		if d.phase == running {
			stopping = append(stopping, t.prober)
		}
		t.prober = nil
	}
	for _, t := range targets {
		err := t.validate()
		have := d.tunnels[t.Tunnel]
		switch {
		case err != nil:
		case listed[t.Tunnel] > 1:
			err = fmt.Errorf("tunnel: %q is listed %d times", t.Tunnel, listed[t.Tunnel])
		case have != nil && have.gateway != gateway:
			err = fmt.Errorf("tunnel: %q belongs to gateway %q", t.Tunnel, have.gateway)
		}
		if err != nil {
			result.Errors[t.Tunnel] = err
			continue
		}
		result.Installed = append(result.Installed, t.Tunnel)
		if have == nil {
			have = &tunnel{gateway: gateway}
			d.tunnels[t.Tunnel] = have
		}
		switch {
		case t.Mode == Off:
			stop(have)
		case have.prober != nil:
			have.prober.retarget(t)
		default:
			have.prober = d.start(t)
		}
	}
	for name, t := range d.tunnels {
		if t.gateway == gateway && listed[name] == 0 {
			stop(t)
			delete(d.tunnels, name)
		}
	}
	return stopping, nil
}

// start is called with mu held.
func (d *Driver) start(t Target) *prober {
	p := newProber(d, t)
	p.mu.Lock()
	p.changed()
	p.mu.Unlock()
	if d.phase == running {
		go p.run()
	}
	return p
}

// Reset arms a target anew: its state is WAITING, answers to earlier echoes count no more, and its socket is replaced, which
// ends the back-off of a missing one. To be called when the tunnel comes up anew. An unknown tunnel, or one that is OFF, is left alone.
func (d *Driver) Reset(tunnel string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.tunnels[tunnel]; t != nil && t.prober != nil && d.phase != stopped {
		t.prober.reset()
	}
}

// State returns what is known of a tunnel; StateOff for an unknown one.
func (d *Driver) State(tunnel string) State {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tunnels[tunnel]
	if t == nil {
		return State{State: StateOff}
	}
	out := State{State: StateOff}
	if t.prober != nil {
		out = t.prober.state()
	}
	out.Sent, out.Lost = out.Sent+t.sent, out.Lost+t.lost
	return out
}

// Watch calls emit with the state of every target that is not OFF, then with every change, until ctx ends. A watcher that is
// slower than the changes of one tunnel gets the last of them: none misses a tunnel's present state, none delays a probe.
func (d *Driver) Watch(ctx context.Context, emit func(Event)) {
	w := newWatcher()
	d.hub.add(w)
	defer d.hub.remove(w)
	d.mu.Lock()
	for _, t := range d.tunnels {
		if t.prober != nil {
			t.prober.introduce(w)
		}
	}
	d.mu.Unlock()
	w.run(ctx, emit)
}
