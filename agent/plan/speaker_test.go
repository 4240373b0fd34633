package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

// mill adds to shop's gateway another customer's connection.
const mill = shop + `
---
kind: CustomerGateway
name: mill-idc
spec: {asn: 65020, addresses: [203.0.113.9]}
---
kind: VPNConnection
name: mill-idc
spec: {borderGateway: shop-prod, customerGateway: mill-idc, routing: BGP, cloudAddresses: [198.51.100.1]}
---
kind: VPNTunnel
name: mill-idc-1
spec:
  connection: mill-idc
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.9
  inside: {cloud: 169.254.10.9/30, customer: 169.254.10.10}
  psk: {value: "a-key-nobody-may-see"}
`

func announced(s bgp.Speaker) []string {
	var out []string
	for _, a := range s.Announcements {
		out = append(out, strings.TrimSuffix(fmt.Sprintf("%s %s %v", a.Prefix, a.To, a.ASPath), " []"))
	}
	return out
}

func TestAnnouncements(t *testing.T) {
	over := func(prefix, tunnel string, path ...uint32) bgp.Learned {
		return bgp.Learned{Prefix: netip.MustParsePrefix(prefix), Paths: []bgp.Path{{Neighbor: TunnelNeighbor(tunnel), Kind: bgp.Customer, ASPath: path}}}
	}
	both := func(first, second bgp.Learned) bgp.Learned {
		first.Paths = append(first.Paths, second.Paths...)
		return first
	}
	all := up("shop-idc-1", "shop-idc-2", "mill-idc-1")
	always := []string{"10.0.0.0/16 customer", "10.9.0.0/16 customer", "172.16.0.0/16 fabric"}
	for _, test := range []struct {
		name    string
		run     Running
		routing string // of shop-idc, BGP when empty
		edit    func(*Gateway)
		want    []string
	}{
		{name: "what is configured", run: all, want: always},
		{name: "what a customer announces goes to the VPC and to no other customer",
			run:  with(all, over("172.17.0.0/16", "shop-idc-1", 65010, 65011)),
			want: append(always, "172.17.0.0/16 fabric [65010 65011]")},
		{name: "unless transit is allowed",
			run:  with(all, over("172.17.0.0/16", "shop-idc-1", 65010, 65011)),
			edit: func(g *Gateway) { g.AllowTransit = true },
			want: append(always, "172.17.0.0/16 customer [65010 65011]", "172.17.0.0/16 fabric [65010 65011]")},
		{name: "nor does transit pass on the static routes of other connections",
			run: all, edit: func(g *Gateway) { g.AllowTransit = true }, want: always},
		{name: "of equal paths the first one",
			run:  with(all, both(over("172.17.0.0/16", "mill-idc-1", 65020), over("172.17.0.0/16", "shop-idc-2", 65010))),
			want: append(always, "172.17.0.0/16 fabric [65020]")},
		{name: "that carries traffic",
			run:  with(up("shop-idc-1", "shop-idc-2"), both(over("172.17.0.0/16", "mill-idc-1", 65020), over("172.17.0.0/16", "shop-idc-2", 65010))),
			want: append(always, "172.17.0.0/16 fabric [65010]")},
		{name: "nothing over a tunnel that is not up",
			run: with(up("shop-idc-1"), over("172.17.0.0/16", "shop-idc-2", 65010)), want: always},
		{name: "nothing that is hidden by a static route",
			run: with(all, over("172.16.0.0/16", "shop-idc-2", 65010)), want: always},
		{name: "nothing over the quota",
			run:  with(all, over("172.17.0.0/16", "shop-idc-1", 65010), over("172.18.0.0/16", "shop-idc-1", 65010)),
			edit: func(g *Gateway) { g.MaxBGPRoutes = 1 },
			want: append(always, "172.17.0.0/16 fabric [65010]")},
		{name: "a route that an earlier agent left has the customer's ASN for its AS_PATH",
			run: with(all, over("172.17.0.0/16", "shop-idc-1")), want: append(always, "172.17.0.0/16 fabric [65010]")},
		{name: "an AS_PATH without the customer's ASN gets it",
			run: with(all, over("172.17.0.0/16", "shop-idc-1", 65012)), want: append(always, "172.17.0.0/16 fabric [65010 65012]")},
		{name: "nothing is learned over a connection without BGP",
			run:     with(all, over("172.17.0.0/16", "shop-idc-1")),
			routing: apiv1.RoutingStatic, want: always},
		{name: "what an attachment's peer announces is announced to nobody",
			run: with(all, bgp.Learned{Prefix: netip.MustParsePrefix("10.0.7.0/24"),
				Paths: []bgp.Path{{Neighbor: AttachmentNeighbor("vpc-a"), Kind: bgp.Fabric, ASPath: []uint32{64999}}}}),
			want: always},
		{name: "nobody in the VPC to hear it",
			run:  with(all, over("172.17.0.0/16", "shop-idc-1", 65010)),
			edit: func(g *Gateway) { g.Attachments[0].Peer = netip.Addr{} },
			want: always[:2]},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := load(t, mill)
			if test.routing != "" {
				set.Connections["shop-idc"].Spec.Routing = test.routing
			}
			g := build(t, set, host("198.51.100.1", "198.51.100.2"), "shop-prod")
			if test.edit != nil {
				test.edit(g)
			}
			p, err := g.For(test.run)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, announced(p.Speaker)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, bad, err := bgp.Check(p.Speaker); err != nil || len(bad) > 0 {
				t.Errorf("the speaker is not good: %v, %v", bad, err)
			}
		})
	}
}
