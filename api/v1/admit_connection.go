package apiv1

import (
	"fmt"
	"slices"
)

// maxCloudAddresses bounds the cloud's group of one connection.
const maxCloudAddresses = 2

func (c *checker) connection(name string, conn *VPNConnection) {
	s, spec := c.at(KindVPNConnection, name), conn.GetSpec()
	s.name("name", name)
	s.description(spec.GetDescription())
	border, customer := c.set.BorderGateways[spec.GetBorderGateway()], c.set.CustomerGateways[spec.GetCustomerGateway()]
	s.reference("spec.borderGateway", KindBorderGateway, spec.GetBorderGateway(), border != nil)
	s.reference("spec.customerGateway", KindCustomerGateway, spec.GetCustomerGateway(), customer != nil)
	s.word("spec.routing", spec.GetRouting(), RoutingStatic, RoutingBGP)
	if spec.GetRouting() == RoutingBGP && customer != nil {
		asn := customer.GetSpec().GetAsn()
		switch {
		case asn == 0:
			s.fail("spec.routing", "BGP needs an AS number: CustomerGateway %q has none", spec.GetCustomerGateway())
		case border != nil && asn == border.GetSpec().GetAsn():
			s.fail("spec.routing", "BGP needs different AS numbers: BorderGateway %q and CustomerGateway %q both have %d",
				spec.GetBorderGateway(), spec.GetCustomerGateway(), asn)
		}
	}
	s.addresses("spec.cloudAddresses", spec.GetCloudAddresses(), maxCloudAddresses)
	for i, cloud := range spec.GetCloudAddresses() {
		if slices.Contains(customer.GetSpec().GetAddresses(), cloud) {
			s.fail(fmt.Sprintf("spec.cloudAddresses[%d]", i), "%s is also an address of CustomerGateway %q", cloud, spec.GetCustomerGateway())
		}
	}
	c.pairs(name, conn)
}

// pairs: one tunnel per pair of addresses. That both addresses of a tunnel belong to the groups is checked with the tunnel; the two
// rules together bound the number of tunnels.
func (c *checker) pairs(name string, conn *VPNConnection) {
	type pair struct{ cloud, customer string }
	seen := map[pair]string{}
	for _, t := range c.set.TunnelsOf(name) {
		p := pair{t.GetSpec().GetCloudAddress(), t.GetSpec().GetCustomerAddress()}
		if first, ok := seen[p]; ok {
			c.at(KindVPNTunnel, t.GetName()).fail("spec.customerAddress",
				"VPNTunnel %q already joins %s and %s in VPNConnection %q", first, p.cloud, p.customer, conn.GetName())
			continue
		}
		seen[p] = t.GetName()
	}
}

func (s scope) reference(field, kind, name string, found bool) {
	switch {
	case name == "":
		s.fail(field, "is required: the name of a %s", kind)
	case !found:
		s.fail(field, "there is no %s %q", kind, name)
	}
}
