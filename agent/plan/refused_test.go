package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

// TestRefusalWords: what the API says there can be is what there can be, and everything has a meaning.
func TestRefusalWords(t *testing.T) {
	var words []string
	for _, why := range bgp.Refusals() {
		words = append(words, string(why))
		if meaning(why) == string(why) {
			t.Errorf("%s is not explained", why)
		}
	}
	if diff := cmp.Diff(apiv1.BGPRefusals(), words); diff != "" {
		t.Error(diff)
	}
}

// TestGuards: a customer can take neither the VPC's prefixes nor the way to its router, nor the addresses of any tunnel.
func TestGuards(t *testing.T) {
	g := build(t, load(t, mill), host("198.51.100.1"), "shop-prod")
	n := g.Speaker(up("shop-idc-1", "mill-idc-1"), Routing{}).Neighbors
	i := slices.IndexFunc(n, func(n bgp.Neighbor) bool { return n.Name == TunnelNeighbor("shop-idc-1") })
	if i < 0 {
		t.Fatalf("neighbors %v", n)
	}
	for prefix, want := range map[string]bgp.Refusal{
		"172.16.0.0/16": "", "0.0.0.0/0": "", "10.0.0.0/8": "", "10.0.0.0/16": bgp.RefusedOwn, "10.0.255.1/32": bgp.RefusedOwn,
		"198.51.100.0/24": bgp.RefusedOuter, "203.0.113.1/32": bgp.RefusedOuter, "203.0.113.9/32": bgp.RefusedOuter,
	} {
		if got := n[i].Judge(g.ASN, netip.MustParsePrefix(prefix), []uint32{65010}); got != want {
			t.Errorf("%s: %q, want %q", prefix, got, want)
		}
	}
	if !slices.Contains(n[i].Refuse, bgp.Guard{Prefix: netip.MustParsePrefix("169.254.10.8/30"), Why: bgp.RefusedInside}) {
		t.Errorf("another tunnel's inside addresses are not among %v", n[i].Refuse)
	}
	shown := g.RefusedRoutes([]bgp.Refused{{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Why: bgp.RefusedMartian,
		Path: bgp.Path{Neighbor: TunnelNeighbor("mill-idc-1"), Kind: bgp.Customer, ASPath: []uint32{65020}}}})
	if len(shown) != 1 || shown[0].GetTarget() != "mill-idc" || shown[0].GetRefused() != "MARTIAN" || shown[0].GetInstalled() ||
		shown[0].GetMessage() != "refused from tunnel mill-idc-1: no route can lead to these addresses" {
		t.Errorf("shown as %v", shown)
	}
}
