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

func TestErrorsOfSAsAddUp(t *testing.T) {
	cloud, customer := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")
	sa := func(ifID, spi uint32, window, replayed, integrity uint32) netlink.SA {
		return netlink.SA{IfID: ifID, Source: customer, Destination: cloud, SPI: spi,
			Errors: netlink.SAErrors{OutsideWindow: window, Replayed: replayed, IntegrityFailed: integrity}}
	}
	wanted := map[uint32]bool{1: true, 2: true}
	kernel := netlinktest.New(t)
	d := New(kernel, kernel.SysctlRoot(), slog.New(slog.DiscardHandler))
	for _, step := range []struct {
		name   string
		sas    []netlink.SA
		wanted map[uint32]bool
		want   map[uint32]Errors
	}{
		{"first reading", []netlink.SA{sa(1, 10, 1, 2, 3), sa(9, 90, 7, 7, 7)}, wanted, map[uint32]Errors{1: {1, 2, 3}, 2: {}}},
		{"nothing new", []netlink.SA{sa(1, 10, 1, 2, 3)}, wanted, map[uint32]Errors{1: {1, 2, 3}, 2: {}}},
		{"rekeying, both there", []netlink.SA{sa(1, 10, 2, 2, 3), sa(1, 11, 0, 0, 5)}, wanted, map[uint32]Errors{1: {2, 2, 8}, 2: {}}},
		{"the old one is gone", []netlink.SA{sa(1, 11, 0, 1, 5)}, wanted, map[uint32]Errors{1: {2, 3, 8}, 2: {}}},
		{"down", nil, wanted, map[uint32]Errors{1: {2, 3, 8}, 2: {}}},
		{"up anew, the SPI as before", []netlink.SA{sa(1, 11, 0, 0, 1), sa(2, 20, 4, 0, 0)}, wanted, map[uint32]Errors{1: {2, 3, 9}, 2: {4, 0, 0}}},
		{"counters went back", []netlink.SA{sa(1, 11, 0, 0, 0), sa(2, 20, 1, 0, 0)}, wanted, map[uint32]Errors{1: {2, 3, 9}, 2: {5, 0, 0}}},
		{"the first is not wanted any more", []netlink.SA{sa(1, 11, 9, 9, 9), sa(2, 20, 1, 0, 0)}, map[uint32]bool{2: true}, map[uint32]Errors{2: {5, 0, 0}}},
	} {
		kernel.SetSAs(step.sas...)
		got, err := d.SAErrors(t.Context(), step.wanted)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
