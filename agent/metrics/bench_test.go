package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/agent/metrics"
	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/version"
)

// manyTunnels is a host with that many tunnels, all of them up, two to a connection and ten to a gateway.
func manyTunnels(n int) *status.View {
	v := fullView()
	gateway, connection, tunnel := v.Gateways[0], v.Connections[0], v.Tunnels[0]
	v.Gateways, v.Connections, v.Tunnels, v.Reconcile = nil, nil, nil, nil
	for i := range n {
		g, c := fmt.Sprintf("tenant-%03d-prod", i/10), fmt.Sprintf("tenant-%03d-site-%d", i/10, i%10/2)
		if i%10 == 0 {
			gateway := proto.CloneOf(gateway)
			gateway.Name = g
			v.Gateways = append(v.Gateways, gateway)
			v.Reconcile = append(v.Reconcile, status.ReconcileStats{Gateway: g, Rounds: 7})
		}
		if i%2 == 0 {
			connection := proto.CloneOf(connection)
			connection.Connection.Name, connection.Connection.Spec.BorderGateway = c, g
			v.Connections = append(v.Connections, connection)
		}
		tunnel := proto.CloneOf(tunnel)
		tunnel.Name, tunnel.Spec.Connection = fmt.Sprintf("%s-%d", c, i%2+1), c
		k := tunnel.Status.Counters
		k.BytesIn, k.BytesOut, k.PacketsIn, k.PacketsOut = uint64(i)*123_456_789, uint64(i)*987_654_321, uint64(i)*123_456, uint64(i)*987_654
		k.ProbeRtt = durationpb.New(time.Duration(i) * 1234 * time.Nanosecond)
		k.Failures = map[string]uint64{apiv1.ReasonDPDTimeout: uint64(i)}
		v.Tunnels = append(v.Tunnels, tunnel)
	}
	return v
}

// discard is a client that reads everything and keeps nothing.
type discard struct {
	header http.Header
	bytes  int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
func (d *discard) Write(b []byte) (int, error) {
	d.bytes += len(b)
	return len(b), nil
}

// cpuTime is what the process has used so far, its garbage collector included: unlike the clock it does not count other processes.
func cpuTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkScrape is a whole scrape as Prometheus asks for it: from the published state to the bytes on the connection.
func BenchmarkScrape(b *testing.B) {
	for _, encoding := range []string{"identity", "gzip"} {
		for _, tunnels := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/tunnels=%d", encoding, tunnels), func(b *testing.B) { benchmarkScrape(b, tunnels, encoding) })
		}
	}
}

func benchmarkScrape(b *testing.B, tunnels int, encoding string) {
	v := manyTunnels(tunnels)
	view := func() *status.View { return v }
	handler := server.HealthHandler(view, metrics.Handler(view, version.Info{}))
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept-Encoding", encoding)
	request.Header.Set("Accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1")
	b.ReportAllocs()
	bytes, begin := 0, cpuTime(b)
	for b.Loop() {
		w := &discard{header: http.Header{}}
		handler.ServeHTTP(w, request)
		bytes = w.bytes
	}
	b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/scrape")
	b.ReportMetric(float64(bytes), "B/scrape")
}
