// Package scenario tests bordergw end to end: real charon, real kernel, real BGP peers, real packets. world.go builds what the
// scenarios and the demonstration share; the scenarios themselves are behind the build tag "lab".
package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/bordergw/bordergw/configs"
	"github.com/bordergw/bordergw/test/lab"
)

// The site-to-site connection of a World.
const (
	Gateway    = "shop-prod"
	Connection = "shop-idc"
	Tunnel1    = "shop-idc-1" // 198.51.100.1 – 203.0.113.1
	Tunnel2    = "shop-idc-2" // 198.51.100.2 – 203.0.113.2

	PSK1 = "kept-from-all-eyes-number-one"
	PSK2 = "kept-from-all-eyes-number-two"

	Inside1         = "169.254.10.1"
	Inside1Customer = "169.254.10.2"
	Inside2         = "169.254.10.5"
	Inside2Customer = "169.254.10.6"

	BorderASN   = 65000
	CustomerASN = 65010
	FabricASN   = 64999
)

// startup is ample for daemons under emulation.
const startup = 60 * time.Second

// Options of a World.
type Options struct {
	// Routing is STATIC or BGP.
	Routing string
	// SingleGateway puts both cloud addresses on one host.
	SingleGateway bool
	// Probe is the probe section of both tunnels in YAML flow style; default: the product's defaults.
	Probe string
	// Spec1 and Spec2 are more fields of the tunnels' specs in YAML, one per line: "adminState: DOWN".
	Spec1, Spec2 string
	// StaticRoutes replaces the static routes of the BorderGateway, in YAML flow style; default: the customer's LAN to the connection.
	StaticRoutes string
	// Agent is more of the agents' configuration, in YAML.
	Agent string
	// BIRD changes the configuration of the customer's routers.
	BIRD func(*lab.BIRDConf)
	// Customer changes the customer's ends before they are loaded.
	Customer func(*lab.CustomerTunnel)
	// NoAgents leaves the agents to the scenario, NoCustomer the customer's ends of the tunnels.
	NoAgents, NoCustomer bool
}

// World is a customer's site with two routers, a VPC, and gateway hosts that run an agent and a charon each.
type World struct {
	*lab.Site2Cloud
	T                    lab.T
	Options              Options
	CharonA, CharonB     *lab.Charon // CharonB is nil with SingleGateway
	AgentA, AgentB       *lab.Agent
	Charon1, Charon2     *lab.Charon // the customer's
	VPCBIRD              *lab.BIRD
	CustBIRD1, CustBIRD2 *lab.BIRD // nil with STATIC
}

// New builds the world and starts everything in it. It waits for nothing that bordergw has to achieve.
func New(t lab.T, o Options) *World {
	t.Helper()
	l := lab.New(t)
	w := &World{Site2Cloud: l.Site2Cloud(lab.Site2CloudOptions{SingleGateway: o.SingleGateway}), T: t, Options: o}
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	for i := 1; i < customerAddresses; i++ {
		w.CustomerHost.Address("lan0", customerAddress(i)+"/24")
	}
	w.VPCBIRD = w.Site2Cloud.VPCBIRD(FabricASN, BorderASN)
	w.startCustomers()
	w.CharonA = w.GatewayA.Charon(GatewayCharon())
	if w.GatewayB != nil {
		w.CharonB = w.GatewayB.Charon(GatewayCharon())
	}
	if !o.NoAgents {
		w.StartAgents()
	}
	return w
}

// GatewayCharon is a charon with the configuration that bordergw ships, but for its socket and for a log to look at afterwards.
func GatewayCharon() lab.CharonOptions {
	conf := strings.ReplaceAll(configs.StrongSwan, "unix:///run/bordergw/charon.vici", "unix://${socket}")
	conf += `
charon-systemd {
  filelog {
    stdout {
      default = 1
      ike_name = yes
      time_format = %H:%M:%S
      time_add_ms = yes
      flush_line = yes
    }
  }
}
`
	return lab.CharonOptions{Config: conf}
}

// StartAgents starts an agent on each gateway host, with the same manifests.
func (w *World) StartAgents() {
	w.T.Helper()
	addresses := []string{lab.GatewayA}
	if w.Options.SingleGateway {
		addresses = append(addresses, lab.GatewayB)
	}
	w.AgentA = w.GatewayA.Agent(lab.AgentOptions{Addresses: addresses, Charon: w.CharonA, Manifests: w.Manifests(), Extra: w.Options.Agent})
	if w.GatewayB != nil {
		w.AgentB = w.GatewayB.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayB}, Charon: w.CharonB, Manifests: w.Manifests(), Extra: w.Options.Agent})
	}
}

func (w *World) startCustomers() {
	w.T.Helper()
	w.Charon1 = w.Customer1.Charon(lab.CharonOptions{})
	w.Charon2 = w.Customer2.Charon(lab.CharonOptions{})
	if !w.Options.NoCustomer {
		w.Customer(lab.CustomerTunnel{Local: lab.Customer1, Remote: lab.GatewayA, PSK: PSK1, Inside: Inside1Customer + "/30"},
			lab.CustomerTunnel{Local: lab.Customer2, Remote: lab.GatewayB, PSK: PSK2, Inside: Inside2Customer + "/30"})
	}
}

// Customer gives the customer's two routers their ends of the tunnels, and begins to route as the options say.
func (w *World) Customer(one, two lab.CustomerTunnel) {
	w.T.Helper()
	w.loadCustomer(w.Charon1, &one)
	w.loadCustomer(w.Charon2, &two)
	if w.Options.Routing == "BGP" {
		w.CustBIRD1 = w.Customer1.BIRD(w.bgpOver(one))
		w.CustBIRD2 = w.Customer2.BIRD(w.bgpOver(two))
		return
	}
	w.StaticCustomer()
}

// StaticCustomer gives the customer's routers a static route into their tunnels.
func (w *World) StaticCustomer() {
	w.T.Helper()
	w.Customer1.Route(lab.VPCPrefix, "xfrm1")
	w.Customer2.Route(lab.VPCPrefix, "xfrm1")
}

func (w *World) loadCustomer(c *lab.Charon, t *lab.CustomerTunnel) {
	w.T.Helper()
	t.Name, t.IfID = "cloud", 1
	if w.Options.Customer != nil {
		w.Options.Customer(t)
	}
	c.Tunnel(*t)
}

// bgpOver is the BIRD of a customer's router between the inside addresses of its tunnel.
func (w *World) bgpOver(t lab.CustomerTunnel) string {
	w.T.Helper()
	peer, err := lab.InsidePeer(t.Inside)
	if err != nil {
		w.T.Fatalf("%v", err)
	}
	local, _, _ := strings.Cut(t.Inside, "/")
	return w.customerBIRD(t.Local, local, peer.String())
}

func (w *World) customerBIRD(routerID, local, peer string) string {
	conf := lab.BIRDConf{RouterID: routerID, ASN: CustomerASN, Announce: []string{lab.CustomerLAN},
		Peers: []lab.BIRDPeer{{Name: "cloud", Local: local, Address: peer, ASN: BorderASN, Interface: "xfrm1"}}}
	if w.Options.BIRD != nil {
		w.Options.BIRD(&conf)
	}
	return conf.String()
}

// Manifests are those of the options as they are now.
func (w *World) Manifests() map[string]string {
	spec := func(more string) string {
		if w.Options.Probe != "" {
			more = "probe: " + w.Options.Probe + "\n" + more
		}
		var lines string
		for line := range strings.Lines(more) {
			lines += "\n  " + strings.TrimSuffix(line, "\n")
		}
		return lines
	}
	routes := w.Options.StaticRoutes
	if routes == "" {
		routes = "[{prefix: 172.16.0.0/24, connection: shop-idc}]"
	}
	return map[string]string{"shop.yaml": fmt.Sprintf(`kind: BorderGateway
name: shop-prod
spec:
  asn: 65000
  attachments:
  - {name: vpc-a, interface: vpc0, prefixes: [10.0.0.0/16], peer: {address: 10.0.255.1, asn: 64999}}
  staticRoutes: %s
---
kind: CustomerGateway
name: shop-idc
spec: {asn: 65010, addresses: [203.0.113.1, 203.0.113.2]}
---
kind: VPNConnection
name: shop-idc
spec:
  description: shop's data centre
  borderGateway: shop-prod
  customerGateway: shop-idc
  routing: %s
  cloudAddresses: [198.51.100.1, 198.51.100.2]
---
kind: VPNTunnel
name: shop-idc-1
spec:
  connection: shop-idc
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.1
  inside: {cloud: 169.254.10.1/30, customer: 169.254.10.2}
  psk: {value: %q}%s
---
kind: VPNTunnel
name: shop-idc-2
spec:
  connection: shop-idc
  cloudAddress: 198.51.100.2
  customerAddress: 203.0.113.2
  inside: {cloud: 169.254.10.5/30, customer: 169.254.10.6}
  psk: {value: %q}%s
`, routes, w.Options.Routing, PSK1, spec(w.Options.Spec1), PSK2, spec(w.Options.Spec2))}
}

// Apply gives the manifests of the present options to every agent.
func (w *World) Apply() {
	w.T.Helper()
	for _, a := range w.Agents() {
		a.WriteManifests(w.Manifests())
	}
}

// Agents are those that run.
func (w *World) Agents() []*lab.Agent {
	if w.AgentB == nil {
		return []*lab.Agent{w.AgentA}
	}
	return []*lab.Agent{w.AgentA, w.AgentB}
}

// Charons are the gateways' charons.
func (w *World) Charons() []*lab.Charon {
	if w.CharonB == nil {
		return []*lab.Charon{w.CharonA}
	}
	return []*lab.Charon{w.CharonA, w.CharonB}
}
