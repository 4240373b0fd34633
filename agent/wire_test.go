package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/firewall"
)

// Encrypted traffic is in the status where the table counts it, and nowhere else. A reading that fails changes nothing.
func TestEncryptedTraffic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		measured := func(name string) *apiv1.Counters {
			c := w.tunnel(name).GetCounters()
			return &apiv1.Counters{WireBytesIn: c.WireBytesIn, WireBytesOut: c.WireBytesOut,
				WirePacketsIn: c.WirePacketsIn, WirePacketsOut: c.WirePacketsOut}
		}
		expect := func(name string, want *apiv1.Counters) {
			t.Helper()
			if diff := cmp.Diff(want, measured(name), protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		expect(shop1, &apiv1.Counters{})
		g, _ := w.firewall.gateway("shop")
		var e firewall.Endpoints
		for _, tunnel := range g.Tunnels {
			if tunnel.Interface == w.device(shop1) {
				e = firewall.Endpoints{Local: tunnel.Local, Remote: tunnel.Remote}
			}
		}
		if !e.Local.IsValid() || !e.Remote.IsValid() {
			t.Fatalf("the firewall knows no addresses: %+v", g)
		}
		traffic := map[firewall.Endpoints]firewall.Traffic{
			e: {In: firewall.Counters{Packets: 1, Bytes: 100}, Out: firewall.Counters{Packets: 2, Bytes: 300}},
			{Local: e.Local, Remote: netip.MustParseAddr("192.0.2.250")}: {},
		}
		want := &apiv1.Counters{WireBytesIn: new(uint64(100)), WireBytesOut: new(uint64(300)),
			WirePacketsIn: new(uint64(1)), WirePacketsOut: new(uint64(2))}
		for _, carried := range []map[firewall.Endpoints]firewall.Traffic{traffic, nil} {
			w.firewall.carry(carried)
			w.pass(refreshInterval + time.Second)
			expect(shop1, want)
			expect(shop2, &apiv1.Counters{})
		}
		w.firewall.carry(map[firewall.Endpoints]firewall.Traffic{e: {}})
		w.pass(refreshInterval + time.Second)
		expect(shop1, &apiv1.Counters{WireBytesIn: new(uint64(0)), WireBytesOut: new(uint64(0)),
			WirePacketsIn: new(uint64(0)), WirePacketsOut: new(uint64(0))})
	})
}
