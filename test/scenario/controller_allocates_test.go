//go:build lab

package scenario

import (
	"net/netip"
	"slices"
	"testing"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/test/lab"
)

// chosen is what a controller chose of a tunnel, as bordergwctl prints it.
type chosen struct {
	Name string
	Spec struct {
		CloudAddress, CustomerAddress string
		Inside                        struct{ Cloud, Customer string }
	}
}

func (c *Controlled) chosen() []chosen {
	c.T.Helper()
	var out struct{ Items []chosen }
	if err := c.Controller.CtlJSON(&out, "get", "tunnels"); err != nil {
		c.T.Fatalf("%v", err)
	}
	return out.Items
}

// TestControllerAllocates: of a connection nothing is known but the customer's two addresses. The controller chooses the rest, and the
// customer configures what it tells.
func TestControllerAllocates(t *testing.T) {
	w := NewControlled(t, Options{Routing: "BGP", NoCustomer: true})
	w.Apply(map[string]string{"shop.yaml": `kind: BorderGateway
name: shop-prod
spec:
  asn: 65000
  attachments:
  - {name: vpc-a, interface: vpc0, prefixes: [10.0.0.0/16], peer: {address: 10.0.255.1, asn: 64999}}
---
kind: CustomerGateway
name: shop-idc
spec: {asn: 65010, addresses: [203.0.113.1, 203.0.113.2]}
---
kind: VPNConnection
name: shop-idc
spec: {borderGateway: shop-prod, customerGateway: shop-idc, routing: BGP}
`}, "--default-tunnels")
	tunnels := w.chosen()
	if len(tunnels) != 2 || tunnels[0].Name != Tunnel1 || tunnels[1].Name != Tunnel2 {
		t.Fatalf("tunnels: %+v", tunnels)
	}
	one, two := tunnels[0].Spec, tunnels[1].Spec
	if clouds := []string{one.CloudAddress, two.CloudAddress}; !slices.Contains(clouds, lab.GatewayA) || !slices.Contains(clouds, lab.GatewayB) {
		t.Errorf("cloud addresses %q are not on two hosts", clouds)
	}
	if one.CustomerAddress != lab.Customer1 || two.CustomerAddress != lab.Customer2 {
		t.Errorf("customer addresses %q and %q", one.CustomerAddress, two.CustomerAddress)
	}
	ends := []lab.CustomerTunnel{tunnels[0].customersEnd(t, PSK1), tunnels[1].customersEnd(t, PSK2)}
	if a, b := netip.MustParsePrefix(ends[0].Inside), netip.MustParsePrefix(ends[1].Inside); a.Overlaps(b) {
		t.Errorf("inside prefixes %v and %v overlap", a, b)
	}
	// Nobody can read the keys that were made: the operator replaces them with those that he tells the customer.
	w.Apply(map[string]string{"keys.yaml": `kind: VPNTunnel
name: shop-idc-1
spec: {connection: shop-idc, psk: {value: ` + PSK1 + `}}
---
kind: VPNTunnel
name: shop-idc-2
spec: {connection: shop-idc, psk: {value: ` + PSK2 + `}}
`})
	if now := w.chosen(); !slices.Equal(now, tunnels) {
		t.Errorf("with the keys %+v became %+v", tunnels, now)
	}
	w.Customer(ends[0], ends[1])
	w.Verdict(apiv1.HighlyAvailable)
	w.BothUp()
	w.TrafficBothWays()
}

// customersEnd is what the customer makes of what he is told of a tunnel.
func (c chosen) customersEnd(t *testing.T, key string) lab.CustomerTunnel {
	t.Helper()
	cloud, err := netip.ParsePrefix(c.Spec.Inside.Cloud)
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	customer, err := netip.ParseAddr(c.Spec.Inside.Customer)
	if err != nil || !cloud.Contains(customer) || customer == cloud.Addr() || !apiv1.DefaultInsidePool().Overlaps(cloud) {
		t.Fatalf("inside addresses %+v: %v", c, err)
	}
	return lab.CustomerTunnel{Local: c.Spec.CustomerAddress, Remote: c.Spec.CloudAddress, PSK: key,
		Inside: netip.PrefixFrom(customer, cloud.Bits()).String()}
}
