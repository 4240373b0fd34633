package charon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// Result is what Apply left in charon.
type Result struct {
	// Loaded are the tunnels whose wanted configuration is in charon, ordered by name.
	Loaded []string
	// Errors holds what is wrong with the others (and with those that could not be removed), by tunnel name.
	Errors map[string]error
}

// Apply makes desired the whole set of tunnels of one gateway. It is idempotent: tunnels that did not change cause no message.
// New and changed tunnels are loaded before unwanted ones are removed, and one bad tunnel never blocks the rest: an invalid one keeps what
// charon has for it. desired must not be changed afterwards: the same slice again is taken for the same set. An empty set forgets the gateway.
// Without charon the set is kept for the reconnect and the error wraps ErrUnavailable.
//
// A change does not close SAs by itself: a tunnel to be kept up gets new SAs beside the old ones, which are closed when the new ones
// carry traffic. Where only the peer may initiate, the old SAs are closed. A changed key is an exception: both keys are good for some time, see
// keys.go, and where only the peer may initiate the SAs stay.
func (d *Driver) Apply(ctx context.Context, gateway string, desired []Tunnel) (Result, error) {
	result := Result{Errors: make(map[string]error)}
	load, remove := d.accept(gateway, desired, result.Errors)
	var failed error
	for _, name := range append(load, remove...) {
		err := d.step(ctx, name)
		if err != nil {
			result.Errors[name] = err
			if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				failed = err
			}
		}
	}
	d.mu.Lock()
	for _, name := range load {
		t := d.tunnels[name]
		if t != nil && t.want.Up && t.loadErr == nil && t.given.loaded && t.given.session == d.sessions && failed == nil {
			result.Loaded = append(result.Loaded, name)
		}
	}
	d.mu.Unlock()
	if failed != nil {
		return result, fmt.Errorf("apply %s: %w", gateway, failed)
	}
	return result, nil
}

// accept notes what is desired and returns which tunnels to give to charon and which to remove.
func (d *Driver) accept(gateway string, desired []Tunnel, errs map[string]error) (load, remove []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if last := d.accepted[gateway]; last.is(desired) {
		return slices.Clone(last.names), nil
	}
	delete(d.accepted, gateway)
	// listed keeps what charon has of a name, valid loads it.
	listed, valid := make(map[string]bool), make(map[string]bool)
	for _, want := range desired {
		known := d.tunnels[want.Name]
		switch {
		case listed[want.Name]:
			errs[want.Name] = errors.New("name: given twice, the first one counts")
			continue
		case known != nil && known.desired && known.gateway != gateway:
			errs[want.Name] = fmt.Errorf("name: belongs to gateway %s", known.gateway)
			continue
		}
		listed[want.Name] = true
		if known != nil && known.desired && reflect.DeepEqual(known.want, want) {
			// Most of them, most of the time: what is wanted is valid, and nothing of it is new.
			valid[want.Name] = true
			continue
		}
		if err := want.Validate(); err != nil {
			errs[want.Name] = err
			continue
		}
		valid[want.Name] = true
		t := d.tunnelFor(want.Name)
		if !t.desired || !t.want.Up && want.Up {
			// Whatever made it fail before is not known to be still so.
			t.retry.Reset()
			t.nextTry = time.Time{}
		}
		d.setWant(t, gateway, true, want)
	}
	load = slices.Sorted(maps.Keys(valid))
	remove = d.names(func(t *tunnel) bool { return t.desired && t.gateway == gateway && !listed[t.name] })
	for _, name := range remove {
		t := d.tunnels[name]
		d.setWant(t, "", false, Tunnel{Name: name})
	}
	if len(errs) == 0 && len(desired) > 0 {
		d.accepted[gateway] = accepted{desired: desired, names: slices.Clone(load)}
	}
	return load, remove
}

// step brings charon's configuration of one tunnel to what is desired now.
func (d *Driver) step(ctx context.Context, name string) error {
	select {
	case d.steps <- struct{}{}:
		defer func() { <-d.steps }()
	case <-ctx.Done():
		return ctx.Err()
	}
	d.mu.Lock()
	s, t := d.session, d.tunnels[name]
	if t == nil {
		d.mu.Unlock()
		return nil
	}
	if s == nil {
		d.mu.Unlock()
		return ErrUnavailable
	}
	want, wanted, have := t.want, t.desired && t.want.Up, t.given
	done := wanted && have.loaded && have.session == s.number && have.changes == t.changes && have.generation == t.generation &&
		!t.reload && t.loadErr == nil
	changes := t.changes
	d.mu.Unlock()
	if done {
		return nil
	}
	if have.session != s.number {
		have.loaded, have.absent, have.refused = false, false, ""
		have.session = s.number
	}
	var err error
	if wanted {
		err = d.load(ctx, s, t, want, &have)
	} else {
		err = d.unload(ctx, s, t, &have)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	have.changes = changes
	t.given, t.loadErr = have, err
	d.plan.at(t, time.Now())
	return err
}

// load gives key and connection to charon if it does not have them.
func (d *Driver) load(ctx context.Context, s *session, t *tunnel, want Tunnel, have *given) error {
	have.absent = false
	if err := d.loadKeys(ctx, s, t, want, &have.keys); err != nil {
		return err
	}
	if err := requireProposals(want, s.can); err != nil {
		return err
	}
	d.mu.Lock()
	wish := t.generation
	t.reload = false
	d.mu.Unlock()
	message := connectionMessage(want, s.can, wish)
	ike, child, err := prints(connectionMessage(want, s.can, 0), Prefix+want.Name)
	if err != nil {
		return err
	}
	settled := have.ike == ike && have.child == child
	same := settled && have.generation == wish
	if have.loaded && same {
		return nil
	}
	if have.refused == ike+child && t.loadErr != nil {
		return t.loadErr
	}
	timeout := message.Section(Prefix + want.Name).Get("dpd_timeout")
	if have.loaded && timeout != have.dpdTimeout {
		// charon does not compare it and would keep the old value.
		if _, err := s.call(ctx, "unload-conn", new(vici.Message).Set("name", Prefix+want.Name)); err != nil && !refused(err) {
			return err
		}
		have.loaded = false
	}
	if _, err := s.call(ctx, "load-conn", message); err != nil {
		if refused(err) {
			have.refused = ike + child
		}
		return err
	}
	d.mu.Lock()
	if have.ike != "" && !settled {
		t.sas.markStale(have.ike != ike)
		t.retry.Reset()
		t.nextTry = time.Time{}
	}
	d.mu.Unlock()
	have.loaded, have.ike, have.child, have.refused, have.dpdTimeout = true, ike, child, "", timeout
	have.generation = wish
	return nil
}

// unload removes connection and key and closes the SAs. Once done it is not repeated in the same session.
func (d *Driver) unload(ctx context.Context, s *session, t *tunnel, have *given) error {
	if have.absent {
		return nil
	}
	conn := Prefix + t.name
	d.mu.Lock()
	t.terminated = time.Now()
	d.mu.Unlock()
	// The connection goes first: without it nothing new comes up while the rest is taken away.
	type command struct {
		command string
		in      *vici.Message
	}
	commands := []command{
		{"unload-conn", new(vici.Message).Set("name", conn)},
		{"unload-shared", new(vici.Message).Set("id", conn)},
		{"terminate", terminate("ike", conn)},
	}
	if have.keys.former.IsSet() {
		commands = append(commands, command{"unload-shared", new(vici.Message).Set("id", formerKey(t.name))})
	}
	for _, c := range commands {
		if _, err := s.call(ctx, c.command, c.in); err != nil && !gone(err) {
			return err
		}
	}
	have.loaded, have.absent, have.ike, have.child, have.keys = false, true, "", "", loaded{}
	d.mu.Lock()
	d.endAttempt(t, false)
	d.mu.Unlock()
	// An IKE_SA that was still connecting goes without an event.
	s.relist()
	return nil
}

// terminate returns the argument of the command. With force a dead peer gets one DELETE and is not waited for.
func terminate(key, value string) *vici.Message {
	return new(vici.Message).Set(key, value).Set("force", "yes").Set("timeout", "-1")
}

// gently returns the argument of the command for an SA of which packets may be on their way: it is there until the peer has closed its own.
func gently(key, value string) *vici.Message {
	return new(vici.Message).Set(key, value).Set("timeout", "-1")
}

// prints returns a connection's settings in comparable form, those of the child apart.
func prints(m *vici.Message, name string) (ike, child string, err error) {
	conn := m.Section(name)
	c, err := vici.Encode(vici.Packet{Type: vici.CmdRequest, Name: "child", Message: conn.Section("children")})
	if err != nil {
		return "", "", err
	}
	i, err := vici.Encode(vici.Packet{Type: vici.CmdRequest, Name: "ike", Message: conn.Without("children")})
	return string(i), string(c), err
}

func refused(err error) bool {
	var refusal *vici.CommandError
	return errors.As(err, &refusal)
}

// gone says whether charon refused to remove something because it is not there, or no longer: an SA that it found may end before it is
// told to, which is the only failure of a terminate that does not wait (controller.c).
func gone(err error) bool {
	var refusal *vici.CommandError
	return errors.As(err, &refusal) && slices.ContainsFunc([]string{"not found", "no matching", "terminating SA failed", "not all matching SAs could be terminated"},
		func(text string) bool { return strings.Contains(refusal.Message, text) })
}

// Sweep removes every connection, secret and SA with our prefix that no gateway wants. To be called once, after the first Apply
// of all gateways: what belongs to a gateway not yet applied would be lost.
func (d *Driver) Sweep(ctx context.Context) error {
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if s == nil {
		return fmt.Errorf("sweep: %w", ErrUnavailable)
	}
	found := make(map[string]bool)
	note := func(name string) {
		if tunnel, ok := ours(name); ok {
			found[tunnel] = true
		}
	}
	// Not get-conns: its answer is one message, which charon discards when it is too large.
	err := s.stream(ctx, "list-conns", "list-conn", func(m *vici.Message) {
		for name := range m.Sections() {
			note(name)
		}
	})
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	keys, err := s.call(ctx, "get-shared", nil)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, name := range keys.List("keys") {
		note(name)
	}
	if err := d.Refresh(ctx); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	d.mu.Lock()
	for name := range found {
		d.tunnelFor(name)
	}
	unwanted := d.names(func(t *tunnel) bool { return !t.desired })
	d.mu.Unlock()
	var errs []error
	for _, name := range unwanted {
		if err := d.step(ctx, name); err != nil {
			errs = append(errs, fmt.Errorf("sweep %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
