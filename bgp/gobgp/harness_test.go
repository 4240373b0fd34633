package gobgp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
	"go.uber.org/goleak"

	"github.com/bordergw/bordergw/bgp"
)

const patience = 20 * time.Second

var us = netip.MustParseAddr("127.0.0.1")

// bench is a driver with real GoBGP servers around it, on loopback addresses.
type bench struct {
	*testing.T
	d    *Driver
	port uint16
}

func newBench(t *testing.T, opts Options) *bench {
	t.Helper()
	t.Cleanup(func() {
		// GoBGP empties a stopped peer's queue without waiting for the goroutine that fills it; now and then one is left behind.
		goleak.VerifyNone(t, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
	})
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	b := &bench{T: t, d: New(opts), port: freePort(t)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
		if err := b.d.Close(context.Background(), false); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return b
}

// run makes f a subtest, whose failures are its own.
func (b *bench) run(name string, f func()) {
	b.T.Run(name, func(t *testing.T) {
		outer := b.T
		b.T = t
		defer func() { b.T = outer }()
		f()
	})
}

func freePort(t *testing.T) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// speaker returns gateway "gw" at 127.0.0.1 with AS 65000.
func (b *bench) speaker(neighbors ...bgp.Neighbor) bgp.Speaker {
	return bgp.Speaker{
		Gateway: "gw", ASN: 65000, RouterID: netip.MustParseAddr("10.255.0.1"),
		ListenAddresses: []netip.Addr{us}, Port: b.port, Neighbors: neighbors,
	}
}

func (b *bench) apply(s bgp.Speaker) {
	b.Helper()
	r, err := b.d.Apply(b.Context(), s)
	if err != nil || len(r.Errors) > 0 {
		b.Fatalf("Apply() = %v, %v", r, err)
	}
}

// eventually waits until f returns an empty string, which otherwise says what is wrong.
func (b *bench) eventually(f func() string) {
	b.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		wrong := f()
		if wrong == "" {
			return
		}
		select {
		case <-deadline:
			b.Fatalf("after %v: %s", patience, wrong)
		case <-tick.C:
		}
	}
}

func (b *bench) session(gateway, neighbor string) bgp.Session {
	for _, s := range b.d.Sessions(gateway) {
		if s.Neighbor == neighbor {
			return s
		}
	}
	return bgp.Session{}
}

func (b *bench) established(gateway string, neighbors ...string) {
	b.Helper()
	b.eventually(func() string {
		for _, n := range neighbors {
			if s := b.session(gateway, n); s.State != bgp.Established {
				return fmt.Sprintf("session %s is %+v", n, s)
			}
		}
		return ""
	})
}

// learns waits until the learned routes are these: "prefix: neighbor neighbor".
func (b *bench) learns(gateway string, want ...string) {
	b.Helper()
	b.eventually(func() string {
		got := []string{}
		for _, l := range b.d.Routes(gateway) {
			s := l.Prefix.String() + ":"
			for _, p := range l.Paths {
				s += " " + p.Neighbor
			}
			got = append(got, s)
		}
		slices.Sort(got)
		slices.Sort(want)
		if slices.Equal(got, want) {
			return ""
		}
		return cmp.Diff(want, got)
	})
}

// router is somebody else's BGP speaker.
type router struct {
	b    *bench
	s    *server.BgpServer
	addr netip.Addr
	asn  uint32
	conf *api.Peer
}

type routerOption func(*api.Peer)

// router starts a speaker at 127.0.0.<host> that has us for its only peer and accepts and announces everything.
func (b *bench) router(host int, asn uint32, options ...routerOption) *router {
	b.Helper()
	return b.routerWithID(host, asn, netip.AddrFrom4([4]byte{10, 255, 1, byte(host)}), options...)
}

func (b *bench) routerWithID(host int, asn uint32, id netip.Addr, options ...routerOption) *router {
	b.Helper()
	addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(host)})
	s, err := b.d.servers.start(b.Context(), slog.New(slog.NewTextHandler(io.Discard, nil)),
		identity{asn: asn, routerID: id, listen: []netip.Addr{addr}, port: b.port})
	if err != nil {
		b.Fatal(err)
	}
	r := &router{b: b, s: s, addr: addr, asn: asn}
	b.Cleanup(func() { r.stop() })
	r.conf = &api.Peer{
		Conf:   &api.PeerConf{NeighborAddress: us.String(), PeerAsn: 65000, AllowOwnAsn: 5, AllowAspathLoopLocal: true},
		Timers: &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1, IdleHoldTimeAfterReset: 1}},
		// It does not dial: when two GoBGP speakers connect to each other at once, each may wait for ever on the connection
		// that the other has given up, and this one has nobody to notice.
		Transport: &api.Transport{LocalAddress: addr.String(), RemotePort: uint32(b.port), PassiveMode: true},
	}
	for _, afi := range []api.Family_Afi{api.Family_AFI_IP, api.Family_AFI_IP6} {
		r.conf.AfiSafis = append(r.conf.AfiSafis, &api.AfiSafi{Config: &api.AfiSafiConfig{
			Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true,
		}})
	}
	for _, o := range options {
		o(r.conf)
	}
	if err := s.AddPeer(b.Context(), &api.AddPeerRequest{Peer: r.conf}); err != nil {
		b.Fatal(err)
	}
	return r
}

func (r *router) stop() {
	if r.s != nil {
		if err := r.b.d.servers.stop(context.Background(), r.s); err != nil {
			r.b.Error(err)
		}
		r.s = nil
	}
}

// vanish ends the router without a word to its peers.
func (r *router) vanish() {
	r.b.Helper()
	if err := r.s.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true}); err != nil {
		r.b.Fatal(err)
	}
	r.s.Stop()
	r.b.d.servers.forget(r.s)
	r.s = nil
}

func withPassword(p string) routerOption { return func(c *api.Peer) { c.Conf.AuthPassword = p } }
func dialing(c *api.Peer)                { c.Transport.PassiveMode = false }

// neighbor returns how our speaker sees the router.
func (r *router) neighbor(name string, kind bgp.Kind) bgp.Neighbor {
	return bgp.Neighbor{
		Name: name, Kind: kind, Address: r.addr, LocalAddress: us, PeerASN: r.asn, Port: r.b.port,
		Keepalive: time.Second, Hold: 3 * time.Second, IPv4: true, IPv6: true,
	}
}

// route is what a router announces.
type route struct {
	prefix string
	path   []uint32 // beyond its own AS
	med    uint32
	origin uint8
}

func (r *router) path(a route) *apiutil.Path {
	r.b.Helper()
	prefix := netip.MustParsePrefix(a.prefix)
	p, err := localPath(prefix, bgp.Originated{})
	if err != nil {
		r.b.Fatal(err)
	}
	attrs := []gobgpbgp.PathAttributeInterface{
		gobgpbgp.NewPathAttributeOrigin(a.origin),
		p.Attrs[1],
		gobgpbgp.NewPathAttributeMultiExitDisc(a.med),
		gobgpbgp.NewPathAttributeLocalPref(777),
	}
	if len(a.path) > 0 {
		attrs = append(attrs, asPath(a.path))
	}
	p.Attrs = attrs
	return p
}

func (r *router) announce(routes ...route) {
	r.b.Helper()
	// A route that appears while GoBGP enters Established is lost (see settled); here nobody repeats it.
	r.b.eventually(func() string {
		switch s := r.peer().GetSessionState(); s {
		case api.PeerState_SESSION_STATE_OPENSENT, api.PeerState_SESSION_STATE_OPENCONFIRM:
			return s.String()
		}
		return ""
	})
	var paths []*apiutil.Path
	for _, a := range routes {
		paths = append(paths, r.path(a))
	}
	if _, err := r.s.AddPath(apiutil.AddPathRequest{Paths: paths}); err != nil {
		r.b.Fatal(err)
	}
}

func (r *router) withdraw(prefix string) {
	r.b.Helper()
	p := r.path(route{prefix: prefix})
	p.Withdrawal = true
	if err := r.s.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{p}}); err != nil {
		r.b.Fatal(err)
	}
}

// table returns what the router has from us, as "prefix via nexthop path 1 2 3 med 5".
func (r *router) table() []string {
	var l []string
	for _, family := range []gobgpbgp.Family{gobgpbgp.RF_IPv4_UC, gobgpbgp.RF_IPv6_UC} {
		_ = r.s.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_ADJ_IN, Name: us.String(), Family: family},
			func(prefix gobgpbgp.NLRI, paths []*apiutil.Path) {
				for _, p := range paths {
					l = append(l, describe(prefix, p))
				}
			})
	}
	slices.Sort(l)
	return l
}

func describe(prefix gobgpbgp.NLRI, p *apiutil.Path) string {
	var path bgp.Path
	readAttributes(p.Attrs, &path)
	s := fmt.Sprintf("%v via %v path %v", prefix, path.NextHop, path.ASPath)
	for _, a := range p.Attrs {
		switch a := a.(type) {
		case *gobgpbgp.PathAttributeMultiExitDisc:
			s += fmt.Sprintf(" med %d", a.Value)
		case *gobgpbgp.PathAttributeLocalPref:
			s += fmt.Sprintf(" pref %d", a.Value)
		case *gobgpbgp.PathAttributeOrigin, *gobgpbgp.PathAttributeAsPath, *gobgpbgp.PathAttributeNextHop,
			*gobgpbgp.PathAttributeMpReachNLRI:
		default:
			s += " " + strings.TrimSpace(a.String())
		}
	}
	if p.Stale {
		s += " stale"
	}
	return s
}

// has waits until the router's table from us is this.
func (r *router) has(want ...string) {
	r.b.Helper()
	slices.Sort(want)
	r.b.eventually(func() string {
		got := r.table()
		if slices.Equal(got, want) {
			return ""
		}
		return cmp.Diff(want, got)
	})
}

// peer returns the router's own view of its session with us.
func (r *router) peer() *api.PeerState {
	var s *api.PeerState
	_ = r.s.ListPeer(r.b.Context(), &api.ListPeerRequest{}, func(p *api.Peer) { s = p.GetState() })
	return s
}

// notifications collects why the router's sessions end, from now on.
func (r *router) notifications() <-chan string {
	r.b.Helper()
	c := make(chan string, 100)
	err := r.s.WatchEvent(r.b.Context(), server.WatchEventMessageCallbacks{
		OnPeerUpdate: func(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
			if m := e.Peer.State.DisconnectMessage; strings.Contains(m, "notification") {
				c <- m
			}
		},
	}, server.WatchPeer())
	if err != nil {
		r.b.Fatal(err)
	}
	return c
}

func prefixes(l ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range l {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func announcements(to bgp.Kind, l ...string) []bgp.Announcement {
	var out []bgp.Announcement
	for _, p := range prefixes(l...) {
		out = append(out, bgp.Announcement{Prefix: p, To: to})
	}
	return out
}

// passOn returns announcements of learned routes.
func passOn(to bgp.Kind, path []uint32, l ...string) []bgp.Announcement {
	out := announcements(to, l...)
	for i := range out {
		out[i].ASPath = path
	}
	return out
}

// gracefulRestart makes a router speak graceful restart; restarting says that it has just done so.
func gracefulRestart(restarting bool) routerOption {
	return func(c *api.Peer) {
		c.GracefulRestart = &api.GracefulRestart{Enabled: true, RestartTime: 60, DeferralTime: 1, LocalRestarting: restarting}
		for _, f := range c.AfiSafis {
			f.MpGracefulRestart = &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}}
		}
	}
}
