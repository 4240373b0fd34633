package resource_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

// BenchmarkWriters measures a write of one tunnel while 200 others are written, with 1,000 tunnels in the store: two controllers, an etcd
// that syncs to nothing but memory.
func BenchmarkWriters(b *testing.B) {
	const writers, tenants = 200, 500
	endpoint := storetest.Start(b)
	quotas := apiv1.Quotas{BorderGateways: tenants, CustomerGateways: tenants}
	both := []controller{newController(b, storetest.Client(b, endpoint), quotas), newController(b, storetest.Client(b, endpoint), quotas)}
	both[0].hosts(20)
	tunnels := make([]*apiv1.VPNTunnel, 0, 2*tenants)
	for i := range tenants {
		name := fmt.Sprintf("t%d", i)
		both[0].create(gateway(name))
		both[0].create(customer(name, fmt.Sprintf("203.%d.%d.1", i/200, i%200)))
		results, _, err := both[0].Create(b.Context(), resource.Write{DefaultTunnels: true}, connection(name, name, name))
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results[1:] {
			if t, ok := r.After.(*apiv1.VPNTunnel); ok {
				tunnels = append(tunnels, t)
			}
		}
	}
	var mu sync.Mutex
	var took []time.Duration
	jobs := make(chan int)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range jobs {
				t := tunnels[(i*writers+w)%len(tunnels)]
				change := &apiv1.VPNTunnel{Name: t.GetName(), Spec: &apiv1.VPNTunnelSpec{Connection: t.GetSpec().GetConnection(), Mtu: uint32(1300 + i%100)}}
				began := time.Now()
				_, _, err := both[w%2].Apply(b.Context(), writer, []model.Object{change})
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
}
