//go:build bench

package rows

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

// patience is for what must come, on an emulated machine that is busy.
const patience = 5 * time.Minute

// router is a gateway with two tunnels and two BGP sessions, run by bordergw or by a peer. Both customers' routers announce the same prefixes
// while they are allowed to. Every router has a network of its own.
type router struct {
	*scenario.World
	t      *testing.T
	name   string
	routes int
	// device is the interface of the first tunnel on the gateway; programs are the daemons that make up the router.
	device   string
	programs []string
	// own is how many prefixes the gateway has when nothing is announced.
	own int
}

// newRouter builds a network and waits until nothing is missing in it; nothing is announced then.
func newRouter(t *testing.T, name string, routes int) *router {
	t.Helper()
	var announce []string
	for i := range routes {
		announce = append(announce, prefix(i)+"0/24")
	}
	r := &router{t: t, name: name, routes: routes, device: "xfrm1"}
	r.World = scenario.New(named{t, name}, scenario.Options{
		Routing: "BGP", SingleGateway: true, NoAgents: true, Probe: "{mode: OFF}", StaticRoutes: "[]",
		Spec1: fmt.Sprintf("bgp: {bfd: on, maxPrefixes: %d}", routes), Spec2: fmt.Sprintf("bgp: {bfd: on, maxPrefixes: %d}", routes),
		BIRD: func(c *lab.BIRDConf) { c.Announce, c.Peers[0].BFD = announce, true },
	})
	for _, b := range []*lab.BIRD{r.CustBIRD1, r.CustBIRD2} {
		r.must(b.Disable("announcev4"))
	}
	switch name {
	case "bordergw":
		r.agent()
	case "FRR":
		r.tunnels()
		r.frr()
	case "BIRD":
		r.tunnels()
		r.bird()
	default:
		t.Fatalf("no router is called %q", name)
	}
	r.sessions()
	r.VPCRouter.Route("20.0.0.0/6", lab.VPCGatewayA)
	var err error
	r.own, err = prefixes(r.GatewayA)
	r.must(err)
	return r
}

// prefix is the beginning of an address in the i-th announced /24.
func prefix(i int) string { return fmt.Sprintf("%d.%d.%d.", 20+i>>16, i>>8&255, i&255) }

func (r *router) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", r.name, err)
	}
}

func (r *router) agent() {
	manifests := r.Manifests()
	// The others tell nobody what they learn.
	manifests["shop.yaml"] = strings.Replace(manifests["shop.yaml"], ", peer: {address: 10.0.255.1, asn: 64999}", "", 1)
	r.AgentA = r.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB}, Charon: r.CharonA, Manifests: manifests,
		LogLevel: "info", Extra: fmt.Sprintf("quotas: {bgpRoutesPerGateway: %d}\n", r.routes)})
	r.programs = []string{"bordergw-agent"}
	r.Running(patience, scenario.Tunnel1+"=UP", scenario.Tunnel2+"=UP")
	tunnels, err := r.Tunnels()
	r.must(err)
	r.device = tunnels[scenario.Tunnel1].InterfaceName
}

// tunnels are those of the gateway without an agent: charon initiates, and XFRM interfaces lead into them.
func (r *router) tunnels() {
	for i, t := range []lab.CustomerTunnel{
		{Local: lab.GatewayA, Remote: lab.Customer1, PSK: scenario.PSK1, Inside: scenario.Inside1 + "/30"},
		{Local: lab.GatewayB, Remote: lab.Customer2, PSK: scenario.PSK2, Inside: scenario.Inside2 + "/30"},
	} {
		t.Name, t.IfID, t.Initiate = fmt.Sprintf("customer-%d", i+1), uint32(i+1), true
		r.CharonA.Tunnel(t)
	}
}

func (r *router) frr() {
	second := fmt.Sprintf(` neighbor %[1]s remote-as %[2]d
 neighbor %[1]s timers 10 30
 neighbor %[1]s timers connect 2
 neighbor %[1]s bfd
 address-family ipv4 unicast
  neighbor %[1]s activate
  maximum-paths 8
 exit-address-family
`, scenario.Inside2Customer, scenario.CustomerASN)
	r.GatewayA.FRR(lab.FRRConf{RouterID: lab.GatewayA, ASN: scenario.BorderASN, Neighbor: scenario.Inside1Customer, Remote: scenario.CustomerASN,
		Announce: []string{lab.VPCPrefix}, BFD: true, Extra: second})
	r.programs = []string{"zebra", "bgpd", "bfdd"}
}

func (r *router) bird() {
	r.GatewayA.BIRD(lab.BIRDConf{RouterID: lab.GatewayA, ASN: scenario.BorderASN, Announce: []string{lab.VPCPrefix}, Peers: []lab.BIRDPeer{
		{Name: "customer1", Local: scenario.Inside1, Address: scenario.Inside1Customer, ASN: scenario.CustomerASN, Interface: "xfrm1", BFD: true},
		{Name: "customer2", Local: scenario.Inside2, Address: scenario.Inside2Customer, ASN: scenario.CustomerASN, Interface: "xfrm2", BFD: true},
	}}.String())
	r.programs = []string{"bird"}
}

// sessions waits for both BGP sessions and their BFD, as the customers see them.
func (r *router) sessions() {
	r.t.Helper()
	for i, b := range []*lab.BIRD{r.CustBIRD1, r.CustBIRD2} {
		lab.Eventually(r.t, patience, fmt.Sprintf("%s: session %d", r.name, i+1), func() error {
			if err := b.Established("cloud"); err != nil {
				return err
			}
			text, err := b.Show("bfd sessions")
			if err == nil && !strings.Contains(text, "Up") {
				err = fmt.Errorf("BFD is not up: %s", text)
			}
			return err
		})
	}
}

// filled waits until the kernel has every route over both tunnels and nothing changes any more, and returns when the last change was.
func (r *router) filled(c *changes) time.Time {
	r.t.Helper()
	var last time.Time
	lab.Eventually(r.t, patience, fmt.Sprintf("%s: %d routes over both tunnels", r.name, r.routes), func() error {
		n, err := prefixes(r.GatewayA)
		if err != nil || n < r.own+r.routes {
			time.Sleep(200 * time.Millisecond)
			return fmt.Errorf("%d prefixes of %d: %w", n-r.own, r.routes, err)
		}
		last = c.lastTime()
		if since := time.Since(last); since < time.Second {
			return fmt.Errorf("the last change was %v ago", since)
		}
		return r.bothPaths()
	})
	return last
}

// bothPaths says whether every learned route has two next hops.
func (r *router) bothPaths() error {
	routes, err := r.learned()
	if err != nil {
		return err
	}
	two := 0
	for _, paths := range routes {
		if paths == 2 {
			two++
		}
	}
	if two != r.routes {
		return fmt.Errorf("%d of %d routes have two paths", two, r.routes)
	}
	return nil
}

// emptied waits until none of the routes is left.
func (r *router) emptied() {
	r.t.Helper()
	lab.Eventually(r.t, patience, r.name+": no routes", func() error {
		if n, err := prefixes(r.GatewayA); err != nil || n > r.own {
			time.Sleep(200 * time.Millisecond)
			return fmt.Errorf("%d prefixes are left: %w", n-r.own, err)
		}
		return nil
	})
}
