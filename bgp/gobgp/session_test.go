package gobgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/internal/secret"
)

func TestRemovedNeighborGetsACeaseAtOnce(t *testing.T) {
	b := newBench(t, Options{})
	r1, r2 := b.router(11, 65010), b.router(12, 65020)
	n1, n2 := r1.neighbor("tunnel/a", bgp.Customer), r2.neighbor("tunnel/b", bgp.Customer)
	n1.Hold, n1.Keepalive = 90*time.Second, 30*time.Second
	s := b.speaker(n1, n2)
	s.Announcements = announcements(bgp.Customer, "10.0.0.0/16")
	b.apply(s)
	b.established("gw", "tunnel/a", "tunnel/b")
	r1.announce(route{prefix: "172.16.0.0/16"})
	r2.announce(route{prefix: "172.16.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a tunnel/b")
	r1.has("10.0.0.0/16 via 127.0.0.1 path [65000]")

	why := r1.notifications()
	start := time.Now()
	s.Neighbors = []bgp.Neighbor{n2}
	b.apply(s)
	select {
	case m := <-why:
		t.Logf("%q %v after Apply began", m, time.Since(start))
		if !strings.Contains(m, "notification-received code 6(cease)") {
			t.Errorf("the peer's session ended with %q", m)
		}
	case <-time.After(patience):
		t.Fatal("no notification")
	}
	r1.has()
	b.learns("gw", "172.16.0.0/16: tunnel/b")

	start = time.Now()
	s.Neighbors = []bgp.Neighbor{n1, n2}
	b.apply(s)
	b.established("gw", "tunnel/a")
	b.learns("gw", "172.16.0.0/16: tunnel/a tunnel/b")
	t.Logf("routes are back %v after the neighbor", time.Since(start))
}

func TestPrefixLimit(t *testing.T) { testPrefixLimit(t, 0) }

func testPrefixLimit(t *testing.T, restart time.Duration) {
	t.Helper()
	var options []routerOption
	if restart > 0 {
		options = append(options, gracefulRestart(false))
	}
	b := newBench(t, Options{RetryFirst: 2 * time.Second, RetryMax: time.Hour})
	r1, r2 := b.router(11, 65010, options...), b.router(12, 65020)
	n1, n2 := r1.neighbor("tunnel/a", bgp.Customer), r2.neighbor("tunnel/b", bgp.Customer)
	n1.MaxPrefixes, n1.RestartTime = 3, restart
	b.apply(b.speaker(n1, n2))
	b.established("gw", "tunnel/a", "tunnel/b")
	r2.announce(route{prefix: "172.30.0.0/16"})
	r1.announce(route{prefix: "172.16.0.0/16"}, route{prefix: "172.17.0.0/16"}, route{prefix: "127.9.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/a", "172.30.0.0/16: tunnel/b")

	why := r1.notifications()
	r1.announce(route{prefix: "172.18.0.0/16"})
	b.learns("gw", "172.30.0.0/16: tunnel/b")
	if m := <-why; !strings.Contains(m, "cease") || !strings.Contains(m, "maximum number of prefixes reached") {
		t.Errorf("the peer was told %q", m)
	}
	b.eventually(func() string {
		s := b.session("gw", "tunnel/a")
		if s.State == bgp.Idle && strings.HasPrefix(s.Message, "more than 3 prefixes announced, next attempt at ") {
			return ""
		}
		return fmt.Sprintf("session %+v", s)
	})
	// Applying the same again does not cut the wait short.
	b.apply(b.speaker(n1, n2))
	if s := b.session("gw", "tunnel/a"); s.State != bgp.Idle {
		t.Errorf("the wait was cut short: %+v", s)
	}
	r1.withdraw("172.16.0.0/16")
	b.established("gw", "tunnel/a")
	b.learns("gw", "172.17.0.0/16: tunnel/a", "172.18.0.0/16: tunnel/a", "172.30.0.0/16: tunnel/b")

	// A second time the wait doubles, and a new limit ends it.
	r1.announce(route{prefix: "172.16.0.0/16"})
	b.learns("gw", "172.30.0.0/16: tunnel/b")
	n1.MaxPrefixes = 4
	b.apply(b.speaker(n1, n2))
	b.established("gw", "tunnel/a")
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/a", "172.18.0.0/16: tunnel/a", "172.30.0.0/16: tunnel/b")
}

func TestPrefixLimitChangesLive(t *testing.T) {
	b := newBench(t, Options{})
	r := b.router(11, 65010)
	n := r.neighbor("tunnel/a", bgp.Customer)
	n.MaxPrefixes = 1
	b.apply(b.speaker(n))
	b.established("gw", "tunnel/a")
	since := b.session("gw", "tunnel/a").Since
	n.MaxPrefixes = 5
	b.apply(b.speaker(n))
	r.announce(route{prefix: "172.16.0.0/16"}, route{prefix: "172.17.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/a")
	if got := b.session("gw", "tunnel/a").Since; got != since {
		t.Errorf("the session was disturbed: since %v, was %v", got, since)
	}
	n.MaxPrefixes = 1
	b.apply(b.speaker(n))
	b.learns("gw")
}

func TestPassword(t *testing.T) {
	b := newBench(t, Options{})
	// One peer only listens and the other only dials, so that the keys of our dialer and of our listener are both needed.
	r1, r2 := b.router(11, 65010, withPassword("one")), b.router(12, 65020, withPassword("two"), dialing)
	n1, n2 := r1.neighbor("tunnel/a", bgp.Customer), r2.neighbor("tunnel/b", bgp.Customer)
	n1.Password, n2.Password = secret.New("one"), secret.New("two")
	n2.Port = 1 // where nobody listens
	b.apply(b.speaker(n1, n2))
	b.established("gw", "tunnel/a", "tunnel/b")

	// Without a password on both sides: the listener must have forgotten the key.
	r2.conf.Conf.AuthPassword = ""
	if _, err := r2.s.UpdatePeer(t.Context(), &api.UpdatePeerRequest{Peer: r2.conf}); err != nil {
		t.Fatal(err)
	}
	n2.Password = secret.Secret{}
	b.apply(b.speaker(n1, n2))
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/b"); s.State != bgp.Established || r2.peer().GetSessionState() != api.PeerState_SESSION_STATE_ESTABLISHED {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	n1.Password = secret.New(strings.Repeat("x", 81))
	res, err := b.d.Apply(t.Context(), b.speaker(n1, n2))
	if err != nil || res.Errors["tunnel/a"] == nil || strings.Contains(res.Errors["tunnel/a"].Error(), "xx") {
		t.Errorf("Apply() with a long password = %v, %v", res, err)
	}
}

func TestTwoGatewaysWithTheSameAddressesDoNotMix(t *testing.T) {
	b := newBench(t, Options{})
	r1 := b.router(11, 65010)
	n1 := r1.neighbor("tunnel/a", bgp.Customer)
	s1 := b.speaker(n1)
	s1.Announcements = announcements(bgp.Customer, "10.0.0.0/16")
	b.port = freePort(t)
	r2 := b.router(11, 65010)
	s2 := b.speaker(r2.neighbor("tunnel/z", bgp.Customer))
	s2.Gateway, s2.Announcements = "other", announcements(bgp.Customer, "10.1.0.0/16")
	b.apply(s1)
	b.apply(s2)
	b.established("gw", "tunnel/a")
	b.established("other", "tunnel/z")
	r1.announce(route{prefix: "172.16.0.0/16"})
	r2.announce(route{prefix: "172.16.0.0/16"}, route{prefix: "172.17.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a")
	b.learns("other", "172.16.0.0/16: tunnel/z", "172.17.0.0/16: tunnel/z")
	r1.has("10.0.0.0/16 via 127.0.0.1 path [65000]")
	r2.has("10.1.0.0/16 via 127.0.0.1 path [65000]")
	if err := b.d.Remove(t.Context(), "gw"); err != nil {
		t.Fatal(err)
	}
	r1.has()
	b.learns("other", "172.16.0.0/16: tunnel/z", "172.17.0.0/16: tunnel/z")
	b.learns("gw")
	b.established("other", "tunnel/z")
}

func TestChangesThatNeedANewSession(t *testing.T) {
	b := newBench(t, Options{})
	r1, r2 := b.router(11, 65010), b.router(12, 65020)
	n1, n2 := r1.neighbor("tunnel/a", bgp.Customer), r2.neighbor("tunnel/b", bgp.Customer)
	s := b.speaker(n1, n2)
	b.apply(s)
	b.established("gw", "tunnel/a", "tunnel/b")
	r1.announce(route{prefix: "172.16.0.0/16"})
	r2.announce(route{prefix: "2001:db8::/48"}, route{prefix: "172.17.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/b", "2001:db8::/48: tunnel/b")
	since := b.session("gw", "tunnel/a").Since

	s.Neighbors = []bgp.Neighbor{n1, n2}
	s.Neighbors[1].IPv6 = false
	b.apply(s)
	b.established("gw", "tunnel/b")
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/b")
	if got := b.session("gw", "tunnel/a").Since; got != since {
		t.Error("the other session was disturbed")
	}

	s.RouterID = netip.MustParseAddr("10.255.0.2")
	b.apply(s)
	b.established("gw", "tunnel/a", "tunnel/b")
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/b")
	if got := r1.peer().GetRouterId(); got != "10.255.0.2" {
		t.Errorf("the peer sees router ID %v", got)
	}
}

func TestMessages(t *testing.T) {
	b := newBench(t, Options{})
	wrongASN, good := b.router(11, 65010), b.router(13, 65030)
	n1 := wrongASN.neighbor("tunnel/wrong-asn", bgp.Customer)
	n1.PeerASN = 65011
	nobody := n1
	nobody.Name, nobody.Address = "tunnel/nobody", netip.MustParseAddr("127.0.0.12")
	b.apply(b.speaker(n1, nobody, good.neighbor("tunnel/good", bgp.Customer)))
	b.established("gw", "tunnel/good")
	for neighbor, want := range map[string]string{
		"tunnel/wrong-asn": "bad peer as",
		"tunnel/nobody":    "connection refused",
	} {
		b.eventually(func() string {
			if s := b.session("gw", neighbor); !strings.Contains(strings.ToLower(s.Message), want) {
				return fmt.Sprintf("message of %s is %q, want %q in it", neighbor, s.Message, want)
			}
			return ""
		})
	}
	if m := b.session("gw", "tunnel/good").Message; m != "" {
		t.Errorf("message of a session that is well: %q", m)
	}
	good.stop()
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/good"); !strings.HasPrefix(s.Message, "closed by the peer: ") {
			return fmt.Sprintf("message is %q", s.Message)
		}
		return ""
	})
}

func TestBadNeighborsDoNotStopTheOthers(t *testing.T) {
	b := newBench(t, Options{})
	r := b.router(11, 65010)
	good := r.neighbor("tunnel/a", bgp.Customer)
	ibgp, twin := good, good
	ibgp.Name, ibgp.PeerASN, ibgp.Address = "tunnel/ibgp", 65000, netip.MustParseAddr("127.0.0.30")
	twin.Name = "tunnel/twin"
	res, err := b.d.Apply(t.Context(), b.speaker(twin, ibgp, good))
	if err != nil || len(res.Errors) != 2 || res.Errors["tunnel/ibgp"] == nil || res.Errors["tunnel/twin"] == nil {
		t.Errorf("Apply() = %v, %v", res, err)
	}
	b.established("gw", "tunnel/a")
	s := b.speaker(good)
	s.ASN = 0
	if _, err := b.d.Apply(t.Context(), s); err == nil || !strings.Contains(err.Error(), "asn") {
		t.Errorf("Apply() with ASN 0 = %v", err)
	}
	b.established("gw", "tunnel/a")
}

func TestPortInUseIsAnErrorAndGoesAway(t *testing.T) {
	b := newBench(t, Options{})
	r := b.router(11, 65010)
	l, err := net.Listen("tcp", netip.AddrPortFrom(us, b.port).String())
	if err != nil {
		t.Fatal(err)
	}
	s := b.speaker(r.neighbor("tunnel/a", bgp.Customer))
	if _, err := b.d.Apply(t.Context(), s); err == nil {
		t.Error("no error though the port is in use")
	}
	l.Close()
	b.apply(s)
	b.established("gw", "tunnel/a")
}

func TestEvents(t *testing.T) {
	b := newBench(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan bgp.Event, 1000), make(chan struct{})
	go func() {
		defer close(done)
		b.d.Watch(ctx, func(e bgp.Event) { events <- e })
	}()
	b.eventually(func() string {
		b.d.mu.Lock()
		defer b.d.mu.Unlock()
		if len(b.d.watchers) == 0 {
			return "nobody watches"
		}
		return ""
	})
	r := b.router(11, 65010)
	b.apply(b.speaker(r.neighbor("tunnel/a", bgp.Customer)))
	await := func(want bgp.Event, fact func() bool) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case e := <-events:
				if e == want && fact() {
					return
				}
			case <-deadline:
				t.Fatalf("no %#v with the fact true", want)
			}
		}
	}
	await(bgp.SessionChanged{Gateway: "gw", Neighbor: "tunnel/a"}, func() bool { return b.session("gw", "tunnel/a").State == bgp.Established })
	var many []route
	for i := range 500 {
		many = append(many, route{prefix: fmt.Sprintf("172.%d.%d.0/24", 16+i/250, i%250)})
	}
	r.announce(many...)
	await(bgp.RoutesChanged{Gateway: "gw"}, func() bool { return len(b.d.Routes("gw")) == 500 })
	if n := len(events); n > 50 {
		t.Errorf("%d events more for 500 routes", n)
	}
	r.stop()
	await(bgp.RoutesChanged{Gateway: "gw"}, func() bool { return len(b.d.Routes("gw")) == 0 })
	await(bgp.SessionChanged{Gateway: "gw", Neighbor: "tunnel/a"}, func() bool { return b.session("gw", "tunnel/a").State != bgp.Established })
	cancel()
	<-done
}
