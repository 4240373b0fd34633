package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// BenchmarkAPI measures changes of tunnels that 200 operators make at once, each over a connection of its own, with 1,000 tunnels of 500
// tenants in the store: a real controller whose embedded etcd syncs to this disk, TLS, audit log and all. It also tells how large the
// process is.
func BenchmarkAPI(b *testing.B) {
	const operators, tenants = 200, 500
	s := newSite(b)
	s.configure(fmt.Sprintf("quotas: {borderGateways: %[1]d, customerGateways: %[1]d}\n", tenants))
	controller := s.process("controller", healthy(http.DefaultTransport, "http://"+s.metrics+"/readyz"),
		filepath.Join(build(b.Context(), b, "."), "bordergw-controller"), "--config", s.path)
	controller.start()
	if err := controller.serves(b.Context()); err != nil {
		b.Fatal(err)
	}
	tunnels := fill(b, s.operator(), tenants)
	before := memory(b, controller.cmd.Process.Pid, "VmRSS")

	var mu sync.Mutex
	var took []time.Duration
	jobs := make(chan int)
	var wg sync.WaitGroup
	for w := range operators {
		api := s.operator()
		wg.Go(func() {
			for i := range jobs {
				t := tunnels[(i*operators+w)%len(tunnels)]
				began := time.Now()
				_, err := api.Apply(b.Context(), &apiv1.ApplyRequest{Resources: []*apiv1.Resource{{Resource: &apiv1.Resource_VpnTunnel{VpnTunnel: &apiv1.VPNTunnel{
					Name: t.GetName(), Spec: &apiv1.VPNTunnelSpec{Connection: t.GetSpec().GetConnection(), Mtu: uint32(1300 + i%100)}}}}}})
				d := time.Since(began)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := 0; b.Loop(); i++ {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(before)/1024, "MiB-with-1000-tunnels")
	b.ReportMetric(float64(memory(b, controller.cmd.Process.Pid, "VmHWM"))/1024, "MiB-peak")
}

// fill creates hosts and as many tenants, with a connection of two tunnels each.
func fill(b *testing.B, api apiv1connect.ResourceServiceClient, tenants int) (tunnels []*apiv1.VPNTunnel) {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	apply := func(r ...*apiv1.Resource) {
		if _, err := api.Apply(ctx, &apiv1.ApplyRequest{Resources: r}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 20 {
		apply(&apiv1.Resource{Resource: &apiv1.Resource_GatewayHost{GatewayHost: &apiv1.GatewayHost{Name: fmt.Sprintf("gw-%d", i),
			Spec: &apiv1.GatewayHostSpec{Addresses: []string{fmt.Sprintf("198.51.100.%d", i+1)}}}}})
	}
	for i := range tenants {
		name := fmt.Sprintf("t%d", i)
		apply(&apiv1.Resource{Resource: &apiv1.Resource_BorderGateway{BorderGateway: &apiv1.BorderGateway{Name: name, Spec: &apiv1.BorderGatewaySpec{
			Attachments: []*apiv1.Attachment{{Name: "vpc", Interface: fmt.Sprintf("vpc%d", i), Prefixes: []string{"10.0.0.0/16"}}}}}}},
			&apiv1.Resource{Resource: &apiv1.Resource_CustomerGateway{CustomerGateway: &apiv1.CustomerGateway{Name: name,
				Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{fmt.Sprintf("203.%d.%d.1", i/200, i%200)}}}}})
		resp, err := api.CreateVPNConnection(ctx, &apiv1.CreateVPNConnectionRequest{DefaultTunnels: true, VpnConnection: &apiv1.VPNConnection{Name: name,
			Spec: &apiv1.VPNConnectionSpec{BorderGateway: name, CustomerGateway: name, Routing: apiv1.RoutingStatic}}})
		if err != nil {
			b.Fatal(err)
		}
		tunnels = append(tunnels, resp.GetVpnTunnels()...)
	}
	return tunnels
}

// memory is a figure of /proc/PID/status in KiB.
func memory(tb testing.TB, pid int, name string) (kib int) {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%d kB", &kib); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return kib
}
