package metrics_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/metrics"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/version"
)

var update = flag.Bool("update", false, "write the golden files and docs/metrics.md")

func at(sec int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 11, 22, 18, 0, sec, 500_000_000, time.UTC))
}

// fullView makes every row of the table emit at least one series.
func fullView() *status.View {
	return &status.View{
		Host: &apiv1.GetHostResponse{
			Host: "gw-a", CharonVersion: "5.9.8", CharonConnected: true, Ready: true, Started: at(0),
			CharonMlKem: true, XfrmErrors: map[string]uint64{"XfrmInNoStates": 21, "XfrmInStateSeqError": 22},
			Source: &apiv1.SourceStatus{Generation: 7, Accepted: at(1), Refused: at(2), Findings: []*apiv1.Finding{{}, {}, {Warning: true}}},
		},
		Gateways: []*apiv1.BorderGateway{{Name: "shop-prod", Status: &apiv1.BorderGatewayStatus{
			Programmed: true, Connections: 1, Tunnels: 2, TunnelsUp: 1, Conditions: []*apiv1.Condition{{}},
			Attachments: []*apiv1.AttachmentStatus{
				{Name: "vpc-a", Interface: "UP", Bgp: "ESTABLISHED", PrefixesReceived: 3, PrefixesAnnounced: 4},
				{Name: "vpc-b", Interface: "DOWN"},
			},
		}}},
		Connections: []*apiv1.ConnectionView{{Connection: &apiv1.VPNConnection{
			Name: "shop-idc", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop-prod", Routing: "BGP"},
			Status: &apiv1.VPNConnectionStatus{
				Availability: "NOT_HIGHLY_AVAILABLE", Reasons: []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS", "DRAINING", "DRAINING"},
				Since: at(3), Tunnels: 2, TunnelsUp: 1,
			},
		}}},
		Tunnels: []*apiv1.VPNTunnel{
			{Name: "shop-idc-1", Spec: &apiv1.VPNTunnelSpec{Connection: "shop-idc"}, Status: &apiv1.VPNTunnelStatus{
				Admin: "UP", Running: "UP", Since: at(4), Ike: "ESTABLISHED", Child: "REKEYING", Interface: "UP", Bgp: "ESTABLISHED", Probe: "PASSING",
				ChildSas: []*apiv1.ChildSA{{}, {}}, Conditions: []*apiv1.Condition{{}},
				Counters: &apiv1.Counters{
					BytesIn: 1, BytesOut: 2, PacketsIn: 3, PacketsOut: 4, WireBytesIn: new(uint64(5)), WireBytesOut: new(uint64(6)), WirePacketsIn: new(uint64(7)), WirePacketsOut: new(uint64(8)),
					IkeRekeys: 18, XfrmErrors: &apiv1.XfrmErrors{OutsideWindow: 23, Replayed: 24, IntegrityFailed: 25},
					Establishments: 9, Rekeys: 10, Failures: map[string]uint64{"DPD_TIMEOUT": 11, "PROBE_FAILED": 12},
					ProbeRtt: durationpb.New(1500 * time.Microsecond), ProbesSent: 13, ProbesLost: 14,
				},
				Negotiated: &apiv1.Negotiated{IkeVersion: 2, PostQuantum: true, IkeSuite: "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384/KE1_ML_KEM_768",
					EspSuite: "AES_GCM_16-256"},
				BgpSession: &apiv1.BGPSession{PrefixesReceived: 15, PrefixesAccepted: 16, PrefixesAnnounced: 17},
			}},
			{Name: "shop-idc-2", Spec: &apiv1.VPNTunnelSpec{Connection: "shop-idc"}, Status: &apiv1.VPNTunnelStatus{
				Admin: "UP", Running: "DOWN", Reason: "PEER_UNREACHABLE", Since: at(5), Ike: "CONNECTING", Child: "DOWN", Interface: "MISSING", Bgp: "OFF",
				Probe: "OFF",
			}},
		},
		Routes: []*apiv1.Route{
			{Gateway: "shop-prod", Source: "STATIC", Installed: true}, {Gateway: "shop-prod", Source: "BGP", Installed: true},
			{Gateway: "shop-prod", Source: "BGP"},
		},
		Reconcile: []status.ReconcileStats{{Gateway: "shop-prod", Rounds: 20, Errors: 1, Resyncs: 2, LastSeconds: 0.25}},
	}
}

func registry(view func() *status.View) *prometheus.Registry {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics.NewCollector(view, version.Info{Version: "v1.2.3", Revision: "0123", GoVersion: "go1.26.0"}))
	return r
}

func exposition(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	return w.Body.String()
}

// golden compares got with a file, or writes the file with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; run the test with -update if that is wanted (-want +got):\n%s", path, diff)
	}
}

func TestExposition(t *testing.T) {
	golden(t, filepath.Join("testdata", "exposition.txt"), exposition(t, registry(fullView)))
}

func TestReferenceIsCurrent(t *testing.T) {
	var b strings.Builder
	if err := metrics.WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("..", "..", "docs", "metrics.md"), b.String())
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(registry(fullView))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryDescribedMetricIsEmitted(t *testing.T) {
	text := exposition(t, registry(fullView))
	var reference strings.Builder
	if err := metrics.WriteReference(&reference); err != nil {
		t.Fatal(err)
	}
	names := 0
	for line := range strings.Lines(reference.String()) {
		name, isRow := strings.CutPrefix(line, "| `bordergw_")
		if !isRow {
			continue
		}
		names++
		name = "bordergw_" + name[:strings.IndexByte(name, '`')]
		if !strings.Contains(text, "# TYPE "+name+" ") {
			t.Errorf("%s is in the table and never emitted", name)
		}
	}
	if got := strings.Count(text, "# TYPE "); got != names || names == 0 {
		t.Errorf("%d metrics are emitted, %d documented", got, names)
	}
}

// TestDownTunnelKeepsItsSeries compares the series of a tunnel that is up with those of the same tunnel after its end.
func TestDownTunnelKeepsItsSeries(t *testing.T) {
	series := func(v *status.View) map[string]bool {
		out := map[string]bool{}
		for line := range strings.Lines(exposition(t, registry(func() *status.View { return v }))) {
			if strings.Contains(line, `tunnel="shop-idc-1"`) {
				out[line[:strings.LastIndexByte(line, ' ')]] = true
			}
		}
		return out
	}
	alive := fullView()
	dead := fullView()
	st := dead.Tunnels[0].Status
	st.Running, st.Reason, st.Ike, st.Child, st.Bgp, st.Probe = "DOWN", "ADMIN_DOWN", "DOWN", "DOWN", "OFF", "WAITING"
	st.ChildSas, st.BgpSession = nil, nil
	after := series(dead)
	before := series(alive)
	if len(before) < 20 {
		t.Fatalf("only %d series", len(before))
	}
	for s := range before {
		if !after[s] {
			t.Errorf("%s is gone while the tunnel is down", s)
		}
	}
	reason := `bordergw_tunnel_down_reason{connection="shop-idc",gateway="shop-prod",reason="ADMIN_DOWN",tunnel="shop-idc-1"}`
	if !after[reason] || before[reason] {
		t.Errorf("%s must be there exactly while the tunnel is down", reason)
	}
}

func TestStaticConnectionHasNoBGPSeries(t *testing.T) {
	v := fullView()
	v.Connections[0].Connection.Spec.Routing = "STATIC"
	for _, tunnel := range v.Tunnels {
		tunnel.Status.Bgp = "OFF"
		tunnel.Spec.Probe = &apiv1.Probe{Mode: "OFF"}
		tunnel.Status.Probe = "OFF"
	}
	text := exposition(t, registry(func() *status.View { return v }))
	for _, absent := range []string{"bordergw_bgp_session_up", `layer="bgp"`, `layer="probe"`} {
		if strings.Contains(text, absent) {
			t.Errorf("%s is exposed although nothing uses it", absent)
		}
	}
}

func TestBeforeTheFirstView(t *testing.T) {
	text := exposition(t, registry(func() *status.View { return nil }))
	if !strings.Contains(text, `bordergw_build_info{goversion="go1.26.0",revision="0123",version="v1.2.3"} 1`) {
		t.Errorf("no build info:\n%s", text)
	}
	if strings.Contains(text, "bordergw_ready") {
		t.Error("states are exposed before they are known")
	}
}

func TestRegistryGathers(t *testing.T) {
	text := exposition(t, metrics.NewRegistry(fullView, version.Info{}))
	for _, want := range []string{"go_goroutines", "process_start_time_seconds", "bordergw_tunnel_up"} {
		if !strings.Contains(text, "# TYPE "+want+" ") {
			t.Errorf("%s is missing", want)
		}
	}
}

func BenchmarkCollect(b *testing.B) {
	v := fullView()
	for range 11 {
		v.Tunnels = append(v.Tunnels, v.Tunnels...)
	}
	c := metrics.NewCollector(func() *status.View { return v }, version.Info{})
	for b.Loop() {
		ch := make(chan prometheus.Metric, 1024)
		go func() {
			c.Collect(ch)
			close(ch)
		}()
		for range ch {
		}
	}
}
