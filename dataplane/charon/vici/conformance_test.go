package vici_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func adopted(i int) string { return fmt.Sprintf("bgw-t%d", i) }

// connect returns a client over a real socket.
func connect(t *testing.T, s *charontest.Server, onEvent func(vici.Event)) *vici.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vici")
	if err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := vici.NewClient(conn, onEvent)
	t.Cleanup(c.Close)
	return c
}

// piped returns a client over a pipe, for tests in a bubble of fake time.
func piped(t *testing.T, s *charontest.Server, onEvent func(vici.Event)) *vici.Client {
	t.Helper()
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return vici.NewClient(conn, onEvent)
}

func ignore(vici.Event) {}

func TestConformanceListingLosesNothing(t *testing.T) {
	const n = 20_000
	s := charontest.New()
	s.Adopt(n, adopted, 7)
	c := connect(t, s, ignore)
	start := time.Now()
	seen := make(map[string]bool, n)
	_, err := c.Stream(t.Context(), "list-sas", "list-sa", nil, func(m *vici.Message) {
		for name, sa := range m.Sections() {
			for child := range sa.Section("child-sas").Sections() {
				seen[name+" "+child] = true
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != n {
		t.Errorf("listed %d SAs of %d", len(seen), n)
	}
	t.Logf("%d SAs listed in %v", n, time.Since(start))
}

func TestConformanceEventBetweenRegistrations(t *testing.T) {
	s := charontest.New()
	pushed := 0
	s.BeforeConfirm = func(string) {
		// Sent before the confirmation, as on a gateway with traffic.
		for range 100 {
			s.Push("log", new(vici.Message).Set("msg", fmt.Sprint(pushed)))
			pushed++
		}
	}
	var got []string
	c := connect(t, s, func(e vici.Event) { got = append(got, e.Message.Get("msg")) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, event := range []string{"log", "ike-updown", "child-updown", "child-rekey"} {
		if err := c.Register(ctx, event); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if len(got) != pushed {
		t.Fatalf("%d events of %d", len(got), pushed)
	}
	for i, msg := range got {
		if msg != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, msg)
		}
	}
	if err := c.Register(t.Context(), "log"); !errors.Is(err, vici.ErrClosed) {
		t.Errorf("registration on a closed connection: %v", err)
	}
}

func TestConformanceUnknownEventAndCommand(t *testing.T) {
	c := connect(t, charontest.New(), ignore)
	if err := c.Register(t.Context(), "alert"); !errors.Is(err, vici.ErrUnknown) {
		t.Errorf("alert on 5.9.8: %v, want ErrUnknown", err)
	}
	if _, err := c.Call(t.Context(), "make-coffee", nil); !errors.Is(err, vici.ErrUnknown) {
		t.Errorf("unknown command: %v, want ErrUnknown", err)
	}
	var refusal *vici.CommandError
	if _, err := c.Call(t.Context(), "unload-conn", new(vici.Message).Set("name", "x")); !errors.As(err, &refusal) || refusal.Message == "" {
		t.Errorf("refused command: %v, want CommandError with its message", err)
	}
	if reply, err := c.Call(t.Context(), "version", nil); err != nil || reply.Get("version") != "5.9.8" {
		t.Errorf("version: %q %v", reply.Get("version"), err)
	}
}

func TestConformanceSevenSecondCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := charontest.New()
		defer s.Close()
		s.Before = func(command string, _ *vici.Message) {
			if command == "get-shared" {
				time.Sleep(7 * time.Second)
			}
		}
		events := 0
		c := piped(t, s, func(vici.Event) { events++ })
		defer c.Close()
		if err := c.Register(t.Context(), "log"); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			s.Push("log", nil)
		}()
		start := time.Now()
		if _, err := c.Call(t.Context(), "get-shared", nil); err != nil {
			t.Fatalf("slow command: %v", err)
		}
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("took %v", d)
		}
		if events != 1 {
			t.Errorf("%d events during the command, want 1", events)
		}
		// A caller that waits less gives up, and the next one gets its own answer.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Call(ctx, "get-shared", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient caller: %v", err)
		}
		if reply, err := c.Call(t.Context(), "version", nil); err != nil || reply.Get("version") == "" {
			t.Errorf("after an abandoned command: %v %v", reply, err)
		}
		if d := time.Since(start); d != 14*time.Second {
			t.Errorf("third command done after %v, want 14s", d)
		}
	})
}

func TestConformanceCommandsDuringListing(t *testing.T) {
	const n = 5000
	s := charontest.New()
	s.Adopt(n, adopted, 7)
	c := connect(t, s, ignore)
	var listed atomic.Int32
	var tasks sync.WaitGroup
	for range 3 {
		tasks.Go(func() {
			if _, err := c.Stream(t.Context(), "list-sas", "list-sa", nil, func(*vici.Message) { listed.Add(1) }); err != nil {
				t.Error(err)
			}
		})
		for range 5 {
			tasks.Go(func() {
				if reply, err := c.Call(t.Context(), "version", nil); err != nil || reply.Get("version") != "5.9.8" {
					t.Errorf("version during a listing: %v %v", reply, err)
				}
			})
		}
	}
	tasks.Wait()
	if got := listed.Load(); got != 3*n {
		t.Errorf("three listings showed %d SAs, want %d", got, 3*n)
	}
}

func TestConformanceBrokenOffListing(t *testing.T) {
	const n = 2000
	s := charontest.New()
	s.Adopt(n, adopted, 7)
	ctx, cancel := context.WithCancel(t.Context())
	s.BetweenItems = func(i int) {
		if i == n/2 {
			cancel()
		}
	}
	strays := 0
	c := connect(t, s, func(vici.Event) { strays++ })
	var returned atomic.Bool
	_, err := c.Stream(ctx, "list-sas", "list-sa", nil, func(*vici.Message) {
		if returned.Load() {
			t.Error("item after Stream returned")
		}
	})
	returned.Store(true)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled listing: %v", err)
	}
	for range 3 {
		if reply, err := c.Call(t.Context(), "version", nil); err != nil || reply.Get("version") != "5.9.8" {
			t.Fatalf("after a broken off listing: %v %v", reply, err)
		}
	}
	listed := 0
	if _, err := c.Stream(t.Context(), "list-sas", "list-sa", nil, func(*vici.Message) { listed++ }); err != nil || listed != n {
		t.Errorf("second listing: %d SAs, %v", listed, err)
	}
	c.Close()
	if strays != 0 {
		t.Errorf("%d items taken for events", strays)
	}
}

func TestConformanceCharonKilled(t *testing.T) {
	t.Run("mid-listing", func(t *testing.T) {
		s := charontest.New()
		s.Adopt(1000, adopted, 7)
		s.BetweenItems = func(i int) {
			if i == 500 {
				s.Kill()
			}
		}
		c := connect(t, s, ignore)
		if _, err := c.Stream(t.Context(), "list-sas", "list-sa", nil, func(*vici.Message) {}); !errors.Is(err, vici.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		<-c.Done()
	})
	t.Run("mid-command", func(t *testing.T) {
		s := charontest.New()
		s.Before = func(string, *vici.Message) { s.Kill() }
		c := connect(t, s, ignore)
		var tasks sync.WaitGroup
		for range 4 {
			// One is answered by nothing, the others wait for their turn.
			tasks.Go(func() {
				if _, err := c.Call(t.Context(), "version", nil); !errors.Is(err, vici.ErrClosed) {
					t.Errorf("error %v, want ErrClosed", err)
				}
			})
		}
		tasks.Wait()
		if err := c.Err(); !errors.Is(err, vici.ErrClosed) {
			t.Errorf("Err() = %v", err)
		}
	})
}

func TestConformanceEventBurst(t *testing.T) {
	const n = 50_000
	s := charontest.New()
	next, inOrder := 0, true
	done := make(chan struct{})
	c := connect(t, s, func(e vici.Event) {
		inOrder = inOrder && e.Message.Get("msg") == fmt.Sprint(next)
		if next++; next == n {
			close(done)
		}
	})
	if err := c.Register(t.Context(), "log"); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.Push("log", new(vici.Message).Set("msg", fmt.Sprint(i)))
	}
	select {
	case <-done:
	case <-c.Done():
		t.Fatal(c.Err())
	}
	if !inOrder {
		t.Error("events out of order")
	}
}

func TestAnswerWithoutQuestionEndsConnection(t *testing.T) {
	ours, theirs := net.Pipe()
	c := vici.NewClient(ours, ignore)
	defer c.Close()
	frame, err := vici.Encode(vici.Packet{Type: vici.CmdResponse})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write(frame); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if !errors.Is(c.Err(), vici.ErrProtocol) {
		t.Errorf("Err() = %v, want a protocol violation", c.Err())
	}
	theirs.Close()
}
