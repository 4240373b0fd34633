package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// discard is a client that reads everything and keeps nothing.
type discard struct {
	header http.Header
	bytes  int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
func (d *discard) Flush()              {}
func (d *discard) Write(b []byte) (int, error) {
	d.bytes += len(b)
	return len(b), nil
}

// BenchmarkListTunnels is what `bordergwctl get tunnels` asks of an agent, from the published state to the bytes on the connection, in both
// encodings.
func BenchmarkListTunnels(b *testing.B) {
	for _, encoding := range []struct{ name, body string }{{"json", "{}"}, {"proto", ""}} {
		for _, tunnels := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/tunnels=%d", encoding.name, tunnels), func(b *testing.B) { benchmarkList(b, tunnels, encoding.name, encoding.body) })
		}
	}
}

func benchmarkList(b *testing.B, tunnels int, encoding, body string) {
	v := manyTunnels(tunnels)
	handler := server.APIHandler(func() *status.View { return v }, nil, nil, nil)
	b.ReportAllocs()
	sent, begin := 0, cpuTime(b)
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/bordergw.v1.AgentService/ListTunnels", bytes.NewReader([]byte(body)))
		r.Header.Set("Content-Type", "application/"+encoding)
		w := &discard{header: http.Header{}}
		handler.ServeHTTP(w, r)
		sent = w.bytes
	}
	if sent < 100*tunnels {
		b.Fatalf("the answer has %d bytes", sent)
	}
	b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/list")
	b.ReportMetric(float64(sent), "B/list")
}

// cpuTime is what the process has used so far, its garbage collector included: unlike the clock it does not count other processes.
func cpuTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func manyTunnels(n int) *status.View {
	v := &status.View{}
	for i := range n {
		v.Tunnels = append(v.Tunnels, &apiv1.VPNTunnel{
			Kind: apiv1.KindVPNTunnel, Name: fmt.Sprintf("tenant-%04d", i),
			Spec: &apiv1.VPNTunnelSpec{Connection: "tenant", CloudAddress: "198.51.100.1", CustomerAddress: "203.0.113.1",
				Inside: &apiv1.Inside{Cloud: "169.254.10.1/30", Customer: "169.254.10.2"},
				Ike:    &apiv1.IKE{Version: 2, Proposals: []string{"aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256"}},
				Psk:    &apiv1.SecretSource{File: "/etc/bordergw/secrets/tenant"}},
			Status: &apiv1.VPNTunnelStatus{
				Admin: "UP", Running: "UP", Since: timestamppb.Now(), Host: "gw-a", Ike: "ESTABLISHED", Child: "INSTALLED", Interface: "UP",
				Bgp: "ESTABLISHED", Probe: "PASSING", ChildSas: []*apiv1.ChildSA{{UniqueId: uint32(i), State: "INSTALLED", SpiIn: "c0000001", SpiOut: "c0000002"}},
				Counters:   &apiv1.Counters{BytesIn: uint64(i) << 20, BytesOut: uint64(i) << 21, Failures: map[string]uint64{"DPD_TIMEOUT": 3}},
				Negotiated: &apiv1.Negotiated{IkeVersion: 2, IkeSuite: "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384"},
				BgpSession: &apiv1.BGPSession{State: "ESTABLISHED", PrefixesReceived: 7},
			},
		})
	}
	return v
}
