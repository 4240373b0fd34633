package metrics_test

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
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
			{Name: "shop-idc-1", Spec: &apiv1.VPNTunnelSpec{Connection: "shop-idc", Bgp: &apiv1.BGP{Bfd: &apiv1.BFD{Enabled: true}}}, Status: &apiv1.VPNTunnelStatus{
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
				BgpSession: &apiv1.BGPSession{PrefixesReceived: 15, PrefixesAccepted: 16, PrefixesAnnounced: 17, Refused: map[string]uint32{"MARTIAN": 19}},
				Bfd:        "UP", BfdSession: &apiv1.BFDSession{State: "UP", Downs: 18},
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

// exposition is what the agent itself has in a scrape, without the Go runtime and the process.
func exposition(t *testing.T, view func() *status.View) string {
	t.Helper()
	var own strings.Builder
	for line := range strings.Lines(scrape(t, view, nil)) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "bordergw_") {
			own.WriteString(line)
		}
	}
	return own.String()
}

func scrape(t *testing.T, view func() *status.View, header http.Header) string {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header = header
	metrics.Handler(view, version.Info{Version: "v1.2.3", Revision: "0123", GoVersion: "go1.26.0"}).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("Content-Type: %s", got)
	}
	if w.Header().Get("Content-Encoding") != "gzip" {
		return w.Body.String()
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return "gzip:" + string(text)
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
	golden(t, filepath.Join("testdata", "exposition.txt"), exposition(t, fullView))
}

func TestReferenceIsCurrent(t *testing.T) {
	var b strings.Builder
	if err := metrics.WriteReference(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("..", "..", "docs", "metrics.md"), b.String())
}

func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(exposition(t, fullView))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFormat reads the whole page with Prometheus' own parser. Whatever is in a label comes back as it was, and no series is there twice.
func TestFormat(t *testing.T) {
	v := fullView()
	odd := "line\nback\\slash \"quoted\" {a=\"b\"} ü"
	v.Tunnels[0].Name = odd
	v.Tunnels[1].Status.Reason = "broken \xff"
	v.Tunnels = append(v.Tunnels, manyTunnels(200).Tunnels...)
	view := func() *status.View { return v }
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, view, nil)))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for name, f := range families {
		seen := map[string]bool{}
		for _, m := range f.Metric {
			labels := fmt.Sprint(m.Label)
			if seen[labels] {
				t.Errorf("%s%s is there twice", name, labels)
			}
			seen[labels] = true
			for _, l := range m.Label {
				if l.GetName() == "tunnel" || l.GetName() == "reason" {
					names[l.GetValue()]++
				}
			}
		}
	}
	if names[odd] < 20 || names["broken \uFFFD"] != 1 {
		t.Errorf("%q is in %d series, the broken reason in %d", odd, names[odd], names["broken \uFFFD"])
	}
	for name, want := range map[string]float64{"bordergw_tunnel_wire_packets_total": 7, "bordergw_tunnel_probe_rtt_seconds": 0.0015} {
		if m := families[name].GetMetric()[0]; m.GetCounter().GetValue()+m.GetGauge().GetValue() != want {
			t.Errorf("%s is %v, not %v", name, m, want)
		}
	}
	for _, want := range []string{"go_goroutines", "process_start_time_seconds"} {
		if families[want] == nil {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestCompression(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0, br": false, "zstd": false, "gzipped": false,
	} {
		text := scrape(t, fullView, http.Header{"Accept-Encoding": {accept}})
		if got := strings.HasPrefix(text, "gzip:"); got != want {
			t.Errorf("Accept-Encoding %q: compressed %v", accept, got)
		}
		if !strings.Contains(text, "bordergw_tunnel_up{") || !strings.Contains(text, "go_goroutines ") {
			t.Errorf("Accept-Encoding %q: series are missing", accept)
		}
	}
}

// TestConcurrentScrapes share the handler's buffers.
func TestConcurrentScrapes(t *testing.T) {
	handler := metrics.Handler(fullView, version.Info{})
	want := exposition(t, fullView)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 20 {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				got, _, _ := strings.Cut(w.Body.String(), "# HELP go_")
				if _, got, _ = strings.Cut(got, "\nbordergw_host_info"); !strings.HasSuffix(want, got) || got == "" {
					t.Error("a scrape is not like the others")
				}
			}
		})
	}
	clients.Wait()
}

func TestEveryDescribedMetricIsEmitted(t *testing.T) {
	text := exposition(t, fullView)
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
		for line := range strings.Lines(exposition(t, func() *status.View { return v })) {
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
	text := exposition(t, func() *status.View { return v })
	for _, absent := range []string{"bordergw_bgp_session_up", `layer="bgp"`, `layer="probe"`} {
		if strings.Contains(text, absent) {
			t.Errorf("%s is exposed although nothing uses it", absent)
		}
	}
}

func TestBeforeTheFirstView(t *testing.T) {
	text := exposition(t, func() *status.View { return nil })
	if !strings.Contains(text, `bordergw_build_info{goversion="go1.26.0",revision="0123",version="v1.2.3"} 1`) {
		t.Errorf("no build info:\n%s", text)
	}
	if strings.Contains(text, "bordergw_ready") {
		t.Error("states are exposed before they are known")
	}
}
