package apiv1_test

import (
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
	"google.golang.org/protobuf/types/known/durationpb"
)

// exampleSet is a tenant with two tunnels, defaults filled in and admitted without a finding.
func exampleSet() *apiv1.Set {
	s := apiv1.NewSet()
	s.BorderGateways["shop"] = &apiv1.BorderGateway{Name: "shop", Spec: &apiv1.BorderGatewaySpec{
		Asn: 65000,
		Attachments: []*apiv1.Attachment{{
			Name: "vpc-a", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"},
			Peer: &apiv1.AttachmentPeer{Address: "10.0.255.1", Asn: 64999},
		}},
		StaticRoutes: []*apiv1.StaticRoute{{Prefix: "172.16.0.0/16", Connection: "shop-idc"}},
	}}
	s.CustomerGateways["idc"] = &apiv1.CustomerGateway{Name: "idc", Spec: &apiv1.CustomerGatewaySpec{
		Asn: 65010, Addresses: []string{"203.0.113.1", "203.0.113.2"},
	}}
	s.Connections["shop-idc"] = &apiv1.VPNConnection{Name: "shop-idc", Spec: &apiv1.VPNConnectionSpec{
		BorderGateway: "shop", CustomerGateway: "idc", Routing: apiv1.RoutingBGP,
		CloudAddresses: []string{"198.51.100.1", "198.51.100.2"},
	}}
	addTunnel(s, "t1", "shop-idc", "198.51.100.1", "203.0.113.1", "169.254.10.1/30", "169.254.10.2")
	addTunnel(s, "t2", "shop-idc", "198.51.100.2", "203.0.113.2", "169.254.10.5/30", "169.254.10.6")
	s.SetDefaults()
	return s
}

func addTunnel(s *apiv1.Set, name, connection, cloud, customer, insideCloud, insideCustomer string) *apiv1.VPNTunnel {
	t := &apiv1.VPNTunnel{Name: name, Spec: &apiv1.VPNTunnelSpec{
		Connection: connection, CloudAddress: cloud, CustomerAddress: customer,
		Inside: &apiv1.Inside{Cloud: insideCloud, Customer: insideCustomer},
		Psk:    &apiv1.SecretSource{File: name + ".psk"},
	}}
	s.Tunnels[name] = t
	s.SetPSK(name, secret.New("psk-of-"+name))
	apiv1.DefaultTunnel(t)
	return t
}

// addTenant adds a second tenant with one tunnel between addresses of its own.
func addTenant(s *apiv1.Set) {
	s.BorderGateways["bank"] = &apiv1.BorderGateway{Name: "bank", Spec: &apiv1.BorderGatewaySpec{Asn: 65000}}
	s.CustomerGateways["branch"] = &apiv1.CustomerGateway{Name: "branch", Spec: &apiv1.CustomerGatewaySpec{
		Asn: 65020, Addresses: []string{"203.0.113.9"},
	}}
	s.Connections["bank-branch"] = &apiv1.VPNConnection{Name: "bank-branch", Spec: &apiv1.VPNConnectionSpec{
		BorderGateway: "bank", CustomerGateway: "branch", Routing: apiv1.RoutingStatic, CloudAddresses: []string{"198.51.100.1"},
	}}
	addTunnel(s, "b1", "bank-branch", "198.51.100.1", "203.0.113.9", "169.254.10.1/30", "169.254.10.2")
}

func seconds(n float64) *durationpb.Duration {
	return durationpb.New(time.Duration(n * float64(time.Second)))
}

func lines(findings []*apiv1.Finding) []string {
	var out []string
	for _, f := range findings {
		line := f.GetObject() + ": "
		if f.GetField() != "" {
			line += f.GetField() + ": "
		}
		if f.GetWarning() {
			line = "warning: " + line
		}
		out = append(out, line+f.GetMessage())
	}
	return out
}
