package gobgp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/bgp"
)

func TestLearnedRoutes(t *testing.T) {
	b := newBench(t, Options{})
	r1, r2 := b.router(11, 65010), b.router(12, 65020)
	n1, n2 := r1.neighbor("tunnel/a", bgp.Customer), r2.neighbor("tunnel/b", bgp.Customer)
	n1.Refuse, n2.Refuse = guards("10.0.0.0/16", "2001:db8:1::/48"), guards("10.0.0.0/16", "2001:db8:1::/48")
	n1.Protect = []netip.Addr{netip.MustParseAddr("203.0.113.1")}
	start := time.Now()
	b.apply(b.speaker(n1, n2))
	b.established("gw", "tunnel/a", "tunnel/b")
	t.Logf("two sessions established %v after Apply", time.Since(start))

	b.run("one path", func() {
		r1.announce(route{prefix: "172.16.0.0/16"}, route{prefix: "2001:db8:2::/48"})
		b.learns("gw", "172.16.0.0/16: tunnel/a", "2001:db8:2::/48: tunnel/a")
	})
	b.run("ECMP whatever MED and ORIGIN say", func() {
		r2.announce(route{prefix: "172.16.0.0/16", med: 500, origin: 2})
		b.learns("gw", "172.16.0.0/16: tunnel/a tunnel/b", "2001:db8:2::/48: tunnel/a")
	})
	b.run("a longer AS_PATH loses", func() {
		r2.announce(route{prefix: "172.16.0.0/16", path: []uint32{65021}})
		b.learns("gw", "172.16.0.0/16: tunnel/a", "2001:db8:2::/48: tunnel/a")
	})
	b.run("and wins when the shorter one goes", func() {
		r1.withdraw("172.16.0.0/16")
		b.learns("gw", "172.16.0.0/16: tunnel/b", "2001:db8:2::/48: tunnel/a")
	})
	b.run("paths are told in full", func() {
		want := []bgp.Path{{Neighbor: "tunnel/b", Kind: bgp.Customer, NextHop: r2.addr, ASPath: []uint32{65020, 65021}, Length: 2}}
		if diff := cmp.Diff(want, b.d.Routes("gw")[0].Paths, cmpopts.EquateComparable(r2.addr)); diff != "" {
			t.Error(diff)
		}
	})
	b.run("an own-AS loop withdraws what was there", func() {
		r2.announce(route{prefix: "172.16.0.0/16", path: []uint32{65021, 65000}})
		b.learns("gw", "2001:db8:2::/48: tunnel/a")
		r2.withdraw("172.16.0.0/16")
	})
	b.run("so does AS 0, which no AS_PATH may have", func() {
		r2.announce(route{prefix: "172.16.0.0/16", path: []uint32{65021}})
		b.learns("gw", "172.16.0.0/16: tunnel/b", "2001:db8:2::/48: tunnel/a")
		r2.announce(route{prefix: "172.16.0.0/16", path: []uint32{65021, 0}})
		b.learns("gw", "2001:db8:2::/48: tunnel/a")
		r2.withdraw("172.16.0.0/16")
	})
	b.run("guards", func() {
		r1.announce(
			route{prefix: "0.0.0.0/0"}, route{prefix: "::/0"}, route{prefix: "10.0.0.0/8"}, // covering is fine
			route{prefix: "10.0.0.0/16"}, route{prefix: "10.0.3.0/24"}, route{prefix: "2001:db8:1:7::/64"},
			route{prefix: "127.1.0.0/16"}, route{prefix: "169.254.10.0/30"}, route{prefix: "224.0.0.0/24"},
			route{prefix: "0.1.0.0/16"}, route{prefix: "240.0.0.0/8"}, route{prefix: "fe80:1::/64"}, route{prefix: "ff05::/16"},
		)
		b.learns("gw", "0.0.0.0/0: tunnel/a", "10.0.0.0/8: tunnel/a", "2001:db8:2::/48: tunnel/a", "::/0: tunnel/a")
	})
	b.run("what is refused is told with the reason", func() {
		r1.announce(route{prefix: "203.0.0.0/16"}, route{prefix: "172.31.0.0/16", path: []uint32{65000}})
		b.refuses("gw", "0.1.0.0/16 MARTIAN", "10.0.0.0/16 OWN_PREFIX", "10.0.3.0/24 OWN_PREFIX", "127.1.0.0/16 MARTIAN",
			"169.254.10.0/30 MARTIAN", "172.31.0.0/16 AS_LOOP", "203.0.0.0/16 OUTER_ADDRESS", "224.0.0.0/24 MARTIAN", "240.0.0.0/8 MARTIAN",
			"2001:db8:1:7::/64 OWN_PREFIX", "fe80:1::/64 MARTIAN", "ff05::/16 MARTIAN")
		r1.withdraw("203.0.0.0/16")
		r1.announce(route{prefix: "172.31.0.0/16"})
		b.learns("gw", "0.0.0.0/0: tunnel/a", "10.0.0.0/8: tunnel/a", "172.31.0.0/16: tunnel/a", "2001:db8:2::/48: tunnel/a", "::/0: tunnel/a")
		r1.withdraw("172.31.0.0/16")
	})
	b.run("counters", func() {
		b.eventually(func() string {
			s := b.session("gw", "tunnel/a")
			return cmp.Diff([]uint32{14, 4, 0}, []uint32{s.Received, s.Accepted, s.Announced})
		})
	})
	b.run("a changed guard judges again without a new session", func() {
		since := b.session("gw", "tunnel/a").Since
		n1.Refuse = guards("2001:db8:2::/32")
		b.apply(b.speaker(n1, n2))
		b.learns("gw", "0.0.0.0/0: tunnel/a", "10.0.0.0/8: tunnel/a", "10.0.0.0/16: tunnel/a", "10.0.3.0/24: tunnel/a", "::/0: tunnel/a")
		if got := b.session("gw", "tunnel/a"); got.Since != since || got.State != bgp.Established {
			t.Errorf("the session was disturbed: %+v", got)
		}
	})
	b.run("the neighbor goes and its routes with it", func() {
		r2.announce(route{prefix: "10.0.0.0/8"})
		since := b.session("gw", "tunnel/b").Since
		b.apply(b.speaker(n2))
		b.learns("gw", "10.0.0.0/8: tunnel/b")
		if got := b.session("gw", "tunnel/b"); got.Since != since {
			t.Errorf("the other session was disturbed: %+v", got)
		}
		if got := b.d.Sessions("gw"); len(got) != 1 {
			t.Errorf("sessions: %+v", got)
		}
	})
	b.run("the last one goes and the server with it", func() {
		b.apply(b.speaker())
		b.learns("gw")
		if b.d.find("gw").server != nil {
			t.Error("a server runs without neighbors")
		}
	})
}

func guards(l ...string) []bgp.Guard {
	var out []bgp.Guard
	for _, p := range prefixes(l...) {
		out = append(out, bgp.Guard{Prefix: p, Why: bgp.RefusedOwn})
	}
	return out
}

// refuses waits until exactly these paths of the gateway's neighbors are refused.
func (b *bench) refuses(gateway string, want ...string) {
	b.Helper()
	b.eventually(func() string {
		got := []string{}
		for _, r := range b.d.Refused(gateway) {
			got = append(got, r.Prefix.String()+" "+string(r.Why))
		}
		return cmp.Diff(want, got)
	})
}
