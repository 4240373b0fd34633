package charon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/backoff"
)

const (
	dialTimeout = 5 * time.Second
	// relistDelay lets what a listing should show happen first, and takes several wishes for one together.
	relistDelay = time.Second
)

// wantedEvents returns the events that are registered for on every connection. Those that this charon does not have are done without.
func wantedEvents() []string {
	return []string{"ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey", "log", "alert"}
}

// session is one connection to charon. Commands and events share it: then what a listing shows and what events say is ordered.
type session struct {
	number  uint64
	can     capabilities
	client  *vici.Client
	inbox   *inbox
	timeout time.Duration
	wish    chan struct{}
	urgent  chan struct{}
}

// Run connects to charon, stays connected and keeps tunnels up until ctx ends, then returns nil. SAs are left as they are.
func (d *Driver) Run(ctx context.Context) error {
	retry := backoff.Backoff{Min: d.opts.RetryMin, Max: min(d.opts.RetryMax, 5*time.Second)}
	for ctx.Err() == nil {
		err := d.runSession(ctx, &retry)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is how this ends
		}
		delay := retry.Next()
		d.opts.Log.Warn("charon does not answer", "error", err, "retry_in", delay)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
	return nil
}

// runSession lives as long as one connection and returns why it ended. All its goroutines end with it.
func (d *Driver) runSession(ctx context.Context, retry *backoff.Backoff) error {
	dialCtx, cancelDial := context.WithTimeout(ctx, dialTimeout)
	conn, err := d.opts.Dial(dialCtx)
	cancelDial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	s := &session{inbox: newInbox(), timeout: d.opts.CommandTimeout, wish: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
	s.client = vici.NewClient(conn, func(e vici.Event) { s.inbox.put(entry{event: e.Name, message: e.Message}) })
	tasks.Go(func() { d.consume(s) })
	defer func() {
		cancel()
		s.client.Close()
		d.disconnected(s, ctx)
		s.inbox.close()
		tasks.Wait()
	}()
	if err := d.prepare(ctx, s); err != nil {
		return err
	}
	retry.Reset()
	tasks.Go(func() { d.keep(ctx, s) })
	tasks.Go(func() { d.refreshLoop(ctx, s) })
	select {
	case <-s.client.Done():
		return s.client.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare takes a fresh connection to where the driver knows everything: what charon can do, events, configuration, SAs.
func (d *Driver) prepare(ctx context.Context, s *session) error {
	var err error
	if s.can, err = askCapabilities(ctx, s.call); err != nil {
		return err
	}
	d.mu.Lock()
	// Unique ids mean nothing in another charon.
	d.talks.reset()
	d.mu.Unlock()
	for _, event := range d.opts.events {
		err := s.client.Register(ctx, event)
		if err != nil && !errors.Is(err, vici.ErrUnknown) {
			return err
		}
		if event == "alert" {
			s.can.alerts = err == nil
		}
	}
	d.mu.Lock()
	d.sessions++
	s.number = d.sessions
	d.session, d.can = s, s.can
	// All that is desired, and what could not be removed while nobody answered.
	names := d.names(func(t *tunnel) bool { return t.desired || t.given.session != 0 && !t.given.absent })
	d.mu.Unlock()
	for _, name := range names {
		if err := d.step(ctx, name); err != nil && !refused(err) {
			if s.client.Err() != nil || ctx.Err() != nil {
				return err
			}
			d.opts.Log.Warn("tunnel not loaded", "tunnel", name, "error", err)
		}
	}
	if err := d.list(ctx, s); err != nil {
		return err
	}
	d.mu.Lock()
	d.connected, d.connectedSince = true, time.Now()
	for _, t := range d.tunnels {
		d.plan.at(t, time.Now())
	}
	d.mu.Unlock()
	d.opts.Log.Info("connected to charon", "version", s.can.version.text, "mlkem", s.can.mlkem, "alerts", s.can.alerts, "tunnels", len(names))
	d.watchers.emit(Event{Kind: Resync, Time: time.Now()})
	return nil
}

// disconnected keeps what is known of SAs, which may well live on, and ends all attempts: their outcome will not be heard.
func (d *Driver) disconnected(s *session, ctx context.Context) {
	d.mu.Lock()
	was := d.connected
	if d.session == s {
		d.session = nil
	}
	if was {
		d.connected, d.connectedSince = false, time.Now()
	}
	for _, t := range d.tunnels {
		t.attempt = nil
	}
	d.mu.Unlock()
	if was {
		d.watchers.emit(Event{Kind: Disconnected, Time: time.Now()})
	}
}

// call runs a command. A charon that does not answer in time is given up, because nothing on this connection can be answered
// before that command is.
func (s *session) call(ctx context.Context, command string, in *vici.Message) (*vici.Message, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	reply, err := s.client.Call(limited, command, in)
	return reply, s.judge(ctx, err)
}

func (s *session) stream(ctx context.Context, command, event string, item func(*vici.Message)) error {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.client.Stream(limited, command, event, nil, item)
	return s.judge(ctx, err)
}

func (s *session) judge(ctx context.Context, err error) error {
	switch {
	case err == nil || refused(err):
		return err
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		s.client.Close()
		return fmt.Errorf("%w within %v: %w", ErrUnavailable, s.timeout, err)
	case errors.Is(err, vici.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// Refresh lists all SAs and returns when State reflects the list.
func (d *Driver) Refresh(ctx context.Context) error {
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if s == nil {
		return fmt.Errorf("refresh: %w", ErrUnavailable)
	}
	if err := d.list(ctx, s); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return nil
}

// list runs one listing. Its items pass through the inbox like events do, so their order is kept; a listing that is broken off removes nothing.
func (d *Driver) list(ctx context.Context, s *session) error {
	select {
	case d.listing <- struct{}{}:
		defer func() { <-d.listing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.inbox.put(entry{mark: listBegin})
	err := s.stream(ctx, "list-sas", "list-sa", func(m *vici.Message) { s.inbox.put(entry{mark: listItem, message: m}) })
	done := make(chan struct{})
	s.inbox.put(entry{mark: listEnd, failed: err != nil, done: done})
	<-done
	return err
}

// relist asks for a listing soon.
func (s *session) relist() {
	select {
	case s.wish <- struct{}{}:
	default:
	}
}

// urge asks for a listing now.
func (s *session) urge() {
	select {
	case s.urgent <- struct{}{}:
	default:
	}
}

func (d *Driver) refreshLoop(ctx context.Context, s *session) {
	tick := time.NewTicker(d.opts.RefreshInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.urgent:
		case <-s.wish:
			select {
			case <-ctx.Done():
				return
			case <-time.After(relistDelay):
			}
		}
		if err := d.list(ctx, s); err != nil && ctx.Err() == nil {
			d.opts.Log.Warn("listing of SAs failed", "error", err)
		}
	}
}
