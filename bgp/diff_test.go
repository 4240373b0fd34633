package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/internal/secret"
)

func neighbor(name, addr string) Neighbor {
	return Neighbor{
		Name: name, Kind: Customer, Address: netip.MustParseAddr(addr), LocalAddress: netip.MustParseAddr("169.254.10.1"),
		PeerASN: 65010, IPv4: true,
	}
}

func speaker(neighbors ...Neighbor) Speaker {
	return Speaker{Gateway: "gw", ASN: 65000, RouterID: netip.MustParseAddr("198.51.100.1"), Device: "bgwvrf1", Neighbors: neighbors}
}

func TestDiff(t *testing.T) {
	a, b := neighbor("tunnel/a", "169.254.10.2"), neighbor("tunnel/b", "169.254.10.6")
	with := func(n Neighbor, f func(*Neighbor)) Neighbor { f(&n); return n }
	fifty, five := uint32(50), uint32(5)
	p := netip.MustParsePrefix
	for _, tt := range []struct {
		name       string
		have, want Speaker
		change     Change
	}{
		{"nothing", speaker(a, b), speaker(b, a), Change{}},
		{"another router ID", speaker(a), func() Speaker { s := speaker(a); s.RouterID = netip.MustParseAddr("198.51.100.2"); return s }(), Change{Restart: true}},
		{"another ASN", speaker(a), func() Speaker { s := speaker(a); s.ASN = 65001; return s }(), Change{Restart: true}},
		{"another device", speaker(a), func() Speaker { s := speaker(a); s.Device = "bgwvrf2"; return s }(), Change{Restart: true}},
		{"one more, one less", speaker(a), speaker(b), Change{Remove: []Neighbor{a}, Add: []Neighbor{b}}},
		{"hold time", speaker(a, b), speaker(with(a, func(n *Neighbor) { n.Hold = 30 * time.Second }), b),
			Change{Remove: []Neighbor{a}, Add: []Neighbor{with(a, func(n *Neighbor) { n.Hold = 30 * time.Second })}}},
		{"password", speaker(a), speaker(with(a, func(n *Neighbor) { n.Password = secret.New("x") })),
			Change{Remove: []Neighbor{a}, Add: []Neighbor{with(a, func(n *Neighbor) { n.Password = secret.New("x") })}}},
		{"restart", speaker(a), speaker(with(a, func(n *Neighbor) { n.Restarts = 1 })),
			Change{Remove: []Neighbor{a}, Add: []Neighbor{with(a, func(n *Neighbor) { n.Restarts = 1 })}}},
		{"MED", speaker(with(a, func(n *Neighbor) { n.MED = &fifty })), speaker(with(a, func(n *Neighbor) { n.MED = &five })),
			Change{SoftOut: []Neighbor{with(a, func(n *Neighbor) { n.MED = &five })}}},
		{"MED of the same value", speaker(with(a, func(n *Neighbor) { n.MED = &fifty })),
			speaker(with(a, func(n *Neighbor) { v := uint32(50); n.MED = &v })), Change{}},
		{"prepend", speaker(a, b), speaker(a, with(b, func(n *Neighbor) { n.Prepend = 3 })),
			Change{SoftOut: []Neighbor{with(b, func(n *Neighbor) { n.Prepend = 3 })}}},
		{"mute", speaker(a, b), speaker(a, with(b, func(n *Neighbor) { n.Mute = true })),
			Change{SoftOut: []Neighbor{with(b, func(n *Neighbor) { n.Mute = true })}}},
		{"refuse, in another order", speaker(with(a, func(n *Neighbor) { n.Refuse = []Guard{{p("10.0.0.0/8"), RefusedOwn}, {p("11.0.0.0/8"), RefusedOwn}} })),
			speaker(with(a, func(n *Neighbor) { n.Refuse = []Guard{{p("11.0.0.0/8"), RefusedOwn}, {p("10.0.0.0/8"), RefusedOwn}} })), Change{}},
		{"refuse", speaker(a), speaker(with(a, func(n *Neighbor) { n.Refuse = []Guard{{p("10.0.0.0/8"), RefusedOwn}} })),
			Change{Rejudge: []Neighbor{with(a, func(n *Neighbor) { n.Refuse = []Guard{{p("10.0.0.0/8"), RefusedOwn}} })}}},
		{"protect", speaker(a), speaker(with(a, func(n *Neighbor) { n.Protect = []netip.Addr{netip.MustParseAddr("203.0.113.1")} })),
			Change{Rejudge: []Neighbor{with(a, func(n *Neighbor) { n.Protect = []netip.Addr{netip.MustParseAddr("203.0.113.1")} })}}},
		{"limit", speaker(a), speaker(with(a, func(n *Neighbor) { n.MaxPrefixes = 9 })),
			Change{Limit: []Neighbor{with(a, func(n *Neighbor) { n.MaxPrefixes = 9 })}}},
		{"announcements",
			func() Speaker {
				s := speaker(a)
				s.Announcements = []Announcement{{Prefix: p("10.0.0.0/16"), To: Customer}, {Prefix: p("10.1.0.0/16"), To: Customer}, {Prefix: p("10.2.0.0/16"), To: Fabric}}
				return s
			}(),
			func() Speaker {
				s := speaker(a)
				s.Announcements = []Announcement{{Prefix: p("10.1.0.0/16"), To: Fabric}, {Prefix: p("10.1.0.0/16"), To: Customer}, {Prefix: p("10.2.0.0/16"), To: Fabric}, {Prefix: p("10.3.0.0/16"), To: Fabric}}
				return s
			}(),
			Change{
				Announce: map[netip.Prefix]Originated{p("10.1.0.0/16"): {To: ToCustomer | ToFabric}, p("10.3.0.0/16"): {To: ToFabric}},
				Withdraw: []netip.Prefix{p("10.0.0.0/16")},
			}},
		{"AS_PATH of an announcement",
			func() Speaker {
				s := speaker(a)
				s.Announcements = []Announcement{
					{Prefix: p("10.0.0.0/16"), To: Fabric, ASPath: []uint32{65010}}, {Prefix: p("10.1.0.0/16"), To: Fabric, ASPath: []uint32{65010}},
				}
				return s
			}(),
			func() Speaker {
				s := speaker(a)
				s.Announcements = []Announcement{
					{Prefix: p("10.1.0.0/16"), To: Fabric, ASPath: []uint32{65010}}, {Prefix: p("10.0.0.0/16"), To: Fabric, ASPath: []uint32{65020}},
				}
				return s
			}(),
			Change{Announce: map[netip.Prefix]Originated{p("10.0.0.0/16"): {To: ToFabric, ASPath: []uint32{65020}}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Diff(tt.have, tt.want)
			if diff := cmp.Diff(tt.change, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, secret.Secret{})); diff != "" {
				t.Error(diff)
			}
			if got.Empty() != cmp.Equal(tt.change, Change{}, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, secret.Secret{})) {
				t.Errorf("Empty() = %v", got.Empty())
			}
		})
	}
}

func TestCheck(t *testing.T) {
	good := neighbor("tunnel/good", "169.254.10.2")
	for _, tt := range []struct {
		name    string
		spoil   func(*Speaker)
		bad     string // name of the neighbor or prefix
		message string
	}{
		{"good", func(*Speaker) {}, "", ""},
		{"name", func(s *Speaker) { s.Gateway = "" }, "*", "gateway"},
		{"asn", func(s *Speaker) { s.ASN = 0 }, "*", "asn"},
		{"IPv6 router ID", func(s *Speaker) { s.RouterID = netip.MustParseAddr("::1") }, "*", "routerID"},
		{"no router ID", func(s *Speaker) { s.RouterID = netip.Addr{} }, "*", "routerID"},
		{"kind", func(s *Speaker) { s.Neighbors[0].Kind = 0 }, "tunnel/bad", "kind"},
		{"address", func(s *Speaker) { s.Neighbors[0].Address = netip.MustParseAddr("224.0.0.1") }, "tunnel/bad", "address"},
		{"address taken", func(s *Speaker) { s.Neighbors[0].Address, s.Neighbors[0].Name = good.Address, "tunnel/z" }, "tunnel/z", "address"},
		{"families", func(s *Speaker) { s.Neighbors[0].LocalAddress = netip.MustParseAddr("fd00::1") }, "tunnel/bad", "localAddress"},
		{"ourselves", func(s *Speaker) { s.Neighbors[0].Address = s.Neighbors[0].LocalAddress }, "tunnel/bad", "address"},
		{"customer iBGP", func(s *Speaker) { s.Neighbors[0].PeerASN = 65000 }, "tunnel/bad", "peerASN"},
		{"fabric iBGP", func(s *Speaker) { s.Neighbors[0].PeerASN, s.Neighbors[0].Kind = 65000, Fabric }, "", ""},
		{"no ASN", func(s *Speaker) { s.Neighbors[0].PeerASN = 0 }, "tunnel/bad", "peerASN"},
		{"short hold", func(s *Speaker) { s.Neighbors[0].Hold = 2 * time.Second }, "tunnel/bad", "hold"},
		{"keepalive above hold", func(s *Speaker) { s.Neighbors[0].Hold, s.Neighbors[0].Keepalive = 5*time.Second, 6*time.Second }, "tunnel/bad", "keepalive"},
		{"restart time", func(s *Speaker) { s.Neighbors[0].RestartTime = 2 * time.Hour }, "tunnel/bad", "restartTime"},
		{"prepend", func(s *Speaker) { s.Neighbors[0].Prepend = 256 }, "tunnel/bad", "prepend"},
		{"no family", func(s *Speaker) { s.Neighbors[0].IPv4 = false }, "tunnel/bad", "ipv4"},
		{"refuse", func(s *Speaker) { s.Neighbors[0].Refuse = []Guard{{}} }, "tunnel/bad", "refuse"},
		{"accept", func(s *Speaker) { s.Neighbors[0].Accept = []netip.Prefix{{}} }, "tunnel/bad", "accept"},
		{"announcement", func(s *Speaker) { s.Announcements = []Announcement{{}} }, "invalid Prefix", "prefix"},
		{"reserved AS", func(s *Speaker) {
			s.Announcements = []Announcement{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), To: Fabric, ASPath: []uint32{65010, 0}}}
		}, "10.0.0.0/8", "asPath"},
		{"two AS_PATHs", func(s *Speaker) {
			p := netip.MustParsePrefix("10.0.0.0/8")
			s.Announcements = []Announcement{{Prefix: p, To: Fabric, ASPath: []uint32{65010}}, {Prefix: p, To: Customer}}
		}, "10.0.0.0/8", "asPath"},
		{"audience", func(s *Speaker) { s.Announcements = []Announcement{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}} }, "10.0.0.0/8", "to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := speaker(neighbor("tunnel/bad", "169.254.10.6"), good)
			tt.spoil(&s)
			got, bad, err := Check(s)
			switch {
			case tt.bad == "*":
				if err == nil || !strings.HasPrefix(err.Error(), tt.message) {
					t.Fatalf("error %v", err)
				}
				return
			case err != nil:
				t.Fatal(err)
			case tt.bad == "" && len(bad) > 0:
				t.Fatalf("bad: %v", bad)
			case tt.bad != "" && (len(bad) != 1 || bad[tt.bad] == nil || !strings.HasPrefix(bad[tt.bad].Error(), tt.message)):
				t.Fatalf("bad: %v", bad)
			}
			found := false
			for _, n := range got.Neighbors {
				found = found || n.Name == good.Name
				if n.Name == tt.bad {
					t.Error("the bad neighbor is still there")
				}
			}
			if !found {
				t.Error("the good neighbor is gone")
			}
		})
	}
}

func TestBest(t *testing.T) {
	path := func(neighbor string, length int) Path { return Path{Neighbor: neighbor, Length: length} }
	for _, tt := range []struct {
		name        string
		paths, want []Path
	}{
		{"none", nil, nil},
		{"one", []Path{path("a", 3)}, []Path{path("a", 3)}},
		{"equal, sorted", []Path{path("b", 1), path("a", 1)}, []Path{path("a", 1), path("b", 1)}},
		{"shortest", []Path{path("a", 2), path("c", 1), path("b", 1)}, []Path{path("b", 1), path("c", 1)}},
		{"empty AS_PATH", []Path{path("a", 1), path("b", 0)}, []Path{path("b", 0)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Best(tt.paths), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	n := neighbor("tunnel/a", "169.254.10.2")
	n.Password = secret.New("correct-horse")
	c := Diff(speaker(), speaker(n))
	for _, v := range []any{n, speaker(n), c, &c} {
		if s := strings.ToLower(sprint(v)); strings.Contains(s, "correct") {
			t.Errorf("%s", s)
		}
	}
}

func sprint(v any) string { return fmt.Sprintf("%v %+v %#v", v, v, v) }
