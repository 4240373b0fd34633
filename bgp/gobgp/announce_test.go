package gobgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/bordergw/bordergw/bgp"
)

// TestSameRouterID: devices that have one router ID, as two of a customer's that were cloned, still hear what the others announce.
func TestSameRouterID(t *testing.T) {
	b := newBench(t, Options{})
	id := netip.MustParseAddr("10.255.1.13")
	customer, fabric := b.routerWithID(13, 65030, id), b.routerWithID(21, 64999, id)
	s := b.speaker(customer.neighbor("tunnel/a", bgp.Customer), fabric.neighbor("attachment/x", bgp.Fabric))
	b.apply(s)
	b.established("gw", "tunnel/a", "attachment/x")
	customer.announce(route{prefix: "172.16.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a")

	s.Announcements = passOn(bgp.Fabric, []uint32{65030}, "172.16.0.0/16")
	b.apply(s)
	fabric.has("172.16.0.0/16 via 127.0.0.1 path [65000 65030]")
	s.Announcements = nil
	b.apply(s)
	fabric.has()
}

// TestLongASPath: a path that needs several segments (RFC 4271 §4.3) passes whole, and the next AS goes before it.
func TestLongASPath(t *testing.T) {
	b := newBench(t, Options{})
	customer, fabric := b.router(11, 65010), b.router(21, 64999)
	beyond := make([]uint32, 600)
	for i := range beyond {
		beyond[i] = 65011
	}
	s := b.speaker(customer.neighbor("tunnel/a", bgp.Customer), fabric.neighbor("attachment/x", bgp.Fabric))
	b.apply(s)
	b.established("gw", "tunnel/a", "attachment/x")
	customer.announce(route{prefix: "172.16.0.0/16", path: beyond})
	b.learns("gw", "172.16.0.0/16: tunnel/a")
	path := b.d.Routes("gw")[0].Paths[0].ASPath
	s.Announcements = passOn(bgp.Fabric, path, "172.16.0.0/16")
	b.apply(s)
	fabric.has(fmt.Sprintf("172.16.0.0/16 via 127.0.0.1 path %v", append([]uint32{65000, 65010}, beyond...)))
}

// TestManyAnnouncements: what is announced already costs no UPDATE when something else changes.
func TestManyAnnouncements(t *testing.T) {
	const count = 20_000
	b := newBench(t, Options{})
	customer, fabric := b.router(11, 65010), b.router(21, 64999)
	s := b.speaker(customer.neighbor("tunnel/a", bgp.Customer), fabric.neighbor("attachment/x", bgp.Fabric))
	b.apply(s)
	b.established("gw", "tunnel/a", "attachment/x")
	settle(b)
	for i := range count {
		s.Announcements = append(s.Announcements, bgp.Announcement{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32), To: bgp.Fabric, ASPath: []uint32{65010},
		})
	}
	announced := func(want int) {
		b.Helper()
		b.eventually(func() string {
			if got := len(fabric.table()); got != want {
				return fmt.Sprintf("%d routes, want %d", got, want)
			}
			return ""
		})
	}
	start := time.Now()
	b.apply(s)
	applied := time.Since(start)
	announced(count)
	t.Logf("%d announcements: Apply took %v, the peer had all after %v", count, applied, time.Since(start))

	sent := stable(b)
	start = time.Now()
	s.Announcements = s.Announcements[1:]
	b.apply(s)
	t.Logf("one fewer: Apply took %v", time.Since(start))
	announced(count - 1)
	if now := stable(b); now > sent+1 {
		t.Errorf("%d UPDATEs to take back one route", now-sent)
	}
}
