package gobgp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

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

func TestPrefixLimit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		restart time.Duration
	}{{name: "plain"}, {name: "with graceful restart", restart: 30 * time.Second}} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{RetryFirst: 2 * time.Second, RetryMax: time.Hour})
			r1, r2 := b.router(11, 65010, gracefulRestart(false)), b.router(12, 65020)
			n1, n2 := r1.neighbor("tunnel/a", bgp.Customer), r2.neighbor("tunnel/b", bgp.Customer)
			n1.MaxPrefixes, n1.RestartTime = 3, tt.restart
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
		})
	}
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
	wrongASN, sameID := b.router(11, 65010), b.router(13, 65030)
	fabric := b.routerWithID(21, 64999, netip.MustParseAddr("10.255.1.13"))
	n1 := wrongASN.neighbor("tunnel/wrong-asn", bgp.Customer)
	n1.PeerASN = 65011
	nobody := n1
	nobody.Name, nobody.Address = "tunnel/nobody", netip.MustParseAddr("127.0.0.12")
	b.apply(b.speaker(n1, nobody, sameID.neighbor("tunnel/same-id", bgp.Customer), fabric.neighbor("attachment/x", bgp.Fabric)))
	b.established("gw", "tunnel/same-id", "attachment/x")
	for neighbor, want := range map[string]string{
		"tunnel/wrong-asn": "bad peer as",
		"tunnel/nobody":    "connection refused",
		"tunnel/same-id":   "router ID 10.255.1.13 is also that of attachment/x",
	} {
		b.eventually(func() string {
			if s := b.session("gw", neighbor); !strings.Contains(strings.ToLower(s.Message), strings.ToLower(want)) {
				return fmt.Sprintf("message of %s is %q, want %q in it", neighbor, s.Message, want)
			}
			return ""
		})
	}
	sameID.stop()
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/same-id"); !strings.HasPrefix(s.Message, "closed by the peer: ") {
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

// TestMalformedUpdate sends what killed GoBGP v3 (CVE-2026-41643) and other broken messages from an established peer.
func TestMalformedUpdate(t *testing.T) {
	attr := func(flags, typ byte, value ...byte) []byte {
		return append([]byte{flags, typ, byte(len(value))}, value...)
	}
	update := func(nlri []byte, attrs ...[]byte) []byte {
		var all []byte
		for _, a := range attrs {
			all = append(all, a...)
		}
		body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(all)))
		return message(gobgpbgp.BGP_MSG_UPDATE, append(append(body, all...), nlri...))
	}
	origin, next := attr(0x40, 1, 0), attr(0x40, 3, 127, 0, 0, 11)
	nlri := []byte{24, 172, 16, 1}
	for name, msg := range map[string][]byte{
		"AS4_PATH before AS_PATH": update(nlri, origin, next,
			attr(0xc0, 17, 2, 2, 0, 0, 0xfd, 0xf2, 0, 0, 0, 1), attr(0x40, 2, 2, 1, 0, 0, 0xfd, 0xf2)),
		"AS_PATH cut short":   update(nlri, origin, next, attr(0x40, 2, 2, 9, 0, 0)),
		"prefix length of 77": update([]byte{77, 1, 2, 3}, origin, next, attr(0x40, 2, 2, 1, 0, 0, 0xfd, 0xf2)),
		"attributes too long": message(gobgpbgp.BGP_MSG_UPDATE, []byte{0, 0, 0xff, 0xff, 1}),
		"no attributes":       update(nlri),
		"unknown type":        message(9, []byte{1, 2, 3}),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{})
			good := b.router(12, 65020)
			addr := netip.MustParseAddr("127.0.0.11")
			raw := bgp.Neighbor{Name: "tunnel/raw", Kind: bgp.Customer, Address: addr, LocalAddress: us, PeerASN: 65010, Port: b.port, IPv4: true}
			b.apply(b.speaker(raw, good.neighbor("tunnel/good", bgp.Customer)))
			conn := openSession(b, addr, 65010, true)
			defer conn.Close()
			b.established("gw", "tunnel/raw", "tunnel/good")
			if _, err := conn.Write(msg); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(update([]byte{24, 172, 16, 2}, origin, next, attr(0x40, 2, 2, 1, 0, 0, 0xfd, 0xf2))); err != nil {
				t.Fatal(err)
			}
			good.announce(route{prefix: "172.30.0.0/16"})
			b.eventually(func() string {
				// Either the session survives and the good UPDATE counts, or it is closed; the neighbor lives in any case.
				var after, other bool
				for _, l := range b.d.Routes("gw") {
					after = after || l.Prefix == netip.MustParsePrefix("172.16.2.0/24")
					other = other || l.Prefix == netip.MustParsePrefix("172.30.0.0/16")
				}
				s := b.session("gw", "tunnel/raw")
				if other && (after || s.State != bgp.Established) {
					return ""
				}
				return fmt.Sprintf("session %+v, routes %v", s, b.d.Routes("gw"))
			})
			b.established("gw", "tunnel/good")
			t.Logf("session afterwards: %s, %q", b.session("gw", "tunnel/raw").State, b.session("gw", "tunnel/raw").Message)
		})
	}
}

// TestHangingSession has a peer that opens a session and then says nothing more, which GoBGP by itself waits for without end.
func TestHangingSession(t *testing.T) {
	b := newBench(t, Options{})
	addr := netip.MustParseAddr("127.0.0.11")
	n := bgp.Neighbor{
		Name: "tunnel/a", Kind: bgp.Customer, Address: addr, LocalAddress: us, PeerASN: 65010, Port: 1,
		Keepalive: time.Second, Hold: 3 * time.Second, IPv4: true,
	}
	b.apply(b.speaker(n))
	conn := openSession(b, addr, 65010, false)
	defer conn.Close()
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/a"); s.State != bgp.OpenConfirm {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/a"); s.State == bgp.OpenConfirm {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	defer openSession(b, addr, 65010, true).Close()
	b.established("gw", "tunnel/a")
}

func message(typ byte, body []byte) []byte {
	m := make([]byte, 16, 19+len(body))
	for i := range m {
		m[i] = 0xff
	}
	m = binary.BigEndian.AppendUint16(m, uint16(19+len(body)))
	return append(append(m, typ), body...)
}

// openSession dials our speaker from addr and says as little as BGP asks for; without confirm, a little less.
func openSession(b *bench, addr netip.Addr, asn uint16, confirm bool) net.Conn {
	b.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))}
	var conn net.Conn
	b.eventually(func() string {
		c, err := d.Dial("tcp", netip.AddrPortFrom(us, b.port).String())
		if err != nil {
			return err.Error()
		}
		open := []byte{4, byte(asn >> 8), byte(asn), 0, 90, 10, 9, 9, 9, 8, 2, 6, 65, 4, 0, 0, byte(asn >> 8), byte(asn)}
		hello := message(gobgpbgp.BGP_MSG_OPEN, open)
		if confirm {
			hello = append(hello, message(gobgpbgp.BGP_MSG_KEEPALIVE, nil)...)
		}
		_, err = c.Write(hello)
		if err == nil {
			// The speaker's OPEN and KEEPALIVE; while its state machine is idle it closes the connection instead.
			_, err = io.ReadFull(c, make([]byte, 19))
		}
		if err != nil {
			c.Close()
			return err.Error()
		}
		conn = c
		return ""
	})
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	return conn
}
