package bfd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrStale is wrapped by errors of a Conn whose device is gone or was recreated under the same name.
var ErrStale = errors.New("device gone or recreated")

// ErrStopped is returned by Apply after the end of Run, and by a second Run.
var ErrStopped = errors.New("BFD driver was stopped or runs already")

// Conn sends and receives the control packets of one session. A session uses it from one goroutine, but for Interrupt.
type Conn interface {
	// Send sends one packet without blocking and does not keep it. An error that wraps ErrStale asks for a new Conn; after any
	// other the Conn is still good.
	Send(packet []byte) error
	// Receive returns the next packet that came from the peer's address with a TTL of 255. It waits until the deadline, or for
	// Interrupt, and not at all when there is a packet already; without one it returns an error that wraps os.ErrDeadlineExceeded. A
	// zero deadline is never. After any other error the Conn is replaced.
	Receive(buf []byte, deadline time.Time) ([]byte, error)
	// Interrupt makes the present Receive, or else the next one, return early.
	Interrupt()
	Close() error
}

// Options of a Driver; the zero value is usable.
type Options struct {
	// Log receives changes of state and socket errors; nil discards them.
	Log *slog.Logger
	// Listen opens the Conn of a target; nil means [Listen]. After an error it is tried again every second.
	Listen func(Target) (Conn, error)
}

// Driver runs the sessions of all gateways. All methods may be called at the same time.
type Driver struct {
	log    *slog.Logger
	listen func(Target) (Conn, error)

	mu       sync.Mutex
	phase    phase
	sessions map[string]*session
	watchers map[*watcher]struct{}
}

type phase uint8

const (
	idle phase = iota
	running
	stopped
)

// New returns a driver; nothing is sent until Run.
func New(opts Options) *Driver {
	d := &Driver{log: opts.Log, listen: opts.Listen, sessions: map[string]*session{}, watchers: map[*watcher]struct{}{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.listen == nil {
		d.listen = Listen
	}
	return d
}

// Run runs sessions until ctx ends, tells every peer that its session is given up, and returns nil. It may be called once.
func (d *Driver) Run(ctx context.Context) error {
	d.mu.Lock()
	if d.phase != idle {
		d.mu.Unlock()
		return ErrStopped
	}
	d.phase = running
	for _, s := range d.sessions {
		go s.run()
	}
	d.mu.Unlock()

	<-ctx.Done()

	d.mu.Lock()
	d.phase = stopped
	var ending []*session
	for _, s := range d.sessions {
		s.stop()
		ending = append(ending, s)
	}
	d.mu.Unlock()
	for _, s := range ending {
		<-s.done
	}
	return nil
}

// Apply makes targets the whole set of one gateway. It is idempotent: an unchanged target keeps its session, and so does one whose
// interval or multiplier changed. A session no longer wanted has told its peer so, and its sockets are closed, when Apply returns. A
// target that is invalid, listed twice or another gateway's gets an error in Result. The error returned is that of ctx, or ErrStopped;
// nothing was changed then.
func (d *Driver) Apply(ctx context.Context, gateway string, targets []Target) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	result := Result{Errors: map[string]error{}}
	ending, err := d.apply(gateway, targets, result.Errors)
	if err != nil {
		return Result{}, err
	}
	for _, s := range ending {
		<-s.done
	}
	return result, nil
}

// apply returns the sessions that were told to end, of those that run.
func (d *Driver) apply(gateway string, targets []Target, errs map[string]error) ([]*session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == stopped {
		return nil, ErrStopped
	}
	var ending []*session
	stop := func(s *session) {
		delete(d.sessions, s.tunnel)
		if s.stop(); d.phase == running {
			ending = append(ending, s)
		}
	}
	listed := map[string]int{}
	for _, t := range targets {
		listed[t.Tunnel]++
	}
	for _, t := range targets {
		err := t.validate()
		have := d.sessions[t.Tunnel]
		switch {
		case err != nil:
		case listed[t.Tunnel] > 1:
			err = fmt.Errorf("tunnel: %q is listed %d times", t.Tunnel, listed[t.Tunnel])
		case have != nil && have.gateway != gateway:
			err = fmt.Errorf("tunnel: %q belongs to gateway %q", t.Tunnel, have.gateway)
		}
		if err != nil {
			errs[t.Tunnel] = err
			continue
		}
		if have != nil && have.target.Device == t.Device && have.target.Local == t.Local && have.target.Peer == t.Peer {
			have.retune(t)
			continue
		}
		if have != nil {
			stop(have)
		}
		s := newSession(d, gateway, t)
		d.sessions[t.Tunnel] = s
		if d.phase == running {
			go s.run()
		}
	}
	for name, s := range d.sessions {
		if s.gateway == gateway && listed[name] == 0 {
			stop(s)
		}
	}
	return ending, nil
}

// State returns what is known of a tunnel's session; StateOff for an unknown one.
func (d *Driver) State(tunnel string) State {
	d.mu.Lock()
	s := d.sessions[tunnel]
	d.mu.Unlock()
	if s == nil {
		return State{State: StateOff}
	}
	return s.state()
}

// Watch calls emit with every change from now on until ctx ends. A watcher that is slower than the changes of one session gets the
// last of them, and delays no session.
func (d *Driver) Watch(ctx context.Context, emit func(Event)) {
	w := &watcher{pending: map[string]State{}, wake: make(chan struct{}, 1)}
	d.mu.Lock()
	d.watchers[w] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.watchers, w)
		d.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		for tunnel, s := range w.take() {
			emit(Event{Tunnel: tunnel, State: s})
		}
	}
}

func (d *Driver) publish(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.watchers {
		w.put(e)
	}
}

// watcher holds at most one event per tunnel, the newest.
type watcher struct {
	mu      sync.Mutex
	pending map[string]State
	wake    chan struct{}
}

func (w *watcher) put(e Event) {
	w.mu.Lock()
	w.pending[e.Tunnel] = e.State
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) take() map[string]State {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pending
	w.pending = map[string]State{}
	return p
}
