package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/charon/charontest"
)

// diary is what a reader of events was told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(e *apiv1.HostEvent) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, name, _ := strings.Cut(e.GetObject(), "/")
	line := strings.Join(strings.Fields(fmt.Sprint(e.GetType(), " ", name, " ", e.GetField(), " ", e.GetOld(), ">", e.GetNew(), " ", e.GetReason())), " ")
	d.lines = append(d.lines, line)
	return nil
}

// take returns what was written down, and forgets it.
func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.lines
	d.lines = nil
	return out
}

func (w *world) follow() *diary {
	d := &diary{}
	go func() {
		_ = w.agent.WatchEvents(w.t.Context(), &apiv1.WatchHostEventsRequest{Follow: true}, d.add) // ends with the test
	}()
	return d
}

// expect fails when one of these is not among the events since the last look. Several goroutines publish, so there is no order to rely on.
func (w *world) expect(d *diary, want ...string) {
	w.t.Helper()
	got := d.take()
	rest := slices.Clone(got)
	for _, line := range want {
		i := slices.Index(rest, line)
		if i < 0 {
			w.t.Errorf("no %q among %q", line, got)
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
}

// expectOutage fails unless shop-1 was DOWN and is UP again: in two events, or in one if that took less than a round. The log has both always.
func (w *world) expectOutage(d *diary, reason string) {
	w.t.Helper()
	got := d.take()
	seen := func(line string) bool { return slices.Contains(got, "TUNNEL_RUNNING shop-1 "+line) }
	if !seen("UP>UP") && (!seen("UP>DOWN "+reason) || !seen("DOWN>UP")) {
		w.t.Errorf("no outage for %s among %q", reason, got)
	}
	log := 0
	if err := w.agent.WatchLog(w.t.Context(), &apiv1.WatchLogRequest{Tunnel: shop1}, func(e *apiv1.LogEntry) error {
		if strings.HasPrefix(e.GetMessage(), "running: DOWN "+reason) {
			log++
		}
		return nil
	}); err != nil || log != 1 {
		w.t.Errorf("%d such lines in the log: %v", log, err)
	}
}

func TestEvents(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		// The customer answers late, so that a round shows the tunnels before they are up: the first may find them negotiating, or unreachable.
		w.charon.Peer = func(_ string, attempt int) charontest.Outcome {
			return []charontest.Outcome{charontest.Silent, charontest.Up}[min(attempt-1, 1)]
		}
		w.write(manifests(shop()))
		w.start()
		d := w.follow()
		w.ready()
		w.pass(2 * time.Minute)
		w.up(shop1, shop2)
		w.pass(time.Minute)
		w.expect(d, "SOURCE_ACCEPTED gw-a >1", "TUNNEL_RUNNING shop-1 DOWN>UP",
			"TUNNEL_LAYER shop-1 child DOWN>INSTALLED", "CONNECTION_AVAILABILITY shop NOT_HIGHLY_AVAILABLE>HIGHLY_AVAILABLE")
		w.pass(10 * time.Minute)
		if quiet := d.take(); len(quiet) > 0 {
			t.Errorf("nothing happened, but %q", quiet)
		}

		w.charon.PeerDies("bgw-" + shop1)
		w.pass(time.Minute)
		w.expectOutage(d, apiv1.ReasonDPDTimeout)

		w.write("kind: VPNTunnel\nname: broken\n")
		w.pass(time.Minute)
		w.expect(d, "SOURCE_REFUSED gw-a >")
		w.write(manifests(shop()))
		w.pass(time.Minute)

		w.mustChange(shop1, apiv1.ActionDisable)
		w.down(shop1, apiv1.ReasonAdminDown)
		w.mustChange(shop1, apiv1.ActionEnable)
		w.up(shop1)
		w.pass(time.Minute)
		w.expect(d, "LOCAL_CHANGE shop-1 >DISABLED", "TUNNEL_RUNNING shop-1 UP>DOWN ADMIN_DOWN", "TUNNEL_LAYER shop-1 admin UP>DOWN",
			"LOCAL_CHANGE shop-1 >", "TUNNEL_RUNNING shop-1 DOWN>UP")

		w.over(w.drain(&apiv1.DrainRequest{Tunnel: shop1}), "shop-1 ANNOUNCED_WORSE", "shop-1 WITHDRAWN", "shop-1 QUIET", "shop-1 DOWN")
		w.expect(d, "DRAIN_STAGE shop-1 >ANNOUNCED_WORSE", "DRAIN_STAGE shop-1 >WITHDRAWN", "DRAIN_STAGE shop-1 >QUIET",
			"TUNNEL_RUNNING shop-1 UP>DOWN ADMIN_DOWN", "DRAIN_STAGE shop-1 >DOWN")

		w.charon.Kill()
		w.pass(time.Minute)
		w.expect(d, "CHARON_LOST gw-a >", "TUNNEL_RUNNING shop-2 UP>DOWN CHARON_UNAVAILABLE")

		without := shop()
		without.without[shop1] = true
		w.write(manifests(without))
		w.pass(time.Minute)
		w.expect(d, "TUNNEL_GONE shop-1 >")
	})
}

// TestDownTunnelsAreNoEvents: attempts of a tunnel that stays down would push everything else out.
func TestDownTunnelsAreNoEvents(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Kill()
		w.write(manifests(shop()))
		w.start()
		w.ready()
		w.pass(time.Minute)
		d := w.follow()
		w.pass(time.Hour)
		if got := d.take(); len(got) > 0 {
			t.Errorf("%q", got)
		}
	})
}

// TestEventOfAMoment: a tunnel that was DOWN and is UP again before anybody looked has one event.
func TestEventOfAMoment(t *testing.T) {
	up := func(since int64) fragment {
		return fragment{gateway: &apiv1.BorderGateway{Status: &apiv1.BorderGatewayStatus{Programmed: true}},
			tunnels: []*apiv1.VPNTunnel{{Name: "t", Status: &apiv1.VPNTunnelStatus{Running: "UP", Since: &timestamppb.Timestamp{Seconds: since}}}}}
	}
	if got := happened(up(1), up(1)); len(got) > 0 {
		t.Errorf("%v", got)
	}
	got := happened(up(1), up(2))
	if len(got) != 1 || got[0].GetType() != apiv1.EventTunnelRunning || got[0].GetNew() != "UP" || !strings.Contains(got[0].GetMessage(), "DOWN for a moment") {
		t.Errorf("%v", got)
	}
}

func TestEventsOfSessions(t *testing.T) {
	tunnel := func(bgp string) fragment {
		return fragment{gateway: &apiv1.BorderGateway{Name: "g", Status: &apiv1.BorderGatewayStatus{Programmed: true,
			Attachments: []*apiv1.AttachmentStatus{{Name: "vpc", Bgp: bgp}}}},
			tunnels: []*apiv1.VPNTunnel{{Name: "t", Status: &apiv1.VPNTunnelStatus{Running: "UP", Bgp: bgp}}}}
	}
	for _, tc := range []struct {
		old, new string
		want     []string
	}{
		{"IDLE", "ACTIVE", nil},
		{"OPENCONFIRM", "ESTABLISHED", []string{"BGP_SESSION t OPENCONFIRM>ESTABLISHED", "BGP_SESSION g vpc OPENCONFIRM>ESTABLISHED"}},
		{"ESTABLISHED", "IDLE", []string{"BGP_SESSION t ESTABLISHED>IDLE", "BGP_SESSION g vpc ESTABLISHED>IDLE"}},
	} {
		var d diary
		for _, e := range happened(tunnel(tc.old), tunnel(tc.new)) {
			if !slices.Contains(apiv1.EventTypes(), e.GetType()) {
				t.Errorf("type %q", e.GetType())
			}
			_ = d.add(e)
		}
		if got := d.take(); !slices.Equal(got, tc.want) {
			t.Errorf("%s to %s: %q, want %q", tc.old, tc.new, got, tc.want)
		}
	}
}

func TestFollowedLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		var mu sync.Mutex
		var got []string
		add := func(e *apiv1.LogEntry) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, e.GetMessage())
			return nil
		}
		if err := w.agent.WatchLog(t.Context(), &apiv1.WatchLogRequest{Tunnel: shop1}, add); err != nil || !slices.Contains(got, "running: UP") {
			t.Fatalf("%q, %v", got, err)
		}
		got = nil
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.agent.WatchLog(ctx, &apiv1.WatchLogRequest{Tunnel: shop1, Follow: true}, add) }()
		w.charon.PeerDies("bgw-" + shop1)
		w.pass(time.Minute)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		text := strings.Join(got, "\n")
		if strings.Count(text, "running: UP") != 2 || strings.Count(text, "running: DOWN DPD_TIMEOUT") != 1 {
			t.Errorf("followed:\n%s", text)
		}
		if err := w.agent.WatchLog(t.Context(), &apiv1.WatchLogRequest{Tunnel: "nobody"}, add); err == nil {
			t.Error("the log of nobody")
		}
	})
}
