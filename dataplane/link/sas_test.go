package link

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

func TestCarryingNeedsBothDirections(t *testing.T) {
	cloud, customer := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")
	out := func(ifID uint32) netlink.SA { return netlink.SA{IfID: ifID, Source: cloud, Destination: customer} }
	in := func(ifID uint32) netlink.SA { return netlink.SA{IfID: ifID, Source: customer, Destination: cloud} }
	kernel := netlinktest.New(t)
	kernel.SetSAs(out(1), out(2), in(2), in(2), in(3), out(0), in(0))
	got, err := New(kernel, kernel.SysctlRoot(), slog.New(slog.DiscardHandler)).Carrying(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint32]bool{2: true}, got); diff != "" {
		t.Errorf("carrying (-want +got):\n%s", diff)
	}
}
