package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestApplyRefuses(t *testing.T) {
	for _, tc := range []struct {
		field  string
		change func(*Target)
	}{
		{"tunnel", func(t *Target) { t.Tunnel = "" }},
		{"mode", func(t *Target) { t.Mode = "SOMETIMES" }},
		{"mode", func(t *Target) { t.Mode = "" }},
		{"device", func(t *Target) { t.Device = "" }},
		{"device", func(t *Target) { t.Device = "sixteen-letters-" }},
		{"local", func(t *Target) { t.Local = netip.Addr{} }},
		{"local", func(t *Target) { t.Local = netip.MustParseAddr("::ffff:169.254.10.1") }},
		{"local", func(t *Target) { t.Local = netip.IPv4Unspecified() }},
		{"peer", func(t *Target) { t.Peer = netip.MustParseAddr("224.0.0.1") }},
		{"peer", func(t *Target) { t.Peer = netip.MustParseAddr("255.255.255.255") }},
		{"peer", func(t *Target) { t.Peer = netip.MustParseAddr("fd00::2") }},
		{"peer", func(t *Target) { t.Peer = t.Local }},
		{"interval", func(t *Target) { t.Interval = MinInterval - 1 }},
		{"failures", func(t *Target) { t.Failures = 0 }},
	} {
		bad := target("bad")
		tc.change(&bad)
		d := New(Options{Listen: newNetwork(t).listen})
		r, err := d.Apply(t.Context(), "gw", []Target{target("good"), bad, target("fine")})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"fine", "good"}, r.Installed); diff != "" {
			t.Errorf("%s: installed (-want +got):\n%s", tc.field, diff)
		}
		if err := r.Errors[bad.Tunnel]; len(r.Errors) != 1 || err == nil || !strings.HasPrefix(err.Error(), tc.field+": ") {
			t.Errorf("%s: errors %v", tc.field, r.Errors)
		}
	}
}

// TestApplyLeavesRefusedAsItWas: what is wrong with a target, or whose it is, disturbs neither it nor others.
func TestApplyLeavesRefusedAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		a, c := target("a"), target("c")
		for _, name := range []string{"a", "c", "d"} {
			net.answers(name, time.Millisecond)
		}
		b := start(t, net, a, c)
		b.until("a", StatePassing)
		b.until("c", StatePassing)
		want := map[string]State{"a": b.State("a"), "c": b.State("c")}

		bad := a
		bad.Failures = 0
		r, err := b.Apply(t.Context(), "gw", []Target{bad, c, c})
		if err != nil || len(r.Installed) != 0 || len(r.Errors) != 2 {
			t.Errorf("%+v %v", r, err)
		}
		r, err = b.Apply(t.Context(), "other", []Target{a, target("d")})
		if err != nil || r.Errors["a"] == nil || len(r.Errors) != 1 {
			t.Errorf("%+v %v", r, err)
		}
		if diff := cmp.Diff(want, map[string]State{"a": b.State("a"), "c": b.State("c")}); diff != "" {
			t.Errorf("states (-before +after):\n%s", diff)
		}
		b.until("d", StatePassing)
		b.apply("other") // forgets its own only
		b.expect("d", StateOff)
		b.expect("a", StatePassing)

		// Once the first gateway has let go, the other one may have it.
		b.apply("gw", c)
		b.apply("other", a)
		b.until("a", StatePassing)
	})
}

func TestApplyIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		b := start(t, net, target("a"))
		b.until("a", StatePassing)
		for range 100 {
			b.apply("gw", target("a"))
			pass(137 * time.Millisecond)
		}
		if s := b.expect("a", StatePassing); s.Lost != 0 || s.Sent < 13 || s.Sent > 15 {
			t.Errorf("%+v", s)
		}
		net.with(func() {
			if net.opened != 1 {
				t.Errorf("%d sockets opened", net.opened)
			}
		})
		if got := b.states("a"); len(got) != 2 {
			t.Errorf("events %v", got)
		}
	})
}

func TestApplyRemovesAndTurnsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		net.answers("c", time.Millisecond)
		a, c := target("a"), target("c")
		b := start(t, net, a, c)
		b.until("a", StatePassing)
		b.until("c", StatePassing)
		net.with(func() { net.linger = 100 * time.Millisecond })
		if _, err := b.Apply(t.Context(), "gw", []Target{c}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"bgw-c"}, net.devices()); diff != "" {
			t.Errorf("open sockets (-want +got):\n%s", diff)
		}
		off := Target{Tunnel: "c", Mode: Off}
		b.apply("gw", off)
		if got := net.devices(); len(got) != 0 {
			t.Errorf("open sockets %v", got)
		}
		counted := uint64(len(net.sentBy("c")))
		if diff := cmp.Diff(State{State: StateOff, Sent: counted}, b.State("c")); diff != "" || counted == 0 {
			t.Errorf("state (-want +got):\n%s", diff)
		}
		b.Reset("c")
		b.expect("c", StateOff)
		sent := len(net.sentBy("c"))
		pass(10 * time.Second)
		if len(net.sentBy("c")) != sent {
			t.Error("a target that is OFF was probed")
		}
		b.apply("gw", c)
		b.expect("c", StateWaiting)
		b.until("c", StatePassing)
		if got := b.State("c").Sent; got <= counted {
			t.Errorf("sent %d after %d before: the counter went back", got, counted)
		}
		for tunnel, want := range map[string][]string{
			"a": {StateWaiting, StatePassing, StateOff},
			"c": {StateWaiting, StatePassing, StateOff, StateWaiting, StatePassing},
		} {
			if diff := cmp.Diff(want, b.states(tunnel)); diff != "" {
				t.Errorf("events of %s (-want +got):\n%s", tunnel, diff)
			}
		}
	})
}

// TestChangeOfAddress: a target with another device or address is another target; answers of the former peer count no more.
func TestChangeOfAddress(t *testing.T) {
	for name, change := range map[string]func(*Target){
		"device": func(t *Target) { t.Device = "bgw-other" },
		"local":  func(t *Target) { t.Local = netip.MustParseAddr("169.254.10.3") },
		"peer":   func(t *Target) { t.Peer = netip.MustParseAddr("169.254.10.4") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t)
				net.answers("a", 500*time.Millisecond)
				a := target("a")
				b := start(t, net, a)
				b.until("a", StatePassing)
				b.nextEcho("a")
				change(&a)
				net.silence("a")
				b.apply("gw", a)
				b.expect("a", StateWaiting)
				pass(5 * time.Second)
				b.expect("a", StateWaiting)
				net.answers("a", time.Millisecond)
				b.until("a", StatePassing)
				sent := net.sentBy("a")
				if got := sent[len(sent)-1].target; got != a {
					t.Errorf("probed %+v, want %+v", got, a)
				}
				if got := net.devices(); len(got) != 1 || got[0] != a.Device {
					t.Errorf("open sockets %v", got)
				}
			})
		})
	}
}

// TestOffIsLast: an answer that arrives while the target is being removed is not reported after the OFF.
func TestOffIsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", 50*time.Millisecond)
		net.linger = 100 * time.Millisecond
		b := start(t, net, target("a"))
		b.nextEcho("a")
		b.apply("gw")
		if diff := cmp.Diff([]string{StateWaiting, StateOff}, b.states("a")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// TestChangeWhileOpening: the peer changes in the moment between the opening of a socket and its first echo. Nothing may be
// sent to the former peer any more, because its answer would count for the new one.
func TestChangeWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		former, wanted := target("a"), target("a")
		wanted.Peer = netip.MustParseAddr("169.254.10.4")
		b := start(t, net)
		net.onListen = func() {
			if _, err := b.Apply(t.Context(), "gw", []Target{wanted}); err != nil {
				t.Error(err)
			}
		}
		b.apply("gw", former)
		b.until("a", StatePassing)
		for _, s := range net.sentBy("a") {
			if s.target != wanted {
				t.Errorf("sent to %v", s.target.Peer)
			}
		}
	})
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("early", time.Millisecond)
		d := New(Options{Listen: net.listen})
		if _, err := d.Apply(t.Context(), "gw", []Target{target("early"), target("gone")}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Apply(t.Context(), "gw", []Target{target("early")}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := d.Apply(ctx, "gw", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("apply with a cancelled context: %v", err)
		}
		pass(5 * time.Second)
		if s := d.State("early"); s.State != StateWaiting || s.Sent != 0 {
			t.Errorf("before Run: %+v", s)
		}
		ctx, cancel = context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		pass(2 * time.Second)
		if s := d.State("early"); s.State != StatePassing {
			t.Errorf("while running: %+v", s)
		}
		if err := d.Run(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("second Run: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if got := net.devices(); len(got) != 0 {
			t.Errorf("open sockets after Run: %v", got)
		}
		if s := d.State("early"); s.State != StatePassing {
			t.Errorf("after Run: %+v", s)
		}
		if _, err := d.Apply(t.Context(), "gw", nil); !errors.Is(err, ErrStopped) {
			t.Errorf("apply after Run: %v", err)
		}
		d.Reset("early")
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		net.answers("c", time.Millisecond)
		b := start(t, net, target("a"), target("c"))
		b.until("a", StatePassing)
		b.until("c", StatePassing)

		// A watcher that comes late and is stuck in its first call.
		ctx, cancel := context.WithCancel(t.Context())
		stuck, done := make(chan struct{}), make(chan struct{})
		seen := make(map[string][]string)
		go func() {
			defer close(done)
			b.Watch(ctx, func(e Event) {
				<-stuck
				seen[e.Tunnel] = append(seen[e.Tunnel], e.State.State)
			})
		}()
		synctest.Wait()
		for range 4 {
			net.silence("a")
			net.silence("c")
			b.until("a", StateFailing)
			b.until("c", StateFailing)
			net.answers("a", time.Millisecond)
			net.answers("c", time.Millisecond)
			b.until("a", StatePassing)
			b.until("c", StatePassing)
		}
		b.apply("gw", target("a"))
		close(stuck)
		synctest.Wait()
		cancel()
		<-done
		for tunnel, last := range map[string]string{"a": StatePassing, "c": StateOff} {
			got := seen[tunnel]
			if len(got) == 0 || len(got) > 2 || got[len(got)-1] != last {
				t.Errorf("the slow watcher saw %v of %s", got, tunnel)
			}
			if fast := b.states(tunnel); len(fast) < 10 || fast[len(fast)-1] != last {
				t.Errorf("the fast watcher saw %v of %s", fast, tunnel)
			}
		}
	})
}

// TestConcurrentCallers is for the race detector.
func TestConcurrentCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		b := start(t, net)
		done := make(chan struct{})
		const callers = 4
		for i := range callers {
			gateway := fmt.Sprintf("gw%d", i)
			net.answers(gateway, time.Millisecond)
			go func() {
				defer func() { done <- struct{}{} }()
				for round := range 200 {
					to := target(gateway)
					to.Interval += time.Duration(round%7) * time.Second
					to.Device = fmt.Sprintf("bgw%d", round%3)
					set := []Target{to}
					if round%11 == 0 {
						set = nil
					}
					if r, err := b.Apply(t.Context(), gateway, set); err != nil || len(r.Errors) != 0 {
						t.Errorf("apply: %v %v", r.Errors, err)
					}
					b.Reset(gateway)
					b.State(gateway)
					<-time.After(100 * time.Millisecond)
				}
			}()
		}
		for range callers {
			<-done
		}
		for i := range callers {
			b.until(fmt.Sprintf("gw%d", i), StatePassing)
		}
	})
}
