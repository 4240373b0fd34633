package plan

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shop is a tenant with a static and a BGP connection, each with a tunnel on either host.
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

func load(t *testing.T, text string) *apiv1.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(text), 0o600); err != nil {
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

func host(addresses ...string) Host {
	h := Host{Name: "gw-a", Underlay: "eth0", UnderlayMTU: 1500}
	for _, a := range addresses {
		h.Addresses = append(h.Addresses, netip.MustParseAddr(a))
	}
	return h
}

func build(t *testing.T, set *apiv1.Set, h Host, name string) *Gateway {
	t.Helper()
	g, err := Build(set, h, NewIDs(), name, 300)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func up(tunnels ...string) Running {
	r := Running{Tunnels: map[string]TunnelRunning{}, Members: map[string]bool{"vpc0": true}}
	for _, t := range tunnels {
		r.Tunnels[t] = TunnelRunning{Up: true, Encryption: "AES_GCM_16"}
	}
	return r
}

func learned(prefix string, tunnels ...string) bgp.Learned {
	l := bgp.Learned{Prefix: netip.MustParsePrefix(prefix)}
	for _, t := range tunnels {
		l.Paths = append(l.Paths, bgp.Path{Neighbor: TunnelNeighbor(t), Kind: bgp.Customer, ASPath: []uint32{65010}})
	}
	return l
}

// TestPlanText holds the whole plan of typical situations against golden files.
func TestPlanText(t *testing.T) {
	tests := []struct {
		name string
		host Host
		run  Running
		edit func(*apiv1.Set)
	}{
		{name: "nothing-up", host: host("198.51.100.1"), run: Running{}},
		{name: "one-host", host: host("198.51.100.1"), run: up("shop-idc-1")},
		{name: "both-tunnels-here", host: host("198.51.100.1", "198.51.100.2"), run: func() Running {
			r := up("shop-idc-1", "shop-idc-2")
			r.Learned = []bgp.Learned{learned("172.17.0.0/16", "shop-idc-1", "shop-idc-2"), learned("172.18.0.0/16", "shop-idc-2")}
			return r
		}()},
		{name: "static", host: host("198.51.100.1", "198.51.100.2"), run: up("shop-idc-2"), edit: func(s *apiv1.Set) {
			s.Connections["shop-idc"].Spec.Routing = apiv1.RoutingStatic
		}},
		{name: "admin-down", host: host("198.51.100.1"), run: up("shop-idc-1"), edit: func(s *apiv1.Set) {
			s.Tunnels["shop-idc-1"].Spec.AdminState = apiv1.AdminStateDown
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			set := load(t, shop)
			if test.edit != nil {
				test.edit(set)
			}
			p, err := build(t, set, test.host, "shop-prod").For(test.run)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Text()
			for _, hidden := range []string{"a-key-nobody-may-see", "another-hidden-key"} {
				if strings.Contains(got, hidden) {
					t.Errorf("the text shows a secret:\n%s", got)
				}
			}
			file := filepath.Join("testdata", test.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("plan (-want +got), go test -update rewrites:\n%s", diff)
			}
		})
	}
}

func TestServes(t *testing.T) {
	set := load(t, shop)
	for _, test := range []struct {
		address string
		want    []string
	}{
		{"198.51.100.1", []string{"shop-prod"}},
		{"198.51.100.2", []string{"shop-prod"}},
		{"198.51.100.3", nil},
	} {
		if diff := cmp.Diff(test.want, Serves(set, host(test.address))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.address, diff)
		}
	}
}
