package source

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// bench runs a File's loop inside a synctest bubble, over a folder whose content the test decides.
type bench struct {
	file  *File
	hints chan struct{}

	mu       sync.Mutex // The loop's goroutine and the test's take turns, but the race detector wants to see it.
	set      *apiv1.Set
	findings []*apiv1.Finding
	reads    int
	watched  int
	emitted  []*apiv1.Set
	changes  []*apiv1.SourceStatus
	down     []string
	start    time.Time
}

func inBench(t *testing.T, test func(*testing.T, *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{hints: make(chan struct{}, 1), set: set("t1"), start: time.Now()}
		b.file = NewFile(FileOptions{
			Dir: "/m", Log: slog.New(slog.DiscardHandler),
			Load: func(string) (*apiv1.Set, []*apiv1.Finding) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.reads++
				if b.watched != b.reads {
					t.Error("the folder was read before it was watched")
				}
				return b.set, b.findings
			},
			LocallyDown: func(tunnel string) bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return slices.Contains(b.down, tunnel)
			},
			Changed: func(s *apiv1.SourceStatus) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.changes = append(b.changes, s)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.file.loop(ctx, b.hints, func() { b.watched++ }, func(s *apiv1.Set) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.emitted = append(b.emitted, s)
			})
		}()
		synctest.Wait()
		test(t, b)
		cancel()
		<-done
	})
}

// set is a Set of tunnels that are UP.
func set(names ...string) *apiv1.Set {
	s := apiv1.NewSet()
	for _, name := range names {
		s.Tunnels[name] = &apiv1.VPNTunnel{Name: name, Spec: &apiv1.VPNTunnelSpec{AdminState: apiv1.AdminStateUp}}
	}
	return s
}

// after hints once and lets time pass.
func (b *bench) after(d time.Duration) {
	b.hints <- struct{}{}
	time.Sleep(d) // Fake time.
	synctest.Wait()
}

func (b *bench) expect(t *testing.T, reads int, emitted ...*apiv1.Set) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reads != reads {
		t.Errorf("%d readings, want %d", b.reads, reads)
	}
	if !slices.EqualFunc(b.emitted, emitted, (*apiv1.Set).Equal) {
		t.Errorf("%d Sets were emitted, want %d, or others", len(b.emitted), len(emitted))
	}
}

func (b *bench) expectStatus(t *testing.T, want *apiv1.SourceStatus) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	want.Source = "file:/m"
	if diff := cmp.Diff(want, b.file.Status(), protocmp.Transform()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if n := len(b.changes); n == 0 || cmp.Diff(want, b.changes[n-1], protocmp.Transform()) != "" {
		t.Errorf("the last change told is not the status: %v", b.changes)
	}
}

func (b *bench) at(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(b.start.Add(d)) }

func TestReadsAtOnceAndEmitsOnlyWhatIsNew(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		b.expect(t, 1, set("t1"))
		b.expectStatus(t, &apiv1.SourceStatus{Generation: 1, Accepted: b.at(0)})

		b.set = set("t1")
		b.after(time.Second)
		b.expect(t, 2, set("t1"))

		b.set = set("t1")
		b.set.SetPSK("t1", secret.New("another-key"))
		b.after(time.Second)
		b.expect(t, 3, set("t1"), b.set)

		b.set = set("t1", "t2")
		b.after(time.Second)
		b.expect(t, 4, set("t1"), b.emitted[1], set("t1", "t2"))
		b.expectStatus(t, &apiv1.SourceStatus{Generation: 3, Accepted: b.at(2*time.Second + 100*time.Millisecond)})
		if len(b.changes) != 3 {
			t.Errorf("%d changes of the status, want 3: %v", len(b.changes), b.changes)
		}
	})
}

func TestTheLastGoodSetStays(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		bad := &apiv1.Finding{File: "/m/a.yaml", Line: 3, Message: "is wrong"}
		unwise := &apiv1.Finding{File: "/m/a.yaml", Line: 4, Message: "is unwise", Warning: true}
		b.set, b.findings = nil, []*apiv1.Finding{bad}
		b.after(time.Second)
		refused := &apiv1.SourceStatus{Generation: 1, Accepted: b.at(0), Refused: b.at(100 * time.Millisecond), Findings: []*apiv1.Finding{bad}}
		b.expectStatus(t, refused)

		b.after(time.Second)
		b.expect(t, 3, set("t1"))
		b.expectStatus(t, refused)
		if len(b.changes) != 2 {
			t.Errorf("%d changes of the status, want 2", len(b.changes))
		}

		b.set, b.findings = set("t1"), []*apiv1.Finding{unwise}
		b.after(time.Second)
		b.expect(t, 4, set("t1"))
		b.expectStatus(t, &apiv1.SourceStatus{Generation: 1, Accepted: b.at(0), Findings: []*apiv1.Finding{unwise}})
	})
}

func TestAChangeThatIsNotAllowedIsRefused(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		b.set = apiv1.NewSet()
		b.after(time.Second)
		b.expect(t, 2, set("t1"))
		b.expectStatus(t, &apiv1.SourceStatus{Generation: 1, Accepted: b.at(0), Refused: b.at(100 * time.Millisecond), Findings: []*apiv1.Finding{
			{Object: "VPNTunnel/t1", Message: "can be deleted only when its adminState is DOWN: set that first"},
		}})

		down := set("t1")
		down.Tunnels["t1"].Spec.AdminState = apiv1.AdminStateDown
		b.set = down
		b.after(time.Second)
		b.set = apiv1.NewSet()
		b.after(time.Second)
		b.expect(t, 4, set("t1"), down, apiv1.NewSet())
	})
}

func TestDebounce(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		for range 5 {
			b.after(60 * time.Millisecond)
		}
		b.expect(t, 1, set("t1"))
		b.after(99 * time.Millisecond)
		b.expect(t, 1, set("t1"))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		b.expect(t, 2, set("t1"))
	})
}

func TestSteadyWritingDoesNotPutOffAReadingForever(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		for range 25 {
			b.after(90 * time.Millisecond)
		}
		if b.reads < 3 {
			t.Errorf("%d readings in 2.25 s of steady writing, want the first and one per second", b.reads)
		}
	})
}

func TestRereadAndInterval(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		b.file.Reread()
		synctest.Wait()
		b.expect(t, 2, set("t1"))
		for range 3 {
			b.file.Reread()
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if b.reads < 4 || b.reads > 6 {
			t.Errorf("%d readings, want one or more for the requests and one for the interval", b.reads)
		}
	})
}

func TestWithoutNotificationsTheIntervalDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		emitted := make(chan *apiv1.Set, 10)
		var next atomic.Pointer[apiv1.Set]
		next.Store(set("t1"))
		f := NewFile(FileOptions{Dir: "/m", Log: slog.New(slog.DiscardHandler), Interval: time.Minute, Load: func(string) (*apiv1.Set, []*apiv1.Finding) {
			return next.Load(), nil
		}})
		f.watch = func(string) (*watcher, error) { return nil, errors.New("too many open files") }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx, func(s *apiv1.Set) { emitted <- s }) }()
		<-emitted
		synctest.Wait()
		next.Store(set("t1", "t2"))
		changed := time.Now()
		if s := <-emitted; !s.Equal(next.Load()) || time.Since(changed) > time.Minute {
			t.Errorf("the change showed after %s", time.Since(changed))
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestLocallyDownTunnelMayBeRemoved: what an operator took down on this host is DOWN for the rules about changes.
func TestLocallyDownTunnelMayBeRemoved(t *testing.T) {
	inBench(t, func(t *testing.T, b *bench) {
		both, one := set("t1", "t2"), set("t1")
		b.mu.Lock()
		b.set = both
		b.mu.Unlock()
		b.after(time.Second)
		b.expect(t, 2, set("t1"), both)
		b.mu.Lock()
		b.set = one
		b.mu.Unlock()
		b.after(time.Second)
		b.expect(t, 3, set("t1"), both)
		b.mu.Lock()
		b.down = []string{"t2"}
		b.mu.Unlock()
		b.after(time.Second)
		b.expect(t, 4, set("t1"), both, one)
		if both.Tunnels["t2"].GetSpec().GetAdminState() != apiv1.AdminStateUp {
			t.Error("the Set in force was changed")
		}
	})
}
