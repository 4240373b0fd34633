package gobgp

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/bordergw/bordergw/bgp"
)

// BenchmarkSpeakers starts speakers of one dual-stack neighbor each, which nobody answers.
func BenchmarkSpeakers(b *testing.B) {
	for _, count := range []int{1, 50, 200} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				d := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
				before, start := heap(), time.Now()
				for i := range count {
					addr := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
					_, err := d.Apply(b.Context(), bgp.Speaker{
						Gateway: fmt.Sprint(i), ASN: 65000, RouterID: addr, ListenAddresses: []netip.Addr{addr}, Port: 1790,
						Neighbors: []bgp.Neighbor{{
							Name: "tunnel/a", Kind: bgp.Customer, Address: netip.MustParseAddr("127.0.0.99"), LocalAddress: addr,
							PeerASN: 65010, IPv4: true, IPv6: true, Port: 1,
						}},
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(time.Since(start).Microseconds())/float64(count), "µs/speaker")
				b.ReportMetric(float64(heap()-before)/float64(count)/1024, "KiB/speaker")
				b.ReportMetric(float64(runtime.NumGoroutine())/float64(count), "goroutines/speaker")
				if err := d.Close(b.Context(), false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
