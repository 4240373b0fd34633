package bfd

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is a driver in one of two namespaces.
type end struct {
	*Driver
	t       *testing.T
	targets []Target
	events  chan Event
	stop    func()
}

func startEnd(t *testing.T, ns *namespace, targets ...Target) *end {
	t.Helper()
	e := &end{Driver: New(Options{Listen: ns.listen}), t: t, targets: targets, events: make(chan Event, 1024)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	watched := make(chan struct{})
	go func() { ended <- e.Run(ctx) }()
	go func() { defer close(watched); e.Watch(ctx, func(ev Event) { e.events <- ev }) }()
	e.stop = func() {
		e.stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		<-watched
	}
	t.Cleanup(func() { e.stop() })
	e.apply(targets...)
	return e
}

func (e *end) apply(targets ...Target) {
	e.t.Helper()
	if r, err := e.Apply(context.Background(), "gw", targets); err != nil || len(r.Errors) > 0 {
		e.t.Fatalf("apply: %v %v", err, r.Errors)
	}
}

func (e *end) until(tunnel, what string, ok func(State) bool) State {
	e.t.Helper()
	timeout := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s := e.State(tunnel); ok(s) {
			return s
		}
		select {
		case <-e.events:
		case <-tick.C:
		case <-timeout:
			e.t.Fatalf("%s is %+v, not %s, after 30 s", tunnel, e.State(tunnel), what)
		}
	}
}

func up(s State) bool   { return s.State == StateUp }
func dead(s State) bool { return s.Dead() }

func ends(t *testing.T) (a, b *namespace, four, six, four2, six2 Target) {
	t.Helper()
	a, b = newNamespace(t), newNamespace(t)
	connect(a, b)
	four = Target{Tunnel: "four", Device: "bfd-a", Local: netip.MustParseAddr("169.254.10.1"), Peer: netip.MustParseAddr("169.254.10.2"),
		Interval: 200 * time.Millisecond, Multiplier: 5}
	six = four
	six.Tunnel, six.Local, six.Peer = "six", netip.MustParseAddr("fd00:10::1"), netip.MustParseAddr("fd00:10::2")
	other := func(t Target) Target { t.Device, t.Local, t.Peer = "bfd-b", t.Peer, t.Local; return t }
	return a, b, four, six, other(four), other(six)
}

// TestOverVeth: sessions of both families come up, notice silence, survive a new device of the old name, and end in order.
func TestOverVeth(t *testing.T) {
	na, nb, four, six, four2, six2 := ends(t)
	a, b := startEnd(t, na, four, six), startEnd(t, nb, four2, six2)
	for _, tunnel := range []string{"four", "six"} {
		a.until(tunnel, "up", up)
		b.until(tunnel, "up", up)
	}
	// Another rate, and the session goes on.
	four.Interval, four2.Interval = 100*time.Millisecond, 100*time.Millisecond
	a.apply(four, six)
	b.apply(four2, six2)
	a.until("four", "on the new rate", func(s State) bool { return s.Detection == 500*time.Millisecond && s.Interval == 100*time.Millisecond })
	if s := a.State("four"); !up(s) || s.Downs > 0 {
		t.Errorf("%+v", s)
	}

	nb.ip("link set bfd-b down")
	for _, tunnel := range []string{"four", "six"} {
		if s := a.until(tunnel, "dead", dead); s.Diagnostic != "control detection time expired" || s.Downs != 1 || s.Peer != StateDown {
			t.Errorf("%s: %+v", tunnel, s)
		}
	}
	na.ip("link del bfd-a")
	connect(na, nb)
	for _, tunnel := range []string{"four", "six"} {
		a.until(tunnel, "up", up)
		b.until(tunnel, "up", up)
	}

	// An end that is stopped in order is missed by nobody.
	b.stop()
	for _, tunnel := range []string{"four", "six"} {
		s := a.until(tunnel, "disarmed", func(s State) bool { return s.State == StateDown && !s.Armed })
		if s.Downs != 1 || s.Diagnostic != "neighbor signaled session down: administratively down" {
			t.Errorf("%s: %+v", tunnel, s)
		}
	}
	if _, err := b.Apply(context.Background(), "gw", nil); !errors.Is(err, ErrStopped) {
		t.Errorf("apply after the end: %v", err)
	}
	a.apply(four)
	if s := a.State("six"); s.State != StateOff {
		t.Errorf("removed: %+v", s)
	}
}

// TestForeignPackets: what came over a router (a TTL below 255) or from somebody else is not for the session.
func TestForeignPackets(t *testing.T) {
	na, nb, four, _, _, _ := ends(t)
	nb.ip("address add 169.254.10.5/29 dev bfd-b")
	na.ip("address add 169.254.10.6/29 dev bfd-a")
	conn, err := na.listen(four)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}()
	send := func(from string, ttl int, marker byte) {
		t.Helper()
		var err error
		nb.do(func() {
			var fd int
			if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return
			}
			defer func() { _ = unix.Close(fd) }()
			if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl); err != nil {
				return
			}
			if err = unix.Bind(fd, sockaddr(netip.MustParseAddr(from), 0)); err == nil {
				err = unix.Sendto(fd, []byte{marker}, 0, sockaddr(four.Local, port))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	send("169.254.10.2", 254, 1)
	send("169.254.10.5", 255, 2)
	send("169.254.10.2", 255, 3)
	buf := make([]byte, 64)
	got, err := conn.Receive(buf, time.Now().Add(10*time.Second))
	if err != nil || len(got) != 1 || got[0] != 3 {
		t.Fatalf("received %v, %v", got, err)
	}
	// What is waiting is handed out although the deadline has passed.
	send("169.254.10.2", 255, 4)
	deadline := time.Now().Add(-time.Minute)
	for got, err = conn.Receive(buf, deadline); err != nil; got, err = conn.Receive(buf, deadline) {
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || got[0] != 4 {
		t.Fatalf("received %v", got)
	}
}

func TestApplyRefuses(t *testing.T) {
	good := Target{Tunnel: "t", Device: "eth0", Local: netip.MustParseAddr("169.254.10.1"), Peer: netip.MustParseAddr("169.254.10.2"),
		Interval: time.Second, Multiplier: 3}
	for field, spoil := range map[string]func(*Target){
		"tunnel":     func(t *Target) { t.Tunnel = "" },
		"device":     func(t *Target) { t.Device = "a-name-that-is-too-long" },
		"local":      func(t *Target) { t.Local = netip.Addr{} },
		"peer: 224":  func(t *Target) { t.Peer = netip.MustParseAddr("224.0.0.1") },
		"peer: fd00": func(t *Target) { t.Peer = netip.MustParseAddr("fd00::1") },
		"peer: 169":  func(t *Target) { t.Peer = t.Local },
		"interval":   func(t *Target) { t.Interval = MinInterval - 1 },
		"multiplier": func(t *Target) { t.Multiplier = 0 },
	} {
		t.Run(field, func(t *testing.T) {
			d, target := New(Options{}), good
			spoil(&target)
			r, err := d.Apply(context.Background(), "gw", []Target{target})
			if got := r.Errors[target.Tunnel]; err != nil || got == nil || !strings.HasPrefix(got.Error(), field) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	d := New(Options{})
	if r, err := d.Apply(context.Background(), "one", []Target{good}); err != nil || len(r.Errors) > 0 {
		t.Fatal(r, err)
	}
	if r, err := d.Apply(context.Background(), "two", []Target{good}); err != nil || r.Errors["t"] == nil {
		t.Errorf("another gateway's: %v, %v", r, err)
	}
	if r, err := d.Apply(context.Background(), "one", []Target{good, good}); err != nil || r.Errors["t"] == nil {
		t.Errorf("twice: %v, %v", r, err)
	}
}
