package agent

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

func toFabric(prefixes ...string) []bgp.Announcement {
	var out []bgp.Announcement
	for _, p := range prefixes {
		out = append(out, bgp.Announcement{Prefix: netip.MustParsePrefix(p), To: bgp.Fabric, ASPath: []uint32{65010}})
	}
	return out
}

func TestCarried(t *testing.T) {
	p := netip.MustParsePrefix
	desired := route.Desired{Routes: []route.Route{
		{Prefix: p("10.1.0.0/16"), Nexthop: 2}, {Prefix: p("10.2.0.0/16"), Nexthop: 2}, {Prefix: p("10.3.0.0/16"), Nexthop: 3},
		{Prefix: p("10.4.0.0/16"), Nexthop: 1}, {Prefix: p("10.5.0.0/16"), Unreachable: true},
	}}
	got := carried(toFabric("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16", "10.6.0.0/16"), desired, route.Result{
		Nexthops: []uint32{1}, Groups: []route.Group{{ID: 2, Members: []uint32{1}}},
		RouteErrors: map[netip.Prefix]error{p("10.2.0.0/16"): errors.New("refused")},
	})
	want := toFabric("10.1.0.0/16", "10.4.0.0/16", "10.5.0.0/16")
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCommon(t *testing.T) {
	a, b := toFabric("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"), toFabric("10.1.0.0/16", "10.2.0.0/16")
	a[0].ASPath, b[1].To = nil, bgp.Customer
	if diff := cmp.Diff(a[:1], common(a, b), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUnknownRoutes: when nobody knows what the kernel has, an announcement is neither made nor, while it is wanted, taken back.
func TestUnknownRoutes(t *testing.T) {
	f := newSpeakers(netlinktest.New(t))
	speaker := func(announcements []bgp.Announcement) bgp.Speaker {
		return bgp.Speaker{Gateway: "shop", ASN: 65000, RouterID: netip.MustParseAddr("198.51.100.1"), Announcements: announcements}
	}
	w := &worker{name: "shop", drivers: Drivers{BGP: f}, spoken: speaker(toFabric("10.1.0.0/16", "10.2.0.0/16"))}
	var found problems
	w.speak(t.Context(), speaker(toFabric("10.2.0.0/16", "10.3.0.0/16")), route.Desired{}, route.Result{}, false, &found)
	want := toFabric("10.2.0.0/16")
	if diff := cmp.Diff(want, f.gateways["shop"].Announcements, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || len(found.errs()) > 0 {
		t.Errorf("%v (-want +got):\n%s", found.errs(), diff)
	}
}
