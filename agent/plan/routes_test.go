package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/route"
)

// installed is which destinations are routed, and over which interfaces' owners.
func installed(r Routing) map[string]string {
	out := map[string]string{}
	for _, v := range r.Routes {
		if !v.GetInstalled() {
			continue
		}
		var hops []string
		for _, h := range v.GetNextHops() {
			if h.GetTunnel() != "" {
				hops = append(hops, h.GetTunnel())
			} else {
				hops = append(hops, strings.Trim(h.GetInterface()+" "+h.GetAddress(), " "))
			}
		}
		out[v.GetPrefix()] = v.GetType() + " " + v.GetSource() + " " + strings.Join(hops, ",")
	}
	return out
}

func TestSelection(t *testing.T) {
	const both = "198.51.100.1,198.51.100.2"
	tests := []struct {
		name   string
		run    Running
		static []*apiv1.StaticRoute
		want   map[string]string
	}{
		{
			name: "a static route takes all tunnels that are up",
			run:  up("shop-idc-1", "shop-idc-2"),
			want: map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-1,shop-idc-2"},
		},
		{
			name: "a tunnel that is not up carries nothing",
			run:  up("shop-idc-2"),
			want: map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-2"},
		},
		{
			name: "with no tunnel up the route is withdrawn, and a less specific one can take over",
			run:  up(),
			static: []*apiv1.StaticRoute{
				{Prefix: "172.16.0.0/16", Connection: "shop-idc"}, {Prefix: "0.0.0.0/0", Attachment: "vpc-a"},
			},
			want: map[string]string{"0.0.0.0/0": "ATTACHMENT STATIC vpc0 10.0.255.1"},
		},
		{
			name: "an attachment wins over a connection for the same destination",
			run:  up("shop-idc-1"),
			static: []*apiv1.StaticRoute{
				{Prefix: "10.0.0.0/16", Connection: "shop-idc"},
			},
			want: map[string]string{},
		},
		{
			name: "a static route wins over what a customer announces",
			run:  with(up("shop-idc-1", "shop-idc-2"), learned("172.16.0.0/16", "shop-idc-2")),
			want: map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-1,shop-idc-2"},
		},
		{
			name: "a more specific prefix from a customer stands beside a static one",
			run:  with(up("shop-idc-1", "shop-idc-2"), learned("172.16.5.0/24", "shop-idc-2")),
			want: map[string]string{
				"172.16.0.0/16": "CONNECTION STATIC shop-idc-1,shop-idc-2", "172.16.5.0/24": "CONNECTION BGP shop-idc-2",
			},
		},
		{
			name:   "a learned route over a tunnel that just went down is not installed",
			run:    with(up("shop-idc-1"), learned("172.17.0.0/16", "shop-idc-2")),
			static: []*apiv1.StaticRoute{},
			want:   map[string]string{},
		},
		{
			name:   "a static attachment route wins over the attachment's own prefix",
			run:    up(),
			static: []*apiv1.StaticRoute{{Prefix: "10.0.0.0/16", Attachment: "vpc-a"}},
			want:   map[string]string{"10.0.0.0/16": "ATTACHMENT STATIC vpc0 10.0.255.1"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := load(t, shop)
			set.BorderGateways["shop-prod"].Spec.StaticRoutes = []*apiv1.StaticRoute{{Prefix: "172.16.0.0/16", Connection: "shop-idc"}}
			if test.static != nil {
				set.BorderGateways["shop-prod"].Spec.StaticRoutes = test.static
			}
			r, err := build(t, set, host(strings.Split(both, ",")...), "shop-prod").Routing(test.run)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"10.0.0.0/16": "ATTACHMENT ATTACHMENT vpc0 10.0.255.1"}
			for k, v := range test.want {
				want[k] = v
			}
			if diff := cmp.Diff(want, installed(r)); diff != "" {
				t.Errorf("installed routes (-want +got):\n%s", diff)
			}
		})
	}
}

func with(r Running, l ...bgp.Learned) Running {
	r.Learned = l
	return r
}

// TestTunnelDownTouchesNoRoute: when a tunnel goes, routes keep their group; only the group's members change.
func TestTunnelDownTouchesNoRoute(t *testing.T) {
	g := build(t, load(t, shop), host("198.51.100.1", "198.51.100.2"), "shop-prod")
	var routes []bgp.Learned
	for i := range 250 {
		routes = append(routes, learned(fmt.Sprintf("192.0.%d.0/24", i), "shop-idc-1", "shop-idc-2"))
	}
	before, err := g.Routing(with(up("shop-idc-1", "shop-idc-2"), routes...))
	if err != nil {
		t.Fatal(err)
	}
	after, err := g.Routing(with(up("shop-idc-2"), routes...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Desired.Routes, after.Desired.Routes, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("routes changed (-before +after):\n%s", diff)
	}
	ids, err := g.TunnelNexthops("shop-idc-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range after.Desired.Groups {
		for _, id := range ids {
			if slices.Contains(group.Members, id) {
				t.Errorf("group %#x still has the tunnel's nexthop %#x", group.ID, id)
			}
		}
	}
}

// TestTunnelAddedOrRemovedTouchesNoStaticRoute: the group of a connection's static routes keeps its id, with other members.
func TestTunnelAddedOrRemovedTouchesNoStaticRoute(t *testing.T) {
	g := build(t, load(t, shop), host("198.51.100.1", "198.51.100.2"), "shop-prod")
	both, err := g.Routing(with(up("shop-idc-1", "shop-idc-2")))
	if err != nil {
		t.Fatal(err)
	}
	g.Tunnels = slices.DeleteFunc(g.Tunnels, func(t Tunnel) bool { return t.Name == "shop-idc-1" })
	one, err := g.Routing(with(up("shop-idc-2")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(both.Desired.Routes, one.Desired.Routes, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("routes changed (-both +one):\n%s", diff)
	}
	if !slices.ContainsFunc(both.Desired.Routes, func(r route.Route) bool { return r.Prefix == netip.MustParsePrefix("172.16.0.0/16") }) {
		t.Error("there is no static route into the connection")
	}
}

func TestQuotaOfLearnedRoutes(t *testing.T) {
	g := build(t, load(t, shop), host("198.51.100.1"), "shop-prod")
	g.MaxBGPRoutes = 2
	r, err := g.Routing(with(up("shop-idc-1"), learned("192.0.2.0/26", "shop-idc-1"), learned("192.0.2.64/26", "shop-idc-1"),
		learned("192.0.2.128/26", "shop-idc-1")))
	if err != nil {
		t.Fatal(err)
	}
	if r.OverQuota != 1 {
		t.Errorf("OverQuota = %d, want 1", r.OverQuota)
	}
	for _, v := range r.Routes {
		if v.GetPrefix() == "192.0.2.128/26" && (v.GetInstalled() || !strings.Contains(v.GetMessage(), "quota is 2")) {
			t.Errorf("the third route: %v", v)
		}
	}
}
