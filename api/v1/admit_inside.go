package apiv1

import (
	"net/netip"
	"strings"
)

// inside checks one tunnel's own addresses: one /30 or /31, /126 or /127 holds both ends.
func (c *checker) inside(s scope, spec *VPNTunnelSpec) {
	in := spec.GetInside()
	if in == nil {
		if c.opts.Manifests {
			s.fail("spec.inside", "is required: the tunnel's own addresses at both ends")
		}
		return
	}
	prefix, ok := s.insideCloud(in.GetCloud())
	customer, okCustomer := s.addr("spec.inside.customer", in.GetCustomer())
	if !ok || !okCustomer {
		return
	}
	switch {
	case !prefix.Contains(customer):
		s.fail("spec.inside.customer", "%s is not in %s, the prefix of inside.cloud", customer, prefix.Masked())
	case customer == prefix.Addr():
		s.fail("spec.inside.customer", "must differ from inside.cloud")
	case edge(netip.PrefixFrom(customer, prefix.Bits())):
		s.fail("spec.inside.customer", "%s is the %s of %s", customer, edgeName(netip.PrefixFrom(customer, prefix.Bits())), prefix.Masked())
	}
}

func (s scope) insideCloud(text string) (netip.Prefix, bool) {
	const field = "spec.inside.cloud"
	p, err := netip.ParsePrefix(text)
	switch {
	case text == "":
		s.fail(field, "is required")
	case err != nil && !strings.Contains(text, "/"):
		s.fail(field, "must have a prefix length, as in 169.254.10.1/30, not %q", text)
	case err != nil:
		s.fail(field, "must be an address with a prefix length, as in 169.254.10.1/30, not %q", text)
	case p.Addr().Is4In6():
		s.fail(field, "must be written as IPv4, not %s", text)
	case p.String() != text:
		s.fail(field, "must be written in canonical form: %s", p)
	case p.Addr().Is4() && p.Bits() != 30 && p.Bits() != 31:
		s.fail(field, "must be a /30 or /31, not /%d", p.Bits())
	case p.Addr().Is6() && p.Bits() != 126 && p.Bits() != 127:
		s.fail(field, "must be a /126 or /127, not /%d", p.Bits())
	case !unicast(p.Addr()) || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast():
		s.fail(field, "must be a unicast address that can be routed, not %s", p.Addr())
	case edge(p):
		s.fail(field, "%s is the %s of %s", p.Addr(), edgeName(p), p.Masked())
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// edge says whether the address of p is one that no host may have: network and broadcast of an IPv4 /30, the Subnet-Router anycast
// address of an IPv6 /126 (RFC 4291 §2.6.1). A /31 (RFC 3021) and a /127 (RFC 6164) have none.
func edge(p netip.Prefix) bool { return edgeName(p) != "" }

func edgeName(p netip.Prefix) string {
	first := p.Addr() == p.Masked().Addr()
	switch {
	case p.Bits() == 30 && first:
		return "network address"
	case p.Bits() == 30 && !p.Contains(p.Addr().Next()):
		return "broadcast address"
	case p.Bits() == 126 && first:
		return "anycast address"
	}
	return ""
}

// insideOverlaps: within one BorderGateway no two tunnels share inside addresses. VRFs keep gateways apart, so between them they may.
func (c *checker) insideOverlaps() {
	type owned struct {
		prefix netip.Prefix
		tunnel string
	}
	byGateway := map[string][]owned{}
	for _, name := range Names(c.set.Tunnels) {
		t := c.set.Tunnels[name]
		conn, ok := c.set.Connections[t.GetSpec().GetConnection()]
		p, err := netip.ParsePrefix(t.GetSpec().GetInside().GetCloud())
		if !ok || err != nil {
			continue
		}
		gateway := conn.GetSpec().GetBorderGateway()
		for _, other := range byGateway[gateway] {
			if p.Overlaps(other.prefix) {
				c.at(KindVPNTunnel, name).fail("spec.inside.cloud", "%s overlaps %s of VPNTunnel %q in the same BorderGateway",
					p.Masked(), other.prefix.Masked(), other.tunnel)
				break
			}
		}
		byGateway[gateway] = append(byGateway[gateway], owned{p, name})
	}
}
