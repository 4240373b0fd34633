package agent

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

// speakers are the BGP speakers of a host without a network: customers announce what the test says. They write down what is announced
// and taken back, and whether the kernel had a route at that moment.
type speakers struct {
	kernel *netlinktest.Kernel

	mu       sync.Mutex
	gateways map[string]bgp.Speaker
	learned  map[string][]bgp.Learned
	watchers map[chan bgp.Event]bool
	diary    []string
	// refused are neighbors by name that do not come back.
	refused map[string]bool
}

var _ BGP = (*speakers)(nil)

func newSpeakers(kernel *netlinktest.Kernel) *speakers {
	return &speakers{kernel: kernel, gateways: map[string]bgp.Speaker{}, learned: map[string][]bgp.Learned{}, watchers: map[chan bgp.Event]bool{}, refused: map[string]bool{}}
}

func (f *speakers) Apply(ctx context.Context, s bgp.Speaker) (bgp.Result, error) {
	s, bad, err := bgp.Check(s)
	if err != nil {
		return bgp.Result{}, err
	}
	if ctx.Err() != nil {
		return bgp.Result{Errors: bad}, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	was, is := announcedTo(bgp.Fabric, f.gateways[s.Gateway]), announcedTo(bgp.Fabric, s)
	if maps.EqualFunc(was, is, slices.Equal) {
		f.gateways[s.Gateway] = s
		return bgp.Result{Errors: bad}, nil
	}
	routed, err := f.routed()
	if err != nil {
		return bgp.Result{}, err
	}
	for _, p := range prefixesOf(was) {
		if _, ok := is[p]; !ok {
			f.diary = append(f.diary, fmt.Sprintf("- %s %s", p, routed[p]))
		}
	}
	for _, p := range prefixesOf(is) {
		if path, ok := was[p]; !ok || !slices.Equal(path, is[p]) {
			f.diary = append(f.diary, fmt.Sprintf("+ %s %v %s", p, is[p], routed[p]))
		}
	}
	f.gateways[s.Gateway] = s
	return bgp.Result{Errors: bad}, nil
}

// routed says of the destinations that the kernel has routes for that they are "routed".
func (f *speakers) routed() (map[netip.Prefix]string, error) {
	routes, err := f.kernel.Outside().Routes(0, route.Protocol)
	out := map[netip.Prefix]string{}
	for _, r := range routes {
		if r.Metric == route.Metric && r.Type == netlink.Unicast {
			out[r.Prefix] = "routed"
		}
	}
	return out, err
}

func announcedTo(kind bgp.Kind, s bgp.Speaker) map[netip.Prefix][]uint32 {
	out := map[netip.Prefix][]uint32{}
	for _, a := range s.Announcements {
		if a.To == kind {
			out[a.Prefix] = a.ASPath
		}
	}
	return out
}

func prefixesOf(m map[netip.Prefix][]uint32) []netip.Prefix {
	var out []netip.Prefix
	for p := range m {
		out = append(out, p)
	}
	slices.SortFunc(out, bgp.ComparePrefixes)
	return out
}

func (f *speakers) Remove(_ context.Context, gateway string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.gateways, gateway)
	delete(f.learned, gateway)
	return nil
}

// Sessions are those wanted, established just now and without end of the peers' first routes.
func (f *speakers) Sessions(gateway string) []bgp.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []bgp.Session
	for _, n := range f.gateways[gateway].Neighbors {
		s := bgp.Session{Neighbor: n.Name, Kind: n.Kind, State: bgp.Established, Since: time.Now()}
		if f.refused[n.Name] {
			s.State = bgp.Active
		}
		out = append(out, s)
	}
	return out
}

// Routes are what customers have announced over sessions that exist. Like the real driver's they are shared: nobody may change them.
func (f *speakers) Routes(gateway string) []bgp.Learned {
	f.mu.Lock()
	defer f.mu.Unlock()
	sessions := map[string]bool{}
	for _, n := range f.gateways[gateway].Neighbors {
		sessions[n.Name] = true
	}
	stranger := func(p bgp.Path) bool { return !sessions[p.Neighbor] }
	if !slices.ContainsFunc(f.learned[gateway], func(l bgp.Learned) bool { return slices.ContainsFunc(l.Paths, stranger) }) {
		return f.learned[gateway]
	}
	var out []bgp.Learned
	for _, l := range f.learned[gateway] {
		if l.Paths = slices.DeleteFunc(slices.Clone(l.Paths), stranger); len(l.Paths) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// Refused: these customers announce nothing that is not accepted.
func (f *speakers) Refused(string) []bgp.Refused { return nil }

func (f *speakers) Watch(ctx context.Context, emit func(bgp.Event)) {
	events := make(chan bgp.Event, 100)
	f.mu.Lock()
	f.watchers[events] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, events)
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			emit(e)
		}
	}
}

func (f *speakers) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// restart forgets what a new process does not know.
func (f *speakers) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.gateways)
	clear(f.learned)
}

// announce has shop's customer announce exactly these prefixes, over a tunnel.
func (f *speakers) announce(tunnel string, prefixes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.learned["shop"] = nil
	for _, p := range prefixes {
		f.learned["shop"] = append(f.learned["shop"], bgp.Learned{Prefix: netip.MustParsePrefix(p),
			Paths: []bgp.Path{{Neighbor: plan.TunnelNeighbor(tunnel), Kind: bgp.Customer, ASPath: []uint32{65010, 65011}, Length: 2}}})
	}
	for events := range f.watchers {
		events <- bgp.RoutesChanged{Gateway: "shop"}
	}
}

// refuse says whether a neighbor's session comes back.
func (f *speakers) refuse(neighbor string, refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused[neighbor] = refused
	for events := range f.watchers {
		events <- bgp.SessionChanged{Gateway: "shop", Neighbor: neighbor}
	}
}

// restarts says how often a neighbor was asked to start afresh.
func (f *speakers) restarts(neighbor string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.gateways["shop"].Neighbors {
		if n.Name == neighbor {
			return n.Restarts
		}
	}
	return 0
}

// entries takes what was written down since it was last asked.
func (f *speakers) entries() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.diary
	f.diary = nil
	return out
}

// announces waits until exactly this has been announced and taken back.
func (w *world) announces(f *speakers, want ...string) {
	w.t.Helper()
	var got []string
	w.until(fmt.Sprintf("announcements %q", want), func() bool {
		got = append(got, f.entries()...)
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		w.t.Fatalf("announced %q, want %q", got, want)
	}
}

func speaking() tenant {
	t := shop()
	t.routing, t.routes, t.peer = "BGP", nil, "address: 10.0.255.1, asn: 64999"
	return t
}

func TestAnnouncementsFollowRoutes(t *testing.T) {
	for _, fault := range append(netlinktest.Faults(), "") {
		t.Run(string(fault), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				f := newSpeakers(w.kernel)
				w.speakers = f
				w.startWith(manifests(speaking()), shop1, shop2)
				f.announce(shop1, "172.17.0.0/16")
				w.announces(f, "+ 172.17.0.0/16 [65010 65011] routed")

				if fault != "" {
					w.kernel.Arm(fault)
				}
				f.announce(shop1, "172.17.0.0/16", "172.18.0.0/16")
				w.announces(f, "+ 172.18.0.0/16 [65010 65011] routed")
				f.announce(shop1, "172.18.0.0/16")
				w.announces(f, "- 172.17.0.0/16 routed")
				w.until("no route", func() bool { return w.devicesOf("shop", "172.17.0.0/16") == nil })

				// The kernel loses the route with its last nexthop, which is the first that happens.
				w.charon.PeerDies("bgw-" + shop1)
				w.announces(f, "- 172.18.0.0/16 ")
				w.up(shop1)
				w.announces(f, "+ 172.18.0.0/16 [65010 65011] routed")
			})
		})
	}
}

func TestRoutesFromBeforeAreAnnounced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := newSpeakers(w.kernel)
		w.speakers = f
		w.startWith(manifests(speaking()), shop1, shop2)
		f.announce(shop1, "172.17.0.0/16", "172.18.0.0/16")
		w.announces(f, "+ 172.17.0.0/16 [65010 65011] routed", "+ 172.18.0.0/16 [65010 65011] routed")
		w.stop()
		f.restart()
		w.start()
		w.announces(f, "+ 172.17.0.0/16 [65010] routed", "+ 172.18.0.0/16 [65010] routed")
		f.announce(shop1, "172.18.0.0/16")
		w.announces(f, "+ 172.18.0.0/16 [65010 65011] routed")
		w.announces(f, "- 172.17.0.0/16 routed")
	})
}
