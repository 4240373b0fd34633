package apiv1

import (
	"fmt"
	"net/netip"
	"strings"
)

func (c *checker) borderGateway(name string, g *BorderGateway) {
	s, spec := c.at(KindBorderGateway, name), g.GetSpec()
	s.name("name", name)
	s.description(spec.GetDescription())
	s.asn("spec.asn", spec.GetAsn())
	q := c.opts.Quotas
	if n := len(spec.GetAttachments()); n > q.AttachmentsPerGateway {
		s.fail("spec.attachments", "are too many: the quota is %d, there are %d", q.AttachmentsPerGateway, n)
	}
	if n := len(spec.GetStaticRoutes()); n > q.StaticRoutesPerGateway {
		s.fail("spec.staticRoutes", "are too many: the quota is %d, there are %d", q.StaticRoutesPerGateway, n)
	}
	if n := len(c.set.ConnectionsOf(name)); n > q.ConnectionsPerGateway {
		s.fail("", "has too many connections: the quota is %d, there are %d", q.ConnectionsPerGateway, n)
	}
	c.attachments(s, name, spec.GetAttachments())
	c.staticRoutes(s, name, spec)
}

func (c *checker) attachments(s scope, gateway string, list []*Attachment) {
	names, prefixes, peers := map[string]string{}, map[netip.Prefix]string{}, map[netip.Addr]string{}
	for i, a := range list {
		path := fmt.Sprintf("spec.attachments[%d]", i)
		s.name(path+".name", a.GetName())
		s.once(names, a.GetName(), path+".name")
		if s.interfaceName(path+".interface", a.GetInterface()) && a.GetInterface() == c.opts.Underlay {
			s.fail(path+".interface", "must not be the underlay, which the encrypted packets use")
		}
		if len(a.GetPrefixes()) == 0 {
			s.fail(path+".prefixes", "is required: at least one prefix")
		}
		hop, hopField := c.nextHop(s, path, gateway, a, peers)
		for j, text := range a.GetPrefixes() {
			field := fmt.Sprintf("%s.prefixes[%d]", path, j)
			p, ok := s.prefix(field, text)
			if !ok {
				continue
			}
			onceKey(s, prefixes, p, field)
			if hop.IsValid() && hop.Is4() != p.Addr().Is4() {
				s.fail(field, "is not of the family of %s: use an attachment of its own for it", hopField)
			}
		}
	}
}

// nextHop checks the peer and next hop of an attachment and returns the router toward its prefixes, if there is one.
func (c *checker) nextHop(s scope, path, gateway string, a *Attachment, peers map[netip.Addr]string) (netip.Addr, string) {
	var hop netip.Addr
	field := ""
	if p := a.GetPeer(); p != nil {
		if addr, ok := s.addr(path+".peer.address", p.GetAddress()); ok {
			onceKey(s, peers, addr, path+".peer.address")
			hop, field = addr, "peer.address"
		}
		if p.GetAsn() == 0 {
			s.fail(path+".peer.asn", "is required")
		}
		s.asn(path+".peer.asn", p.GetAsn())
		s.password(path+".peer.password", p.GetPassword(), c.set.PeerPassword(gateway, a.GetName()))
	}
	if a.GetNextHop() != "" {
		if addr, ok := s.addr(path+".nextHop", a.GetNextHop()); ok {
			hop, field = addr, "nextHop"
		}
	}
	return hop, field
}

func (c *checker) staticRoutes(s scope, gateway string, spec *BorderGatewaySpec) {
	attachments := map[string]bool{}
	for _, a := range spec.GetAttachments() {
		attachments[a.GetName()] = true
	}
	type route struct {
		prefix netip.Prefix
		target string
	}
	seen := map[route]string{}
	for i, r := range spec.GetStaticRoutes() {
		path := fmt.Sprintf("spec.staticRoutes[%d]", i)
		p, ok := s.prefix(path+".prefix", r.GetPrefix())
		target := "connection " + r.GetConnection()
		switch {
		case r.GetConnection() == "" && r.GetAttachment() == "":
			s.fail(path, "needs a connection or an attachment")
			continue
		case r.GetConnection() != "" && r.GetAttachment() != "":
			s.fail(path, "has a connection and an attachment: exactly one is needed")
			continue
		case r.GetAttachment() != "":
			target = "attachment " + r.GetAttachment()
			if !attachments[r.GetAttachment()] {
				s.fail(path+".attachment", "there is no attachment %q in this BorderGateway", r.GetAttachment())
			}
		default:
			if conn, found := c.set.Connections[r.GetConnection()]; !found {
				s.fail(path+".connection", "there is no VPNConnection %q", r.GetConnection())
			} else if other := conn.GetSpec().GetBorderGateway(); other != gateway {
				s.fail(path+".connection", "VPNConnection %q belongs to BorderGateway %q", r.GetConnection(), other)
			}
		}
		if ok {
			onceKey(s, seen, route{p, target}, path)
		}
	}
}

// sharedInterfaces: a device can be in one VRF only, so two gateways of one host cannot take the same.
func (c *checker) sharedInterfaces() {
	type place struct{ host, device string }
	taken := map[place]string{}
	for _, name := range Names(c.set.BorderGateways) {
		hosts := map[string]bool{}
		for _, t := range c.set.TunnelsOfGateway(name) {
			if cloud, problem := parseAddr(t.GetSpec().GetCloudAddress()); problem == "" {
				hosts[c.hostKey(cloud)] = true
			}
		}
		for i, a := range c.set.BorderGateways[name].GetSpec().GetAttachments() {
			for _, host := range Names(hosts) {
				p := place{host, a.GetInterface()}
				if other, ok := taken[p]; ok && other != name {
					c.at(KindBorderGateway, name).fail(fmt.Sprintf("spec.attachments[%d].interface", i),
						"%s is already taken by BorderGateway %q on the same host", a.GetInterface(), other)
					break
				}
				taken[p] = name
			}
		}
	}
}

func (c *checker) customerGateway(name string, g *CustomerGateway) {
	s, spec := c.at(KindCustomerGateway, name), g.GetSpec()
	s.name("name", name)
	s.description(spec.GetDescription())
	s.asn("spec.asn", spec.GetAsn())
	s.addresses("spec.addresses", spec.GetAddresses(), c.opts.Quotas.AddressesPerCustomerGateway)
}

// addresses checks a list of 1 to most outer addresses.
func (s scope) addresses(path string, list []string, most int) {
	switch {
	case len(list) == 0:
		s.fail(path, "is required: 1 to %d addresses", most)
	case len(list) > most:
		s.fail(path, "are too many: at most %d, there are %d", most, len(list))
	}
	seen := map[netip.Addr]string{}
	for i, text := range list {
		field := fmt.Sprintf("%s[%d]", path, i)
		if a, ok := s.outerAddr(field, text); ok {
			onceKey(s, seen, a, field)
		}
	}
}

func (s scope) once(seen map[string]string, value, field string) {
	if value != "" {
		onceKey(s, seen, value, field)
	}
}

// onceKey reports a value that was there before, and where.
func onceKey[K comparable](s scope, seen map[K]string, value K, field string) {
	if first, ok := seen[value]; ok {
		s.fail(field, "is the same as %s", strings.TrimPrefix(first, "spec."))
		return
	}
	seen[value] = field
}
