package agent

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/bordergw/bordergw/agent/metrics"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/internal/version"
)

// What the kernel drops is in the status of the tunnel whose SA it had, and goes on when the SA is replaced.
func TestDroppedPackets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		host, fault := map[string]uint64{"XfrmInNoStates": 1}, error(nil)
		w.xfrmStat = func() (map[string]uint64, error) { return host, fault }
		w.startWith(manifests(shop()), shop1, shop2)
		sa := func(spi, integrity uint32) netlink.SA {
			return netlink.SA{IfID: w.tunnel(shop1).GetIfId(), SPI: spi, Source: netip.MustParseAddr("203.0.113.1"),
				Destination: netip.MustParseAddr("198.51.100.1"), Errors: netlink.SAErrors{Replayed: 2, IntegrityFailed: integrity}}
		}
		expect := func(step string, want *apiv1.XfrmErrors) {
			t.Helper()
			w.pass(refreshInterval + time.Second)
			if diff := cmp.Diff(want, w.tunnel(shop1).GetCounters().GetXfrmErrors(), protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step, diff)
			}
			if diff := cmp.Diff(&apiv1.XfrmErrors{}, w.tunnel(shop2).GetCounters().GetXfrmErrors(), protocmp.Transform()); diff != "" {
				t.Errorf("%s: the other tunnel (-want +got):\n%s", step, diff)
			}
			if got := w.agent.View().Host.GetXfrmErrors()["XfrmInNoStates"]; got != 1 {
				t.Errorf("%s: the host's counter is %d", step, got)
			}
		}
		w.kernel.SetSAs(sa(1, 3))
		expect("first", &apiv1.XfrmErrors{Replayed: 2, IntegrityFailed: 3})
		fault = errors.New("no such file")
		w.kernel.SetSAs(sa(2, 1))
		expect("replaced", &apiv1.XfrmErrors{Replayed: 4, IntegrityFailed: 4})
		w.kernel.SetSAs()
		expect("gone", &apiv1.XfrmErrors{Replayed: 4, IntegrityFailed: 4})
	})
}

// Counters of a tunnel never go back: not when an SA is replaced, charon starts anew, or the tunnel is put DOWN and UP again.
func TestCountersNeverGoBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		last := &apiv1.Counters{}
		check := func(step string) {
			t.Helper()
			w.pass(refreshInterval + 5*time.Second)
			now := w.tunnel(shop1).GetCounters()
			for name, pair := range map[string][2]uint64{
				"bytes in": {last.GetBytesIn(), now.GetBytesIn()}, "packets out": {last.GetPacketsOut(), now.GetPacketsOut()},
				"establishments": {last.GetEstablishments(), now.GetEstablishments()}, "rekeys": {last.GetRekeys(), now.GetRekeys()},
				"IKE rekeys": {last.GetIkeRekeys(), now.GetIkeRekeys()}, "probes": {last.GetProbesSent(), now.GetProbesSent()},
			} {
				if pair[1] < pair[0] {
					t.Errorf("%s: %s went from %d back to %d", step, name, pair[0], pair[1])
				}
			}
			last = now
		}
		w.charon.Carry("bgw-"+shop1, 1000)
		check("traffic")
		w.charon.Rekey("bgw-"+shop1, false)
		check("CHILD_SA rekeyed")
		w.charon.RekeyIKE("bgw-" + shop1)
		w.charon.Carry("bgw-"+shop1, 500)
		check("IKE_SA rekeyed")
		w.charon.Kill()
		check("charon killed")
		w.charon.Start()
		w.up(shop1)
		check("charon is back")
		w.charon.Carry("bgw-"+shop1, 100)
		check("traffic again")
		off := shop()
		off.specs[shop1] = "adminState: DOWN"
		w.write(manifests(off))
		w.down(shop1, apiv1.ReasonAdminDown)
		check("admin DOWN")
		w.write(manifests(shop()))
		w.up(shop1)
		w.charon.Carry("bgw-"+shop1, 10)
		check("admin UP")
		want := map[string]uint64{"bytes": 1610, "rekeys": 1, "IKE rekeys": 1, "establishments": 3}
		got := map[string]uint64{"bytes": last.GetBytesIn(), "rekeys": last.GetRekeys(), "IKE rekeys": last.GetIkeRekeys(),
			"establishments": last.GetEstablishments()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
		if last.GetProbesSent() == 0 {
			t.Error("nothing was probed")
		}
	})
}

// The series of a tunnel that is DOWN stay; those of a tunnel that is removed go, and no others.
func TestSeriesOfTunnels(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		series := func(tunnel string) map[string]bool {
			page := httptest.NewRecorder()
			metrics.Handler(w.agent.View, version.Info{}).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			out := map[string]bool{}
			for line := range strings.Lines(page.Body.String()) {
				name, _, _ := strings.Cut(line, "{")
				// These two have their state in a label.
				if strings.Contains(line, `tunnel="`+tunnel+`"`) && name != "bordergw_tunnel_down_reason" && name != "bordergw_tunnel_suite_info" {
					out[line[:strings.LastIndexByte(line, ' ')]] = true
				}
			}
			return out
		}
		up, other := series(shop1), series(shop2)
		if len(up) < 30 {
			t.Fatalf("only %d series: %v", len(up), up)
		}
		down := shop()
		down.specs[shop1] = "adminState: DOWN"
		w.write(manifests(down))
		w.down(shop1, apiv1.ReasonAdminDown)
		w.pass(refreshInterval + time.Second)
		if diff := cmp.Diff(up, series(shop1)); diff != "" {
			t.Errorf("DOWN (-before +now):\n%s", diff)
		}
		removed := shop()
		removed.without[shop1] = true
		w.write(manifests(removed))
		w.until("removed", func() bool { return w.tunnel(shop1) == nil })
		if diff := cmp.Diff(map[string]bool{}, series(shop1)); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(other, series(shop2)); diff != "" {
			t.Errorf("the other tunnel (-before +now):\n%s", diff)
		}
	})
}
