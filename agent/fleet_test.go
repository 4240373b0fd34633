package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

// fleet is a host with many tenants: twenty tunnels to a gateway, two to a connection, and customers who announce routes.
type fleet struct {
	gateways, connections int
	// learned is how many routes each gateway's customers announce, each over both tunnels of a connection; the last connection's none.
	learned int
	// What a test changes of the first gateway.
	description string
	routes      []string
	specs       map[string]string
}

// newFleet has that many tunnels, an even number, and ten learned routes to each.
func newFleet(tunnels int) fleet {
	if tunnels <= 20 {
		return fleet{gateways: 1, connections: tunnels / 2, learned: 10 * tunnels, specs: map[string]string{}}
	}
	return fleet{gateways: tunnels / 20, connections: 10, learned: 200, specs: map[string]string{}}
}

func (f fleet) gateway(g int) string         { return fmt.Sprintf("tenant-%03d", g) }
func (f fleet) tunnel(g, c, i int) string    { return fmt.Sprintf("%s-%d-%d", f.gateway(g), c, i) }
func (f fleet) attachment(g int) string      { return fmt.Sprintf("vpc%d", g) }
func (f fleet) inside(c, i, host int) string { return fmt.Sprintf("169.254.%d.%d", c, 4*i+host) }
func (f fleet) customer(g, c, i int) string  { return fmt.Sprintf("100.%d.%d.%d", 64+g, c, i) }
func (f fleet) connection(g, c int) string   { return fmt.Sprintf("%s-%d", f.gateway(g), c) }
func (f fleet) learnedPrefix(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + n>>8), byte(n), 0}), 24)
}

// String is the fleet's manifests.
func (f fleet) String() string {
	var b strings.Builder
	for g := range f.gateways {
		routes, description := []string{"172.31.0.0/24"}, ""
		if g == 0 {
			routes, description = append(routes, f.routes...), f.description
		}
		for i, r := range routes {
			routes[i] = fmt.Sprintf("{prefix: %s, connection: %s}", r, f.connection(g, f.connections-1))
		}
		fmt.Fprintf(&b, "---\nkind: BorderGateway\nname: %s\nspec:\n  attachments: [{name: vpc, interface: %s, prefixes: [%s]}]\n  staticRoutes: [%s]\n",
			f.gateway(g), f.attachment(g), vpc, strings.Join(routes, ", "))
		for c := range f.connections {
			name := f.connection(g, c)
			fmt.Fprintf(&b, "---\nkind: CustomerGateway\nname: %s\nspec: {asn: 65010, addresses: [%s, %s]}\n", name, f.customer(g, c, 1), f.customer(g, c, 2))
			fmt.Fprintf(&b, "---\nkind: VPNConnection\nname: %s\nspec: {description: %q, borderGateway: %s, customerGateway: %s, routing: BGP, "+
				"cloudAddresses: [198.51.100.1, 198.51.100.2]}\n", name, description, f.gateway(g), name)
			for i := 1; i <= 2; i++ {
				t := f.tunnel(g, c, i)
				fmt.Fprintf(&b, "---\nkind: VPNTunnel\nname: %s\nspec: {connection: %s, cloudAddress: 198.51.100.%d, customerAddress: %s, "+
					"inside: {cloud: %s/30, customer: %s}, psk: {value: %s%s}%s}\n", t, name, i, f.customer(g, c, i),
					f.inside(c, i, 1), f.inside(c, i, 2), pskMark, t, f.specs[t])
			}
		}
	}
	return b.String()
}

// quotas let the fleet in.
func (f fleet) quotas() apiv1.Quotas {
	return apiv1.Quotas{BorderGateways: f.gateways, CustomerGateways: f.gateways * f.connections}
}

// speak has the customers announce their routes.
func (f fleet) speak(to *speakers) {
	to.mu.Lock()
	defer to.mu.Unlock()
	for g := range f.gateways {
		var learned []bgp.Learned
		for n := range f.learned {
			var paths []bgp.Path
			for i := 1; i <= 2; i++ {
				paths = append(paths, bgp.Path{Neighbor: plan.TunnelNeighbor(f.tunnel(g, n%max(1, f.connections-1), i)), Kind: bgp.Customer,
					ASPath: []uint32{65010}, Length: 1})
			}
			learned = append(learned, bgp.Learned{Prefix: f.learnedPrefix(n), Paths: paths})
		}
		slices.SortFunc(learned, func(a, b bgp.Learned) int { return bgp.ComparePrefixes(a.Prefix, b.Prefix) })
		to.learned[f.gateway(g)] = learned
	}
}

// startFleet runs an agent with the fleet until all tunnels are up and all routes are there.
func (w *world) startFleet(f fleet) {
	w.t.Helper()
	for g := range f.gateways {
		if g > 1 {
			w.kernel.AddDevice(f.attachment(g), netip.MustParsePrefix("10.0.255.254/24"))
		}
	}
	w.folder.quotas = f.quotas()
	s := newSpeakers(w.kernel)
	f.speak(s)
	w.speakers = s
	w.write(f.String())
	w.start()
	w.until("the fleet is up", func() bool { return w.fleetIsUp(f) })
}

func (w *world) fleetIsUp(f fleet) bool {
	v := w.agent.View()
	up, routes := 0, 0
	for _, g := range v.Gateways {
		up += int(g.GetStatus().GetTunnelsUp())
		routes += int(g.GetStatus().GetRoutes())
	}
	return w.agent.Ready() && up == 2*f.gateways*f.connections && routes == f.gateways*(f.learned+2)
}
