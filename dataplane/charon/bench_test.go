package charon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/secret"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a driver and its charon in a bubble of fake time.
type bench struct {
	*testing.T
	s *charontest.Server
	d *Driver

	mu     sync.Mutex
	events []Event
	seen   int
}

// inBubble runs a scenario. charon is prepared before the driver connects.
func inBubble(t *testing.T, opts Options, prepare func(*charontest.Server), scenario func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		s := charontest.New()
		if prepare != nil {
			prepare(s)
		}
		opts.Dial = s.Dial
		b := &bench{T: t, s: s, d: New(opts)}
		stop := b.run()
		scenario(b)
		stop()
		s.Close()
	})
}

// run connects the driver; stop ends it.
func (b *bench) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := b.d.Run(ctx); err != nil {
			b.Errorf("Run: %v", err)
		}
	})
	tasks.Go(func() {
		b.d.Watch(ctx, func(e Event) {
			b.mu.Lock()
			b.events = append(b.events, e)
			b.mu.Unlock()
		})
	})
	synctest.Wait()
	return func() {
		cancel()
		tasks.Wait()
	}
}

// pass lets fake time pass and everything that is due happen.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) apply(gateway string, tunnels ...Tunnel) Result {
	b.Helper()
	r, err := b.d.Apply(b.Context(), gateway, tunnels)
	if err != nil {
		b.Fatalf("Apply: %v", err)
	}
	synctest.Wait()
	return r
}

// sent returns the commands since the last call that are not listings.
func (b *bench) sent() []string {
	all := b.s.Commands()
	var out []string
	for _, c := range all[b.seen:] {
		if c != "list-sas" {
			out = append(out, c)
		}
	}
	b.seen = len(all)
	return out
}

func (b *bench) count(command string) int {
	n := 0
	for _, c := range b.s.Commands() {
		if c == command {
			n++
		}
	}
	return n
}

// took returns and forgets the events of some kinds, as "Kind tunnel reason".
func (b *bench) took(kinds ...EventKind) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, e := range b.events {
		if slices.Contains(kinds, e.Kind) {
			out = append(out, strings.TrimRight(fmt.Sprintf("%v %s %s", e.Kind, e.Tunnel, e.Reason), " "))
		}
	}
	b.events = nil
	return out
}

func (b *bench) wantUp(name string, children int) State {
	b.Helper()
	st := b.d.State(name)
	if len(st.Children) != children {
		b.Errorf("tunnel %s has %d CHILD_SAs, want %d: %+v", name, len(st.Children), children, st)
	}
	return st
}

func wanted(name string) Tunnel {
	return Tunnel{
		Name: name, Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr("192.0.2.2"),
		LocalID: "192.0.2.1", RemoteID: "192.0.2.2", PSK: secret.New("open-sesame"), IfID: 7, Version: 2,
		IKEProposals: []string{"aes256gcm16-prfsha384-ecp384"}, ESPProposals: []string{"aes256gcm16-ecp384"},
		IKELifetime: 8 * time.Hour, ESPLifetime: time.Hour,
		LocalTS:     []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		RemoteTS:    []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		DPDInterval: 10 * time.Second, DPDTimeout: 30 * time.Second, ReplayWindow: 1024, Up: true, Initiate: true,
	}
}

// unload is somebody else with access to charon's socket.
func (b *bench) unload(conn string) {
	b.Helper()
	pipe, err := b.s.Dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	c := vici.NewClient(pipe, func(vici.Event) {})
	defer c.Close()
	if _, err := c.Call(b.Context(), "unload-conn", new(vici.Message).Set("name", conn)); err != nil {
		b.Fatal(err)
	}
}
