package apiv1_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// rule is one admission rule: what breaks it in an admitted Set, and what is said about it.
type rule struct {
	name   string
	breach func(*apiv1.Set)
	opts   apiv1.AdmitOptions
	want   []string
}

func testRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			s := exampleSet()
			r.breach(s)
			if diff := cmp.Diff(r.want, lines(apiv1.Admit(s, r.opts))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func owns(addresses ...string) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		for _, own := range addresses {
			if a.String() == own {
				return true
			}
		}
		return false
	}
}

func TestTheExampleIsAdmitted(t *testing.T) {
	testRules(t, []rule{
		{name: "from manifests", breach: func(*apiv1.Set) {}, opts: apiv1.AdmitOptions{Manifests: true}},
		{name: "on one host", breach: addTenant, opts: apiv1.AdmitOptions{Owns: owns("198.51.100.1", "198.51.100.2")}},
		{name: "two gateways may use the same inside prefixes", breach: addTenant},
	})
}

func border(f func(*apiv1.BorderGatewaySpec)) func(*apiv1.Set) {
	return func(s *apiv1.Set) { f(s.BorderGateways["shop"].Spec) }
}

func attachment(f func(*apiv1.Attachment)) func(*apiv1.Set) {
	return func(s *apiv1.Set) { f(s.BorderGateways["shop"].Spec.Attachments[0]) }
}

func TestBorderGatewayRules(t *testing.T) {
	const g = "BorderGateway/shop: "
	route := func(prefix, connection, attachment string) func(*apiv1.Set) {
		return border(func(b *apiv1.BorderGatewaySpec) {
			b.StaticRoutes = append(b.StaticRoutes, &apiv1.StaticRoute{Prefix: prefix, Connection: connection, Attachment: attachment})
		})
	}
	testRules(t, []rule{
		{name: "name", breach: func(s *apiv1.Set) {
			s.BorderGateways["Shop_"] = &apiv1.BorderGateway{Name: "Shop_", Spec: &apiv1.BorderGatewaySpec{Asn: 65000}}
		}, want: []string{"BorderGateway/Shop_: name: must be 1 to 63 small letters, digits and inner hyphens"}},
		{name: "reserved AS number", breach: border(func(b *apiv1.BorderGatewaySpec) { b.Asn = 23456 }),
			want: []string{g + "spec.asn: 23456 is reserved (AS_TRANS, RFC 6793)"}},
		{name: "last AS number", breach: border(func(b *apiv1.BorderGatewaySpec) { b.Asn = 4294967295 }),
			want: []string{g + "spec.asn: 4294967295 is reserved (RFC 7300)"}},
		{name: "four-byte AS number", breach: border(func(b *apiv1.BorderGatewaySpec) { b.Asn = 4200000000 })},
		{name: "description", breach: border(func(b *apiv1.BorderGatewaySpec) { b.Description = "a\nb" }),
			want: []string{g + "spec.description: must be at most 256 characters without control characters"}},

		{name: "attachment name", breach: attachment(func(a *apiv1.Attachment) { a.Name = "" }),
			want: []string{g + "spec.attachments[0].name: must be 1 to 63 small letters, digits and inner hyphens"}},
		{name: "interface missing", breach: attachment(func(a *apiv1.Attachment) { a.Interface = "" }),
			want: []string{g + "spec.attachments[0].interface: is required"}},
		{name: "interface too long", breach: attachment(func(a *apiv1.Attachment) { a.Interface = "sixteen-letters-" }),
			want: []string{g + `spec.attachments[0].interface: must be the name of a network interface (at most 15 characters), not "sixteen-letters-"`}},
		{name: "interface of ours", breach: attachment(func(a *apiv1.Attachment) { a.Interface = "bgw0" }),
			want: []string{g + "spec.attachments[0].interface: must not begin with bgw: such interfaces are the agent's own"}},
		{name: "loopback interface", breach: attachment(func(a *apiv1.Attachment) { a.Interface = "lo" }),
			want: []string{g + "spec.attachments[0].interface: must not be the loopback interface"}},
		{name: "underlay", breach: attachment(func(*apiv1.Attachment) {}), opts: apiv1.AdmitOptions{Underlay: "vpc0"},
			want: []string{g + "spec.attachments[0].interface: must not be the underlay, which the encrypted packets use"}},
		{name: "no prefixes", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes = nil }),
			want: []string{g + "spec.attachments[0].prefixes: is required: at least one prefix"}},
		{name: "host bits", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0] = "10.0.1.0/16" }),
			want: []string{g + "spec.attachments[0].prefixes[0]: has bits set behind the prefix length: the prefix is 10.0.0.0/16"}},
		{name: "not a prefix", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0] = "10.0.0.0" }),
			want: []string{g + `spec.attachments[0].prefixes[0]: must be a prefix such as 10.0.0.0/16, not "10.0.0.0"`}},
		{name: "empty prefix", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0] = "" }),
			want: []string{g + "spec.attachments[0].prefixes[0]: is required"}},
		{name: "multicast prefix", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0] = "224.0.0.0/8" }),
			want: []string{g + "spec.attachments[0].prefixes[0]: must be a unicast prefix that can be routed, not 224.0.0.0/8"}},
		{name: "prefix twice", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes = append(a.Prefixes, "10.0.0.0/16") }),
			want: []string{g + "spec.attachments[0].prefixes[1]: is the same as attachments[0].prefixes[0]"}},
		{name: "prefix not canonical", breach: attachment(func(a *apiv1.Attachment) { a.Peer, a.Prefixes[0] = nil, "2001:DB8::/32" }),
			want: []string{g + "spec.attachments[0].prefixes[0]: must be written in canonical form: 2001:db8::/32"}},
		{name: "prefix mapped", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0] = "::ffff:10.0.0.0/112" }),
			want: []string{g + "spec.attachments[0].prefixes[0]: must be written as IPv4, not ::ffff:10.0.0.0/112"}},
		{name: "family of the peer", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0] = "2001:db8::/32" }),
			want: []string{g + "spec.attachments[0].prefixes[0]: is not of the family of peer.address: use an attachment of its own for it"}},
		{name: "next hop of the family", breach: attachment(func(a *apiv1.Attachment) { a.Prefixes[0], a.NextHop = "2001:db8::/32", "2001:db8::1" })},
		{name: "next hop", breach: attachment(func(a *apiv1.Attachment) { a.NextHop = "router" }),
			want: []string{g + `spec.attachments[0].nextHop: must be an IPv4 or IPv6 address, not "router"`}},
		{name: "peer address", breach: attachment(func(a *apiv1.Attachment) { a.Peer.Address = "10.0.255.1/24" }),
			want: []string{g + `spec.attachments[0].peer.address: must be an address without prefix length, not "10.0.255.1/24"`}},
		{name: "peer without AS number", breach: attachment(func(a *apiv1.Attachment) { a.Peer.Asn = 0 }),
			want: []string{g + "spec.attachments[0].peer.asn: is required"}},
		{name: "iBGP peer", breach: attachment(func(a *apiv1.Attachment) { a.Peer.Asn = 65000 })},
		{name: "peer password without source", breach: attachment(func(a *apiv1.Attachment) { a.Peer.Password = &apiv1.SecretSource{} }),
			want: []string{g + "spec.attachments[0].peer.password: must have exactly one of value, file, env and sealed"}},
		{name: "peer password too long", breach: func(s *apiv1.Set) {
			s.BorderGateways["shop"].Spec.Attachments[0].Peer.Password = &apiv1.SecretSource{}
			s.SetPeerPassword("shop", "vpc-a", secret.New(strings.Repeat("p", 81)))
		}, want: []string{g + "spec.attachments[0].peer.password: must be 1 to 80 printable characters"}},
		{name: "attachment and peer twice", breach: border(func(b *apiv1.BorderGatewaySpec) {
			b.Attachments = append(b.Attachments, &apiv1.Attachment{
				Name: "vpc-a", Interface: "vpc0", Prefixes: []string{"10.9.0.0/16"}, Peer: &apiv1.AttachmentPeer{Address: "10.0.255.1", Asn: 64999},
			})
		}), want: []string{
			g + "spec.attachments[1].name: is the same as attachments[0].name",
			g + "spec.attachments[1].peer.address: is the same as attachments[0].peer.address",
		}},
		{name: "interface of another gateway on the same host", breach: func(s *apiv1.Set) {
			addTenant(s)
			s.BorderGateways["bank"].Spec.Attachments = []*apiv1.Attachment{{Name: "x", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"}}}
		}, want: []string{g + `spec.attachments[0].interface: vpc0 is already taken by BorderGateway "bank" on the same host`}},
		{name: "interface of another gateway on another host", breach: func(s *apiv1.Set) {
			addTenant(s)
			s.BorderGateways["bank"].Spec.Attachments = []*apiv1.Attachment{{Name: "x", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"}}}
			s.Connections["bank-branch"].Spec.CloudAddresses = []string{"198.51.100.7"}
			s.Tunnels["b1"].Spec.CloudAddress = "198.51.100.7"
		}},

		{name: "route without target", breach: route("172.17.0.0/16", "", ""),
			want: []string{g + "spec.staticRoutes[1]: needs a connection or an attachment"}},
		{name: "route with two targets", breach: route("172.17.0.0/16", "shop-idc", "vpc-a"),
			want: []string{g + "spec.staticRoutes[1]: has a connection and an attachment: exactly one is needed"}},
		{name: "route to an unknown attachment", breach: route("172.17.0.0/16", "", "vpc-b"),
			want: []string{g + `spec.staticRoutes[1].attachment: there is no attachment "vpc-b" in this BorderGateway`}},
		{name: "route to an unknown connection", breach: route("172.17.0.0/16", "idc", ""),
			want: []string{g + `spec.staticRoutes[1].connection: there is no VPNConnection "idc"`}},
		{name: "route to another gateway's connection", breach: func(s *apiv1.Set) { addTenant(s); route("172.17.0.0/16", "bank-branch", "")(s) },
			want: []string{g + `spec.staticRoutes[1].connection: VPNConnection "bank-branch" belongs to BorderGateway "bank"`}},
		{name: "route twice", breach: route("172.16.0.0/16", "shop-idc", ""),
			want: []string{g + "spec.staticRoutes[1]: is the same as staticRoutes[0]"}},
		{name: "one prefix by two ways", breach: route("172.16.0.0/16", "", "vpc-a")},
		{name: "default routes", breach: func(s *apiv1.Set) { route("0.0.0.0/0", "shop-idc", "")(s); route("::/0", "shop-idc", "")(s) }},
		{name: "route prefix", breach: route("172.17.0.1/16", "shop-idc", ""),
			want: []string{g + "spec.staticRoutes[1].prefix: has bits set behind the prefix length: the prefix is 172.17.0.0/16"}},
	})
}

func TestCustomerGatewayRules(t *testing.T) {
	const g = "CustomerGateway/idc: "
	customer := func(f func(*apiv1.CustomerGatewaySpec)) func(*apiv1.Set) {
		return func(s *apiv1.Set) { f(s.CustomerGateways["idc"].Spec) }
	}
	address := func(text string) func(*apiv1.Set) {
		return customer(func(c *apiv1.CustomerGatewaySpec) { c.Addresses = append(c.Addresses, text) })
	}
	testRules(t, []rule{
		{name: "AS number", breach: customer(func(c *apiv1.CustomerGatewaySpec) { c.Asn = 65535 }),
			want: []string{g + "spec.asn: 65535 is reserved (RFC 7300)"}},
		{name: "address twice", breach: address("203.0.113.1"), want: []string{g + "spec.addresses[2]: is the same as addresses[0]"}},
		{name: "name instead of address", breach: address("vpn.example.com"),
			want: []string{g + `spec.addresses[2]: must be an IPv4 or IPv6 address, not "vpn.example.com"`}},
		{name: "loopback", breach: address("127.0.0.1"), want: []string{g + "spec.addresses[2]: must be a unicast address, not 127.0.0.1"}},
		{name: "broadcast", breach: address("255.255.255.255"), want: []string{g + "spec.addresses[2]: must be a unicast address, not 255.255.255.255"}},
		{name: "link-local", breach: address("fe80::1"), want: []string{g + "spec.addresses[2]: must not be a link-local address: fe80::1"}},
		{name: "zone", breach: address("fe80::1%eth0"), want: []string{g + "spec.addresses[2]: must have no zone: fe80::1%eth0"}},
		{name: "mapped", breach: address("::ffff:203.0.113.7"), want: []string{g + "spec.addresses[2]: must be written as IPv4: 203.0.113.7"}},
		{name: "not canonical", breach: address("2001:DB8:0::1"), want: []string{g + "spec.addresses[2]: must be written in canonical form: 2001:db8::1"}},
		{name: "none", breach: func(s *apiv1.Set) {
			addTenant(s)
			s.CustomerGateways["branch"].Spec.Addresses = nil
			delete(s.Tunnels, "b1")
		},
			want: []string{"CustomerGateway/branch: spec.addresses: is required: 1 to 4 addresses"}},
		{name: "five", breach: func(s *apiv1.Set) { address("203.0.113.3")(s); address("203.0.113.4")(s); address("203.0.113.5")(s) },
			want: []string{g + "spec.addresses: are too many: at most 4, there are 5"}},
	})
}

func TestQuotas(t *testing.T) {
	testRules(t, []rule{
		{name: "gateways", breach: addTenant, opts: apiv1.AdmitOptions{Quotas: apiv1.Quotas{BorderGateways: 1, CustomerGateways: 1}}, want: []string{
			"BorderGateway/shop: is one too many: the quota is 1 BorderGateways, there are 2",
			"CustomerGateway/idc: is one too many: the quota is 1 CustomerGateways, there are 2",
		}},
		{name: "connections of one gateway", breach: func(s *apiv1.Set) {
			addTenant(s)
			s.Connections["bank-branch"].Spec.BorderGateway = "shop"
			s.Tunnels["b1"].Spec.Inside = &apiv1.Inside{Cloud: "169.254.10.9/30", Customer: "169.254.10.10"}
		}, opts: apiv1.AdmitOptions{Quotas: apiv1.Quotas{ConnectionsPerGateway: 1}},
			want: []string{"BorderGateway/shop: has too many connections: the quota is 1, there are 2"}},
		{name: "attachments and routes", breach: border(func(b *apiv1.BorderGatewaySpec) {
			b.Attachments = append(b.Attachments, &apiv1.Attachment{Name: "b", Interface: "vpc1", Prefixes: []string{"10.1.0.0/16"}})
			b.StaticRoutes = append(b.StaticRoutes, &apiv1.StaticRoute{Prefix: "10.2.0.0/16", Attachment: "b"})
		}), opts: apiv1.AdmitOptions{Quotas: apiv1.Quotas{AttachmentsPerGateway: 1, StaticRoutesPerGateway: 1}}, want: []string{
			"BorderGateway/shop: spec.attachments: are too many: the quota is 1, there are 2",
			"BorderGateway/shop: spec.staticRoutes: are too many: the quota is 1, there are 2",
		}},
		{name: "addresses", breach: func(*apiv1.Set) {}, opts: apiv1.AdmitOptions{Quotas: apiv1.Quotas{AddressesPerCustomerGateway: 1}},
			want: []string{"CustomerGateway/idc: spec.addresses: are too many: at most 1, there are 2"}},
	})
	want := apiv1.Quotas{
		BorderGateways: 7, CustomerGateways: 10, ConnectionsPerGateway: 10, StaticRoutesPerGateway: 50,
		BGPRoutesPerGateway: 300, AttachmentsPerGateway: 50, AddressesPerCustomerGateway: 4,
	}
	if diff := cmp.Diff(want, apiv1.QuotasOf(&apiv1.QuotaConfig{BorderGateways: 7})); diff != "" {
		t.Errorf("QuotasOf (-want +got):\n%s", diff)
	}
}
