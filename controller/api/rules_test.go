package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
)

func writeFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shop is a tenant with two tunnels; other shares no resource with it but the hosts.
func shop() (*apiv1.BorderGateway, *apiv1.CustomerGateway, *apiv1.VPNConnection, *apiv1.VPNTunnel, *apiv1.VPNTunnel) {
	border := &apiv1.BorderGateway{Name: "shop", Spec: &apiv1.BorderGatewaySpec{Asn: 65000, Attachments: []*apiv1.Attachment{
		{Name: "vpc", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"}},
	}}}
	customer := &apiv1.CustomerGateway{Name: "idc", Spec: &apiv1.CustomerGatewaySpec{Asn: 65010, Addresses: []string{"203.0.113.1", "203.0.113.2"}}}
	conn := &apiv1.VPNConnection{Name: "shop-idc", Spec: &apiv1.VPNConnectionSpec{
		BorderGateway: "shop", CustomerGateway: "idc", Routing: "BGP", CloudAddresses: []string{"198.51.100.1", "198.51.100.2"},
	}}
	return border, customer, conn, tunnel("shop-idc-1", 1, 1), tunnel("shop-idc-2", 2, 2)
}

func tunnel(name string, cloud, customer int) *apiv1.VPNTunnel {
	return &apiv1.VPNTunnel{Name: name, Spec: &apiv1.VPNTunnelSpec{
		Connection: "shop-idc", CloudAddress: fmt.Sprintf("198.51.100.%d", cloud), CustomerAddress: fmt.Sprintf("203.0.113.%d", customer),
		Inside: &apiv1.Inside{Cloud: fmt.Sprintf("169.254.10.%d/30", 4*cloud+1), Customer: fmt.Sprintf("169.254.10.%d", 4*cloud+2)},
		Psk:    &apiv1.SecretSource{Value: "secret-of-" + name},
	}}
}

func host(name string, addresses ...string) *apiv1.GatewayHost {
	return &apiv1.GatewayHost{Name: name, Spec: &apiv1.GatewayHostSpec{Addresses: addresses}}
}

// changed returns a copy with one change.
func changed[T proto.Message](m T, f func(T)) T {
	m = proto.CloneOf(m)
	f(m)
	return m
}

func TestEveryRuleHasItsError(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	r.apply(host("gw-a", "198.51.100.1", "198.51.100.11"), host("gw-b", "198.51.100.2"), border, customer, conn, t1, t2)
	const invalid, precondition, quota = connect.CodeInvalidArgument, connect.CodeFailedPrecondition, connect.CodeResourceExhausted
	many := func(n int) (out []model.Object) {
		for i := range n {
			out = append(out, changed(conn, func(c *apiv1.VPNConnection) { c.Name = fmt.Sprint("c", i) }))
		}
		return out
	}
	del := func(kind, name string) func() error {
		return func() error {
			switch kind {
			case apiv1.KindBorderGateway:
				_, err := r.operator.DeleteBorderGateway(t.Context(), &apiv1.DeleteBorderGatewayRequest{Name: name})
				return err
			case apiv1.KindCustomerGateway:
				_, err := r.operator.DeleteCustomerGateway(t.Context(), &apiv1.DeleteCustomerGatewayRequest{Name: name})
				return err
			case apiv1.KindVPNConnection:
				_, err := r.operator.DeleteVPNConnection(t.Context(), &apiv1.DeleteVPNConnectionRequest{Name: name})
				return err
			case apiv1.KindGatewayHost:
				_, err := r.operator.DeleteGatewayHost(t.Context(), &apiv1.DeleteGatewayHostRequest{Name: name})
				return err
			}
			_, err := r.operator.DeleteVPNTunnel(t.Context(), &apiv1.DeleteVPNTunnelRequest{Name: name})
			return err
		}
	}
	apply := func(objects ...model.Object) func() error {
		return func() error { _, err := r.try(objects...); return err }
	}
	for _, tc := range []struct {
		name string
		do   func() error
		code connect.Code
		want string
	}{
		{"name", apply(&apiv1.BorderGateway{Name: "Shop"}), invalid, "BorderGateway/Shop: name: must be 1 to 63 small letters, digits and inner hyphens"},
		{"name missing", apply(&apiv1.BorderGateway{}), invalid, "BorderGateway/: name: must be 1 to 63 small letters, digits and inner hyphens"},
		{"display name", apply(changed(border, func(g *apiv1.BorderGateway) { g.Metadata = &apiv1.Metadata{DisplayName: "a\nb"} })), invalid,
			"BorderGateway/shop: metadata.displayName: must be at most 64 characters without control characters"},
		{"unique names", func() error {
			_, err := r.operator.CreateBorderGateway(t.Context(), &apiv1.CreateBorderGatewayRequest{BorderGateway: border})
			return err
		}, connect.CodeAlreadyExists, `BorderGateway/shop: name: there already is a BorderGateway "shop"`},
		{"the same twice in one apply", apply(border, border), invalid, "BorderGateway/shop: is there twice"},

		{"three cloud addresses", apply(changed(conn, func(c *apiv1.VPNConnection) { c.Spec.CloudAddresses = append(c.Spec.CloudAddresses, "198.51.100.3") })),
			invalid, "VPNConnection/shop-idc: spec.cloudAddresses: are too many: at most 2, there are 3"},
		{"a pair twice", apply(changed(t1, func(x *apiv1.VPNTunnel) {
			x.Name, x.Spec.LocalId, x.Spec.RemoteId = "third", "a.example", "b.example"
			x.Spec.Inside = &apiv1.Inside{Cloud: "169.254.10.13/30", Customer: "169.254.10.14"}
		})), invalid, `VPNTunnel/third: spec.customerAddress: VPNTunnel "shop-idc-1" already joins 198.51.100.1 and 203.0.113.1 in VPNConnection "shop-idc"`},
		{"cloud address of another connection", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Name, x.Spec.CloudAddress = "third", "198.51.100.9" })), invalid,
			`VPNTunnel/third: spec.cloudAddress: 198.51.100.9 is not a cloud address of VPNConnection "shop-idc" (198.51.100.1, 198.51.100.2); ` +
				`VPNTunnel/third: spec.inside.cloud: 169.254.10.4/30 overlaps 169.254.10.4/30 of VPNTunnel "shop-idc-1" in the same BorderGateway`},
		{"customer address of another customer", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Name, x.Spec.CustomerAddress, x.Spec.Inside = "third", "203.0.113.9", nil })),
			invalid, `VPNTunnel/third: spec.customerAddress: 203.0.113.9 is not an address of CustomerGateway "idc" (203.0.113.1, 203.0.113.2)`},
		{"no connection", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Name, x.Spec.Connection = "third", "nowhere" })), invalid,
			`VPNTunnel/third: spec.connection: there is no VPNConnection "nowhere"; ` +
				`VPNTunnel/third: spec.remoteId: localId 198.51.100.1 and remoteId 203.0.113.1 are already those of VPNTunnel "shop-idc-1" on host gw-a`},
		{"layout is full", apply(&apiv1.VPNTunnel{Name: "third", Spec: &apiv1.VPNTunnelSpec{Connection: "shop-idc"}}), precondition,
			`VPNTunnel/third: spec.cloudAddress: must be given: every fitting pair of the default layout of VPNConnection "shop-idc" has a tunnel`},

		{"BGP without ASN", apply(changed(customer, func(c *apiv1.CustomerGateway) { c.Spec.Asn = 0 })), precondition,
			`VPNConnection/shop-idc: spec.routing: BGP needs an AS number: CustomerGateway "idc" has none`},
		{"the same ASN, by the customer", apply(changed(customer, func(c *apiv1.CustomerGateway) { c.Spec.Asn = 65000 })), precondition,
			`VPNConnection/shop-idc: spec.routing: BGP needs different AS numbers: BorderGateway "shop" and CustomerGateway "idc" both have 65000`},
		{"the same ASN, by the gateway", apply(changed(border, func(g *apiv1.BorderGateway) { g.Spec.Asn = 65010 })), precondition,
			`VPNConnection/shop-idc: spec.routing: BGP needs different AS numbers: BorderGateway "shop" and CustomerGateway "idc" both have 65010`},

		{"inside prefix length", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Inside.Cloud = "169.254.10.5/29" })), invalid,
			"VPNTunnel/shop-idc-1: spec.inside.cloud: must be a /30 or /31, not /29"},
		{"inside ends apart", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Inside.Customer = "169.254.10.9" })), invalid,
			"VPNTunnel/shop-idc-1: spec.inside.customer: 169.254.10.9 is not in 169.254.10.4/30, the prefix of inside.cloud"},
		{"inside overlap", apply(changed(t1, func(x *apiv1.VPNTunnel) {
			x.Spec.Inside = &apiv1.Inside{Cloud: "169.254.10.10/31", Customer: "169.254.10.11"}
		})), precondition, `VPNTunnel/shop-idc-2: spec.inside.cloud: 169.254.10.8/30 overlaps 169.254.10.10/31 of VPNTunnel "shop-idc-1" in the same BorderGateway`},

		{"identities of one host, over its addresses", apply(
			changed(conn, func(c *apiv1.VPNConnection) {
				c.Name, c.Spec.CloudAddresses = "second", []string{"198.51.100.11", "198.51.100.2"}
			}),
			changed(t1, func(x *apiv1.VPNTunnel) {
				x.Name, x.Spec.Connection, x.Spec.CloudAddress, x.Spec.LocalId, x.Spec.Inside = "third", "second", "198.51.100.11", "198.51.100.1", nil
			})), invalid, `VPNTunnel/third: spec.remoteId: localId 198.51.100.1 and remoteId 203.0.113.1 are already those of VPNTunnel "shop-idc-1" on host gw-a`},
		{"two keys behind one remote identity", apply(
			changed(conn, func(c *apiv1.VPNConnection) {
				c.Name, c.Spec.CloudAddresses = "second", []string{"198.51.100.11", "198.51.100.2"}
			}),
			changed(t1, func(x *apiv1.VPNTunnel) {
				x.Name, x.Spec.Connection, x.Spec.CloudAddress, x.Spec.Inside = "third", "second", "198.51.100.11", nil
				x.Spec.Psk = &apiv1.SecretSource{Value: "quite-another-key"}
			})), invalid, `VPNTunnel/third: spec.remoteId: VPNTunnel "shop-idc-1" on host gw-a has remoteId 203.0.113.1 and customerAddress 203.0.113.1 too, ` +
			`but another key: give both the same key, or each its own remoteId`},

		{"connection with tunnels", del(apiv1.KindVPNConnection, "shop-idc"), precondition,
			"VPNConnection/shop-idc: cannot be deleted while it has tunnels; it has shop-idc-1, shop-idc-2"},
		{"tunnel that is UP", del(apiv1.KindVPNTunnel, "shop-idc-1"), precondition,
			"VPNTunnel/shop-idc-1: can be deleted only when its adminState is DOWN: set that first"},
		{"used customer", del(apiv1.KindCustomerGateway, "idc"), precondition, "CustomerGateway/idc: cannot be deleted while VPNConnection shop-idc uses it"},
		{"used gateway", del(apiv1.KindBorderGateway, "shop"), precondition, "BorderGateway/shop: cannot be deleted while VPNConnection shop-idc uses it"},
		{"used host", del(apiv1.KindGatewayHost, "gw-b"), precondition,
			"GatewayHost/gw-b: cannot be deleted: its address 198.51.100.2 is used by VPNConnection shop-idc"},
		{"nothing to delete", del(apiv1.KindVPNTunnel, "none"), connect.CodeNotFound, "VPNTunnel/none: does not exist"},
		{"customer's addresses", apply(changed(customer, func(c *apiv1.CustomerGateway) { c.Spec.Addresses = append(c.Spec.Addresses, "203.0.113.3") })),
			precondition, "CustomerGateway/idc: spec.addresses: can change only while there is no tunnel; there is shop-idc-1, shop-idc-2"},
		{"another gateway for a connection", apply(&apiv1.BorderGateway{Name: "other"}, changed(conn, func(c *apiv1.VPNConnection) { c.Spec.BorderGateway = "other" })),
			precondition, `VPNConnection/shop-idc: spec.borderGateway: can change from "shop" to "other" only while there is no tunnel; there is shop-idc-1, shop-idc-2`},
		{"ends of a tunnel that is UP", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.CustomerAddress = "203.0.113.2" })), precondition,
			"VPNTunnel/shop-idc-1: spec.customerAddress: can change from 203.0.113.1 to 203.0.113.2 only when adminState is DOWN: set that first"},

		{"quota of gateways", apply(&apiv1.BorderGateway{Name: "g2"}, &apiv1.BorderGateway{Name: "g3"}, &apiv1.BorderGateway{Name: "g4"}, &apiv1.BorderGateway{Name: "g5"},
			&apiv1.BorderGateway{Name: "g6"}), quota, "BorderGateway/g2: is one too many: the quota is 5 BorderGateways, there are 6; " +
			"BorderGateway/g3: is one too many: the quota is 5 BorderGateways, there are 6; BorderGateway/g4: is one too many: the quota is 5 BorderGateways, there are 6; " +
			"BorderGateway/g5: is one too many: the quota is 5 BorderGateways, there are 6; BorderGateway/g6: is one too many: the quota is 5 BorderGateways, there are 6"},
		{"quota of connections", apply(many(10)...), quota, "BorderGateway/shop: has too many connections: the quota is 10, there are 11"},
		{"quota of static routes", apply(changed(border, func(g *apiv1.BorderGateway) {
			for i := range 51 {
				g.Spec.StaticRoutes = append(g.Spec.StaticRoutes, &apiv1.StaticRoute{Prefix: fmt.Sprintf("10.9.%d.0/24", i), Connection: "shop-idc"})
			}
		})), invalid, "BorderGateway/shop: spec.staticRoutes: are too many: the quota is 50, there are 51"},
		{"quota of attachments", apply(changed(border, func(g *apiv1.BorderGateway) {
			for i := range 50 {
				g.Spec.Attachments = append(g.Spec.Attachments, &apiv1.Attachment{Name: fmt.Sprint("a", i), Interface: fmt.Sprint("e", i), Prefixes: []string{fmt.Sprintf("10.1.%d.0/24", i)}})
			}
		})), invalid, "BorderGateway/shop: spec.attachments: are too many: the quota is 50, there are 51"},
		{"quota of BGP routes", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Bgp = &apiv1.BGP{MaxPrefixes: 301} })), invalid,
			"VPNTunnel/shop-idc-1: spec.bgp.maxPrefixes: must be at most 300, the quota of BGP routes of a BorderGateway, not 301"},
		{"quota of customer addresses", apply(&apiv1.CustomerGateway{Name: "big", Spec: &apiv1.CustomerGatewaySpec{
			Addresses: []string{"203.0.113.21", "203.0.113.22", "203.0.113.23", "203.0.113.24", "203.0.113.25"}}}), invalid,
			"CustomerGateway/big: spec.addresses: are too many: at most 4, there are 5"},

		{"route to nowhere", apply(changed(border, func(g *apiv1.BorderGateway) {
			g.Spec.StaticRoutes = []*apiv1.StaticRoute{{Prefix: "10.9.0.0/16", Connection: "nowhere"}}
		})), invalid, `BorderGateway/shop: spec.staticRoutes[0].connection: there is no VPNConnection "nowhere"`},
		{"route over another gateway's connection", apply(&apiv1.BorderGateway{Name: "other", Spec: &apiv1.BorderGatewaySpec{
			StaticRoutes: []*apiv1.StaticRoute{{Prefix: "10.9.0.0/16", Connection: "shop-idc"}}}}), invalid,
			`BorderGateway/other: spec.staticRoutes[0].connection: VPNConnection "shop-idc" belongs to BorderGateway "shop"`},
		{"interface of another gateway on the host", apply(
			&apiv1.BorderGateway{Name: "other", Spec: &apiv1.BorderGatewaySpec{Attachments: border.GetSpec().GetAttachments()}},
			&apiv1.CustomerGateway{Name: "cafe", Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{"203.0.113.7"}}},
			&apiv1.VPNConnection{Name: "cafe", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "other", CustomerGateway: "cafe", Routing: "STATIC", CloudAddresses: []string{"198.51.100.11"}}},
			&apiv1.VPNTunnel{Name: "cafe", Spec: &apiv1.VPNTunnelSpec{Connection: "cafe"}}), precondition,
			`BorderGateway/other: spec.attachments[0].interface: vpc0 is already taken by BorderGateway "shop" on the same host`},

		{"short key", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Psk = &apiv1.SecretSource{Value: "short"} })), invalid,
			"VPNTunnel/shop-idc-1: spec.psk: must be 8 to 64 printable characters"},
		{"key from a file", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Psk = &apiv1.SecretSource{File: "/etc/shadow"} })), invalid,
			"VPNTunnel/shop-idc-1: spec.psk: must be given by value: a controller reads no files and no variables for its clients (bordergwctl does)"},
		{"sealed key", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Psk = &apiv1.SecretSource{Sealed: []byte("x")} })), invalid,
			"VPNTunnel/shop-idc-1: spec.psk: must be given by value: the controller seals it for the hosts"},
		{"password that is not there", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Bgp = &apiv1.BGP{Password: &apiv1.SecretSource{}} })), invalid,
			"VPNTunnel/shop-idc-1: spec.bgp.password: is empty, and there is none yet that could be kept: give its value"},
		{"a value's range", apply(changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Mtu = 99999 })), invalid,
			"VPNTunnel/shop-idc-1: spec.mtu: must be between 576 and 9216 bytes, not 99999"},

		{"no host for a new connection", apply(&apiv1.CustomerGateway{Name: "six", Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{"2001:db8::1"}}},
			&apiv1.VPNConnection{Name: "six", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop", CustomerGateway: "six", Routing: "STATIC"}}), precondition,
			"VPNConnection/six: spec.cloudAddresses: cannot be allocated: 2 gateway hosts with a free IPv6 address are needed, there are 0; give them, or add hosts"},
		{"an address of two hosts", apply(host("gw-c", "198.51.100.2")), invalid, `GatewayHost/gw-c: spec.addresses[0]: 198.51.100.2 belongs to GatewayHost "gw-b"`},
		{"address taken away", apply(host("gw-b", "198.51.100.22")), precondition,
			"GatewayHost/gw-b: spec.addresses: 198.51.100.2 cannot be taken away while VPNConnection shop-idc has it"},
		{"host's address", apply(host("gw-c", "fe80::1")), invalid, "GatewayHost/gw-c: spec.addresses[0]: must not be a link-local address: fe80::1"},
	} {
		t.Run(tc.name, func(t *testing.T) { told(t, tc.do(), tc.code, tc.want) })
	}
	resp, err := r.operator.ListAudit(t.Context(), &apiv1.ListAuditRequest{})
	if err != nil || len(resp.GetItems()) != 7 {
		t.Errorf("refused writes have left %d entries in the audit log, and %v", len(resp.GetItems())-7, err)
	}
}

// What the rules allow although it looks like a conflict.
func TestWhatIsAllowed(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	r.apply(host("gw-a", "198.51.100.1"), host("gw-b", "198.51.100.2"), border, customer, conn, t1, t2)
	// Another gateway with the same inside and customer prefixes: VRFs keep them apart.
	other := &apiv1.BorderGateway{Name: "other", Spec: &apiv1.BorderGatewaySpec{StaticRoutes: []*apiv1.StaticRoute{{Prefix: "172.16.0.0/16", Connection: "cafe"}}}}
	cafe := &apiv1.VPNConnection{Name: "cafe", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "other", CustomerGateway: "cafe", Routing: "STATIC", CloudAddresses: []string{"198.51.100.1"}}}
	r.apply(other, &apiv1.CustomerGateway{Name: "cafe", Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{"203.0.113.7"}}}, cafe,
		&apiv1.VPNTunnel{Name: "cafe", Spec: &apiv1.VPNTunnelSpec{Connection: "cafe", Inside: t1.GetSpec().GetInside()}})
	down := func(x *apiv1.VPNTunnel) *apiv1.VPNTunnel {
		return changed(x, func(x *apiv1.VPNTunnel) { x.Spec.AdminState = "DOWN" })
	}
	r.apply(down(t1), down(t2))
	for _, name := range []string{t1.GetName(), t2.GetName()} {
		if _, err := r.operator.DeleteVPNTunnel(t.Context(), &apiv1.DeleteVPNTunnelRequest{Name: name}); err != nil {
			t.Error(err)
		}
	}
	r.apply(changed(customer, func(c *apiv1.CustomerGateway) { c.Spec.Addresses = []string{"203.0.113.9"} }))
	if _, err := r.operator.DeleteVPNConnection(t.Context(), &apiv1.DeleteVPNConnectionRequest{Name: "shop-idc"}); err != nil {
		t.Error(err)
	}
	// The interface is free again.
	r.apply(changed(other, func(g *apiv1.BorderGateway) { g.Spec.Attachments = border.GetSpec().GetAttachments() }))
}

func TestDefaultLayouts(t *testing.T) {
	r := start(t)
	r.apply(host("gw-a", "198.51.100.1"), host("gw-b", "198.51.100.2"), &apiv1.BorderGateway{Name: "shop"})
	for n, want := range map[int]string{
		1: "198.51.100.1-203.0.1.1 198.51.100.2-203.0.1.1",
		2: "198.51.100.1-203.0.2.1 198.51.100.2-203.0.2.2",
		3: "198.51.100.1-203.0.3.1 198.51.100.1-203.0.3.2 198.51.100.2-203.0.3.3",
		4: "198.51.100.1-203.0.4.1 198.51.100.1-203.0.4.2 198.51.100.2-203.0.4.3 198.51.100.2-203.0.4.4",
	} {
		customer := &apiv1.CustomerGateway{Name: fmt.Sprint("c", n), Spec: &apiv1.CustomerGatewaySpec{}}
		for i := range n {
			customer.Spec.Addresses = append(customer.Spec.Addresses, fmt.Sprintf("203.0.%d.%d", n, i+1))
		}
		r.apply(customer)
		propose := func(dryRun bool) string {
			resp, err := r.operator.CreateVPNConnection(t.Context(), &apiv1.CreateVPNConnectionRequest{DryRun: dryRun, DefaultTunnels: true,
				VpnConnection: &apiv1.VPNConnection{Name: fmt.Sprint("n", n), Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop", CustomerGateway: customer.GetName(), Routing: "STATIC"}}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range resp.GetVpnTunnels() {
				got = append(got, x.GetSpec().GetCloudAddress()+"-"+x.GetSpec().GetCustomerAddress())
			}
			return strings.Join(got, " ")
		}
		if got := propose(true); got != want {
			t.Errorf("%d addresses: %s are proposed, want %s", n, got, want)
		}
		if got := propose(false); got != want {
			t.Errorf("%d addresses: %s, want %s", n, got, want)
		}
	}
}
