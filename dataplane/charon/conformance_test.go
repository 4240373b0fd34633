package charon

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
)

// onSocket runs a driver over a real socket and returns it with a channel of its events.
func onSocket(t *testing.T, s *charontest.Server) (*Driver, <-chan Event) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vici")
	if err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Socket: path})
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan Event, 200_000)
	var tasks sync.WaitGroup
	tasks.Go(func() { d.Watch(ctx, func(e Event) { events <- e }) })
	await(t, events, Resync, "")
	tasks.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
		s.Close()
	})
	await(t, events, Resync, "")
	return d, events
}

func await(t *testing.T, events <-chan Event, kind EventKind, tunnel string) Event {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if e.Kind == kind && e.Tunnel == tunnel {
				return e
			}
		case <-deadline:
			t.Fatalf("no %v for %q within a minute", kind, tunnel)
		}
	}
}

func TestConformanceDriverListsTwentyThousand(t *testing.T) {
	const n = 20_000
	s := charontest.New()
	s.Adopt(n, func(i int) string { return fmt.Sprintf("bgw-t%d", i) }, 7)
	start := time.Now()
	d, _ := onSocket(t, s)
	t.Logf("connected and listed %d SAs in %v", n, time.Since(start))
	for i := range n {
		if st := d.State(fmt.Sprintf("t%d", i)); len(st.Children) != 1 || st.IKE != IKEEstablished {
			t.Fatalf("tunnel %d: %+v", i, st)
		}
	}
	if err := d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Refresh(ctx); err == nil {
		t.Error("a listing that was broken off is no error")
	}
	if st := d.State("t19999"); !st.Up() {
		t.Error("a listing that was broken off removed SAs")
	}
}

func TestConformanceDriverEventBurst(t *testing.T) {
	const n = 50_000
	s := charontest.New()
	d, events := onSocket(t, s)
	quiet := wanted("a")
	quiet.Initiate = false
	if _, err := d.Apply(t.Context(), "gw", []Tunnel{quiet}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.Push("log", new(vici.Message).Set("ikesa-name", "bgw-a").Set("ikesa-uniqueid", "1").Set("msg", fmt.Sprint(i)))
	}
	next := 0
	for next < n {
		e := <-events
		switch e.Kind {
		case LogLine:
			if e.Message != fmt.Sprint(next) {
				t.Fatalf("event %d is %s", next, e.Message)
			}
			next++
		case Resync:
			t.Logf("Resync after %d events", next)
			return
		}
	}
}

func TestConformanceDriverKilledMidListing(t *testing.T) {
	s := charontest.New()
	s.Adopt(2000, func(i int) string { return fmt.Sprintf("bgw-t%d", i) }, 7)
	var once sync.Once
	armed := make(chan struct{})
	s.BetweenItems = func(i int) {
		select {
		case <-armed:
			if i == 1000 {
				once.Do(func() {
					s.Kill()
					s.Start()
				})
			}
		default:
		}
	}
	d, events := onSocket(t, s)
	close(armed)
	if err := d.Refresh(t.Context()); err == nil {
		t.Error("listing of a killed charon is no error")
	}
	await(t, events, Disconnected, "")
	await(t, events, Resync, "")
	if d.State("t7").Up() {
		t.Error("SAs of the killed charon are still up")
	}
}

func TestConformanceDriverEventsBetweenRegistrations(t *testing.T) {
	s := charontest.New()
	s.Adopt(1, func(int) string { return "bgw-a" }, 7)
	pushed := 0
	s.BeforeConfirm = func(event string) {
		if event == "child-rekey" {
			s.Push("log", new(vici.Message).Set("ikesa-name", "bgw-a").Set("ikesa-uniqueid", "1").Set("msg", "x"))
			s.Push("child-updown", nil)
			pushed++
		}
	}
	d, _ := onSocket(t, s)
	if pushed != 1 || !d.State("a").Up() {
		t.Errorf("pushed %d, state %+v", pushed, d.State("a"))
	}
}
