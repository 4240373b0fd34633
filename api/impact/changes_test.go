package impact

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// shop is a tenant with a BGP connection, a tunnel on either host.
const shop = `
kind: BorderGateway
name: shop-prod
spec:
  attachments:
  - {name: vpc-a, interface: vpc0, prefixes: [10.0.0.0/16], peer: {address: 10.0.255.1, asn: 64999}}
  staticRoutes:
  - {prefix: 172.16.0.0/16, connection: shop-idc}
  - {prefix: 10.9.0.0/16, attachment: vpc-a}
---
kind: CustomerGateway
name: shop-idc
spec: {asn: 65010, addresses: [203.0.113.1, 203.0.113.2]}
---
kind: VPNConnection
name: shop-idc
spec: {borderGateway: shop-prod, customerGateway: shop-idc, routing: BGP, cloudAddresses: [198.51.100.1, 198.51.100.2]}
---
kind: VPNTunnel
name: shop-idc-1
spec:
  connection: shop-idc
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.1
  inside: {cloud: 169.254.10.1/30, customer: 169.254.10.2}
  psk: {value: "a-key-nobody-may-see"}
  bgp: {med: 50, prepend: 2, password: "another-hidden-key"}
---
kind: VPNTunnel
name: shop-idc-2
spec:
  connection: shop-idc
  cloudAddress: 198.51.100.2
  customerAddress: 203.0.113.2
  inside: {cloud: 169.254.10.5/30, customer: 169.254.10.6}
  psk: {value: "a-key-nobody-may-see"}
`

func load(t *testing.T) *apiv1.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	set, findings := manifest.Load(dir, manifest.LoadOptions{})
	if set == nil {
		for _, f := range findings {
			t.Error(manifest.Format(f))
		}
		t.FailNow()
	}
	return set
}

// oneHost is the first host, that knows of no other; fleet is both.
func oneHost(cloud netip.Addr) string {
	return map[string]string{"198.51.100.1": "gw-a"}[cloud.String()]
}

func fleet(cloud netip.Addr) string {
	return map[string]string{"198.51.100.1": "gw-a", "198.51.100.2": "gw-b"}[cloud.String()]
}

// TestEveryFieldHasAnImpact compares the table with the schema: a new field must say what its change does.
func TestEveryFieldHasAnImpact(t *testing.T) {
	want := map[string]bool{}
	for kind, spec := range map[string]proto.Message{
		apiv1.KindBorderGateway: &apiv1.BorderGatewaySpec{}, apiv1.KindCustomerGateway: &apiv1.CustomerGatewaySpec{},
		apiv1.KindVPNConnection: &apiv1.VPNConnectionSpec{}, apiv1.KindVPNTunnel: &apiv1.VPNTunnelSpec{},
	} {
		schema(spec.ProtoReflect().Descriptor(), kind+"/spec", want)
	}
	have := impacts()
	for path := range want {
		if _, ok := have[path]; !ok {
			t.Errorf("no impact: %s", path)
		}
	}
	for path := range have {
		if !want[path] {
			t.Errorf("no such field: %s", path)
		}
	}
}

func schema(d protoreflect.MessageDescriptor, path string, out map[string]bool) {
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		at := path + "." + f.JSONName()
		name := ""
		if f.IsList() && f.Message() != nil {
			at += "[]"
			out[at] = true
			for _, n := range []protoreflect.Name{"name", "prefix"} {
				if f.Message().Fields().ByName(n) != nil {
					name = string(n)
				}
			}
		}
		leaf := f.Message() == nil
		if !leaf {
			switch f.Message().FullName() {
			case (&durationpb.Duration{}).ProtoReflect().Descriptor().FullName(), (&apiv1.SecretSource{}).ProtoReflect().Descriptor().FullName():
				leaf = true
			}
		}
		if leaf {
			out[at] = true
			continue
		}
		schema(f.Message(), at, out)
		delete(out, at+"."+name)
	}
}

// show is a change in one line for each field.
func show(changes []*apiv1.PlannedChange) []string {
	var out []string
	for _, c := range changes {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.GetAction(), c.GetObject(), c.GetImpact(), strings.Join(c.GetTunnels(), ","))))
		for _, f := range c.GetFields() {
			line := fmt.Sprintf("  %s: %s > %s: %s", f.GetField(), f.GetOld(), f.GetNew(), f.GetImpact())
			if f.GetMessage() != "" {
				line += " (" + f.GetMessage() + ")"
			}
			out = append(out, line)
		}
	}
	return out
}

func TestChanges(t *testing.T) {
	tunnel := func(s *apiv1.Set) *apiv1.VPNTunnelSpec { return s.Tunnels["shop-idc-1"].Spec }
	down := map[string]bool{"shop-idc-1": true}
	for _, tc := range []struct {
		name   string
		before func(*apiv1.Set)
		change func(*apiv1.Set)
		down   map[string]bool
		// hosts is nil for the first one alone.
		hosts func(netip.Addr) string
		want  []string
	}{
		{name: "nothing", change: func(*apiv1.Set) {}},
		{name: "descriptions and routes", change: func(s *apiv1.Set) {
			s.Connections["shop-idc"].Spec.Description = "moved"
			g := s.BorderGateways["shop-prod"].Spec
			g.StaticRoutes = append(g.StaticRoutes[1:], &apiv1.StaticRoute{Prefix: "172.18.0.0/16", Connection: "shop-idc"})
		}, want: []string{
			"CHANGED BorderGateway/shop-prod none",
			"  spec.staticRoutes[172.16.0.0/16]: connection shop-idc > : none",
			"  spec.staticRoutes[172.18.0.0/16]:  > connection shop-idc: none",
			"CHANGED VPNConnection/shop-idc none",
			"  spec.description:  > moved: none",
		}},
		{name: "proposals and lifetimes", change: func(s *apiv1.Set) {
			tunnel(s).Ike.Proposals = []string{"aes256-sha256-modp2048"}
			tunnel(s).Esp.Lifetime = durationpb.New(600e9)
		}, want: []string{
			"CHANGED VPNTunnel/shop-idc-1 rekey shop-idc-1",
			"  spec.ike.proposals: aes256gcm16-prfsha384-ecp384, aes128gcm16-prfsha256-ecp256, aes256-sha256-modp2048, aes128-sha256-modp2048 > aes256-sha256-modp2048: rekey",
			"  spec.esp.lifetime: 1h0m0s > 10m0s: rekey",
		}},
		{name: "the same where only the customer begins", before: func(s *apiv1.Set) { tunnel(s).Initiation = apiv1.InitiationRespond },
			change: func(s *apiv1.Set) { tunnel(s).Esp.Lifetime = durationpb.New(600e9) }, want: []string{
				"CHANGED VPNTunnel/shop-idc-1 tunnel shop-idc-1",
				"  spec.esp.lifetime: 1h0m0s > 10m0s: tunnel (the SAs are closed and the customer has to begin anew)",
			}},
		{name: "the same of a tunnel that was taken down here", down: down,
			change: func(s *apiv1.Set) { tunnel(s).Esp.Lifetime = durationpb.New(600e9) }, want: []string{
				"CHANGED VPNTunnel/shop-idc-1 none",
				"  spec.esp.lifetime: 1h0m0s > 10m0s: none (the tunnel is down)",
			}},
		{name: "a key", change: func(s *apiv1.Set) { s.SetPSK("shop-idc-1", secret.New("another-key-nobody-may-see")) }, want: []string{
			"CHANGED VPNTunnel/shop-idc-1 rekey shop-idc-1",
			"  spec.psk: value > value: rekey (psk changed)",
		}},
		{name: "the same key from a file", change: func(s *apiv1.Set) { tunnel(s).Psk = &apiv1.SecretSource{File: "/etc/key"} }, want: []string{
			"CHANGED VPNTunnel/shop-idc-1 none",
			"  spec.psk: value > file /etc/key: none (it comes from elsewhere and is the same)",
		}},
		{name: "a BGP password", change: func(s *apiv1.Set) { s.SetBGPPassword("shop-idc-1", secret.New("hidden-as-well")) }, want: []string{
			"CHANGED VPNTunnel/shop-idc-1 tunnel shop-idc-1",
			"  spec.bgp.password: value > value: tunnel (password changed; the BGP session starts anew)",
		}},
		{name: "BGP policy and timers without BGP", before: func(s *apiv1.Set) { s.Connections["shop-idc"].Spec.Routing = apiv1.RoutingStatic },
			change: func(s *apiv1.Set) { tunnel(s).Bgp.Prepend, tunnel(s).Bgp.Hold = 5, durationpb.New(9e9) }, want: []string{
				"CHANGED VPNTunnel/shop-idc-1 none",
				"  spec.bgp.hold: 30s > 9s: none",
				"  spec.bgp.prepend: 2 > 5: none",
			}},
		{name: "inside addresses", change: func(s *apiv1.Set) {
			tunnel(s).Inside = &apiv1.Inside{Cloud: "169.254.11.1/30", Customer: "169.254.11.2"}
		}, want: []string{
			"CHANGED VPNTunnel/shop-idc-1 tunnel shop-idc-1",
			"  spec.inside.cloud: 169.254.10.1/30 > 169.254.11.1/30: tunnel (the tunnel's address, its probe and its BGP session change)",
			"  spec.inside.customer: 169.254.10.2 > 169.254.11.2: tunnel (the tunnel's address, its probe and its BGP session change)",
		}},
		{name: "the routing mode", change: func(s *apiv1.Set) { s.Connections["shop-idc"].Spec.Routing = apiv1.RoutingStatic }, want: []string{
			"CHANGED VPNConnection/shop-idc connection shop-idc-1",
			"  spec.routing: BGP > STATIC: connection (all BGP sessions begin or end; SAs and static routes stay)",
		}},
		{name: "the customer's ASN", change: func(s *apiv1.Set) { s.CustomerGateways["shop-idc"].Spec.Asn = 65011 }, want: []string{
			"CHANGED CustomerGateway/shop-idc connection shop-idc-1",
			"  spec.asn: 65010 > 65011: connection (all BGP sessions start anew)",
		}},
		{name: "the first IPv6 prefix", change: func(s *apiv1.Set) {
			a := s.BorderGateways["shop-prod"].Spec.Attachments[0]
			a.Prefixes = append(a.Prefixes, "2001:db8:a::/48")
		}, want: []string{
			"CHANGED BorderGateway/shop-prod connection shop-idc-1",
			"  spec.attachments[vpc-a].prefixes: 10.0.0.0/16 > 10.0.0.0/16, 2001:db8:a::/48: none",
			"  address families in use: IPv4 > IPv4 and IPv6: connection (traffic selectors of all tunnels change; all BGP sessions start anew)",
		}},
		{name: "an attachment with a peer", change: func(s *apiv1.Set) {
			g := s.BorderGateways["shop-prod"].Spec
			g.Attachments = append(g.Attachments, &apiv1.Attachment{Name: "vpc-b", Interface: "vpc1", Prefixes: []string{"10.8.0.0/16"},
				Peer: &apiv1.AttachmentPeer{Address: "10.8.0.1", Asn: 64998}})
		}, want: []string{
			"CHANGED BorderGateway/shop-prod none",
			"  spec.attachments[vpc-b]:  > interface vpc1, prefixes 10.8.0.0/16, peer.address 10.8.0.1, peer.asn 64998: none",
		}},
		{name: "a tunnel goes, another comes", change: func(s *apiv1.Set) {
			s.Tunnels["shop-idc-3"] = s.Tunnels["shop-idc-1"]
			delete(s.Tunnels, "shop-idc-1")
		}, want: []string{"REMOVED VPNTunnel/shop-idc-1 tunnel shop-idc-1", "ADDED VPNTunnel/shop-idc-3 none"}},
		{name: "admin DOWN", change: func(s *apiv1.Set) { tunnel(s).AdminState = apiv1.AdminStateDown }, want: []string{
			"CHANGED VPNTunnel/shop-idc-1 tunnel shop-idc-1", "  spec.adminState: UP > DOWN: tunnel",
		}},
		{name: "admin UP", before: func(s *apiv1.Set) { tunnel(s).AdminState = apiv1.AdminStateDown }, change: func(s *apiv1.Set) {
			tunnel(s).AdminState = apiv1.AdminStateUp
		}, want: []string{"CHANGED VPNTunnel/shop-idc-1 none", "  spec.adminState: DOWN > UP: none (the tunnel is down)"}},
		{name: "a tunnel of another host", change: func(s *apiv1.Set) { s.Tunnels["shop-idc-2"].Spec.Inside.Customer = "169.254.10.7" }, want: []string{
			"CHANGED VPNTunnel/shop-idc-2 tunnel",
			"  spec.inside.customer: 169.254.10.6 > 169.254.10.7: tunnel (the tunnel's address, its probe and its BGP session change)",
		}},
		{name: "a gateway's ASN, on all hosts", hosts: fleet, change: func(s *apiv1.Set) { s.BorderGateways["shop-prod"].Spec.Asn = 64900 }, want: []string{
			"CHANGED BorderGateway/shop-prod connection shop-idc-1,shop-idc-2",
			"  spec.asn: 65000 > 64900: connection (all BGP sessions of the gateway start anew)",
		}},
		// The other host has had IPv6 all the time.
		{name: "the first IPv6 prefix on a host beside one that has IPv6", hosts: fleet, before: func(s *apiv1.Set) {
			s.Tunnels["shop-idc-2"].Spec.Inside = &apiv1.Inside{Cloud: "fd00::1/126", Customer: "fd00::2"}
		}, change: func(s *apiv1.Set) {
			s.BorderGateways["shop-prod"].Spec.Attachments[0].Prefixes = []string{"10.0.0.0/16", "2001:db8:a::/48"}
		}, want: []string{
			"CHANGED BorderGateway/shop-prod connection shop-idc-1,shop-idc-2",
			"  spec.attachments[vpc-a].prefixes: 10.0.0.0/16 > 10.0.0.0/16, 2001:db8:a::/48: none",
			"  address families in use: IPv4 > IPv4 and IPv6: connection (traffic selectors of all tunnels change; all BGP sessions start anew)",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old := load(t)
			if tc.before != nil {
				tc.before(old)
			}
			proposed := old.Clone()
			tc.change(proposed)
			if tc.hosts == nil {
				tc.hosts = oneHost
			}
			got := Changes(old, proposed, Scope{Host: tc.hosts, Down: func(tunnel string) bool { return tc.down[tunnel] }})
			if diff := cmp.Diff(tc.want, show(got)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			for _, hidden := range []string{"nobody-may-see", "hidden"} {
				if text := fmt.Sprint(got); strings.Contains(text, hidden) {
					t.Errorf("a secret shows: %s", text)
				}
			}
		})
	}
	if got := Greatest([]*apiv1.PlannedChange{{Impact: "rekey"}, {Impact: "none"}}); got != apiv1.ImpactRekey {
		t.Errorf("the greatest impact is %q", got)
	}
	if got := slices.Sorted(maps.Keys(impacts())); len(got) < 60 {
		t.Errorf("only %d fields", len(got))
	}
}
