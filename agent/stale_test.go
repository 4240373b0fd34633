package agent

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/bgp/gobgp"
)

func learnedOver(prefix string, tunnels ...string) bgp.Learned {
	l := bgp.Learned{Prefix: netip.MustParsePrefix(prefix)}
	for _, t := range tunnels {
		l.Paths = append(l.Paths, bgp.Path{Neighbor: plan.TunnelNeighbor(t), Kind: bgp.Customer})
	}
	return l
}

func TestSettled(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	established := func(since time.Duration, eor bool) *bgp.Session {
		return &bgp.Session{State: bgp.Established, Since: now.Add(-since), EORReceived: eor}
	}
	tunnel := plan.Tunnel{Name: "t", BGP: true, AdminUp: true}
	attachment := plan.Attachment{Name: "a", Peer: netip.MustParseAddr("10.0.255.1")}
	for _, tc := range []struct {
		name     string
		gateway  plan.Gateway
		sessions map[string]*bgp.Session
		want     bool
	}{
		{"no sessions wanted", plan.Gateway{Tunnels: []plan.Tunnel{{Name: "t", AdminUp: true}}, Attachments: []plan.Attachment{{Name: "a"}}}, nil, true},
		{"tunnel without a session", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}}, nil, false},
		{"tunnel that is admin DOWN", plan.Gateway{Tunnels: []plan.Tunnel{{Name: "t", BGP: true}}}, nil, true},
		{"connecting", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}},
			map[string]*bgp.Session{"tunnel/t": {State: bgp.Active, Since: now.Add(-time.Hour), EORReceived: true}}, false},
		{"established just now", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}}, map[string]*bgp.Session{"tunnel/t": established(time.Second, false)}, false},
		{"end of RIB", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}}, map[string]*bgp.Session{"tunnel/t": established(time.Second, true)}, true},
		{"no end of RIB for some time", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}},
			map[string]*bgp.Session{"tunnel/t": established(settleTime+time.Second, false)}, true},
		{"attachment without a session", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}, Attachments: []plan.Attachment{attachment}},
			map[string]*bgp.Session{"tunnel/t": established(time.Minute, true)}, false},
		{"all of them", plan.Gateway{Tunnels: []plan.Tunnel{tunnel}, Attachments: []plan.Attachment{attachment}},
			map[string]*bgp.Session{"tunnel/t": established(time.Minute, true), "attachment/a": established(time.Minute, true)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &worker{now: func() time.Time { return now }}
			if got := w.settled(&tc.gateway, tc.sessions); got != tc.want {
				t.Errorf("settled is %v", got)
			}
		})
	}
}

func TestWithLeftBehind(t *testing.T) {
	a, b, c := learnedOver("10.1.0.0/16", "t1"), learnedOver("10.2.0.0/16", "t1"), learnedOver("2001:db8::/32", "t1")
	fresh := learnedOver("10.1.0.0/16", "t2")
	for _, tc := range []struct {
		name              string
		live, stale, want []bgp.Learned
	}{
		{"nothing", nil, nil, nil},
		{"only stale ones", nil, []bgp.Learned{a, b}, []bgp.Learned{a, b}},
		{"live ones replace stale ones", []bgp.Learned{fresh}, []bgp.Learned{a, b}, []bgp.Learned{fresh, b}},
		{"sorted", []bgp.Learned{b, c}, []bgp.Learned{a}, []bgp.Learned{a, b, c}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, withLeftBehind(tc.live, tc.stale), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStaleRoutesHaveAnEnd(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	g := &plan.Gateway{Name: "g", Tunnels: []plan.Tunnel{{Name: "t", BGP: true, AdminUp: true}}}
	stale := []bgp.Learned{learnedOver("10.1.0.0/16", "t")}
	now := start
	w := &worker{
		now: func() time.Time { return now }, stale: stale, staleEnd: start.Add(staleTime),
		drivers: Drivers{BGP: gobgp.New(gobgp.Options{Log: slog.New(slog.DiscardHandler)})},
	}
	if diff := cmp.Diff(stale, w.learned(g, nil), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	if got := w.untilStaleEnds(time.Hour); got != settleTime {
		t.Errorf("next look after %v", got)
	}
	now = start.Add(staleTime - time.Second)
	if got := w.untilStaleEnds(time.Hour); got != time.Second {
		t.Errorf("next look after %v", got)
	}
	if len(w.learned(g, nil)) != 1 {
		t.Error("gone before the end")
	}
	now = start.Add(staleTime - time.Second)
	told := map[string]*bgp.Session{"tunnel/t": {State: bgp.Established, Since: now, EORReceived: true}}
	early := &worker{now: w.now, stale: stale, staleEnd: w.staleEnd, drivers: w.drivers}
	if len(early.learned(g, told)) != 0 || len(early.stale) != 0 {
		t.Error("still there although the peer has told everything")
	}
	now = start.Add(staleTime)
	if len(w.learned(g, nil)) != 0 || len(w.stale) != 0 {
		t.Error("still there after the end")
	}
	if got := w.untilStaleEnds(time.Hour); got != time.Hour {
		t.Errorf("next look after %v", got)
	}
}

func TestLeftBehind(t *testing.T) {
	tunnelOf := map[string]string{"bgwx1": "t1", "bgwx2": "t2"}
	prefix := netip.MustParsePrefix("10.1.0.0/16")
	for _, tc := range []struct {
		name       string
		interfaces []string
		want       bgp.Learned
		ok         bool
	}{
		{"unreachable", nil, bgp.Learned{Prefix: prefix}, false},
		{"attachment", []string{"vpc0"}, bgp.Learned{Prefix: prefix}, false},
		{"two tunnels", []string{"bgwx2", "bgwx1"}, learnedOver("10.1.0.0/16", "t1", "t2"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := leftBehind(prefix, tc.interfaces, tunnelOf)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" || ok != tc.ok {
				t.Errorf("%v (-want +got):\n%s", ok, diff)
			}
		})
	}
}

// A connection whose routes an earlier agent had learned keeps them while its sessions come back, and loses them when they do not.
func TestLearnedRoutesOutliveARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.stop()
		w.rest()
		learning := shop()
		learning.routing, learning.routes = "BGP", nil
		w.write(manifests(learning))
		w.start()
		w.ready()
		w.up(shop1, shop2)
		w.pass(staleTime - 10*time.Second)
		// What is learned has another group than the static route that it was, so the route is replaced once, in place.
		deletes := func(write string) bool { return strings.HasPrefix(write, "delete route") }
		if writes := w.kernel.TakeWrites(); slices.ContainsFunc(writes, deletes) || len(w.devicesOf("shop", lan)) != 2 {
			t.Errorf("route over %q, writes %q", w.devicesOf("shop", lan), writes)
		}
		w.pass(20 * time.Second)
		if got := w.devicesOf("shop", lan); got != nil {
			t.Errorf("route over %q after the stale time", got)
		}
		if got := w.tunnel(shop1); got.GetRunning() != apiv1.RunningUp || got.GetBgp() == apiv1.BGPOff {
			t.Errorf("status: %v", got)
		}
	})
}

func TestLearnedRoutesOfAGatewayThatWasSweptDoNotComeBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2)
		w.stop()
		w.write(manifests(mill()))
		w.start()
		w.ready()
		learning := shop()
		learning.routing, learning.routes = "BGP", nil
		w.write(manifests(learning, mill()))
		w.up(shop1, shop2)
		w.pass(time.Minute)
		if got := w.devicesOf("shop", lan); got != nil {
			t.Errorf("a route that was swept is back over %q", got)
		}
	})
}
