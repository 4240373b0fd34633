package agent

import (
	"fmt"
	"strings"
)

// The tunnels of the two gateways that the tests use.
const (
	shop1, shop2 = "shop-1", "shop-2"
	mill1, mill2 = "mill-1", "mill-2"
	// Marks that must appear nowhere but in charon.
	pskMark = "kept-from-all-eyes-"
	lan     = "172.16.0.0/24"
	vpc     = "10.0.0.0/16"
)

// tenant is a BorderGateway with a connection of two tunnels. Both tenants use the same inside and customer prefixes.
type tenant struct {
	name        string
	number      int // of the customer's addresses and the attachment
	description string
	asn         int
	routing     string
	routes      []string
	attached    bool
	peer        string // of the attachment, in YAML flow style without braces
	// specs are further fields of a tunnel, by name, in YAML flow style without braces.
	specs map[string]string
	// without leaves a tunnel out.
	without map[string]bool
}

func shop() tenant {
	return tenant{name: "shop", number: 0, asn: 65000, routing: "STATIC", routes: []string{lan}, attached: true,
		specs: map[string]string{}, without: map[string]bool{}}
}

func mill() tenant {
	t := shop()
	t.name, t.number = "mill", 1
	return t
}

// String is the tenant's manifests.
func (c tenant) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: BorderGateway\nname: %s\nspec:\n  asn: %d\n", c.name, c.asn)
	if c.attached {
		peer := ""
		if c.peer != "" {
			peer = ", peer: {" + c.peer + "}"
		}
		fmt.Fprintf(&b, "  attachments: [{name: vpc, interface: vpc%d, prefixes: [%s]%s}]\n", c.number, vpc, peer)
	}
	var routes []string
	for _, r := range c.routes {
		routes = append(routes, fmt.Sprintf("{prefix: %s, connection: %s}", r, c.name))
	}
	fmt.Fprintf(&b, "  staticRoutes: [%s]\n", strings.Join(routes, ", "))
	base := 10 * c.number
	fmt.Fprintf(&b, "---\nkind: CustomerGateway\nname: %s\nspec: {asn: 65010, addresses: [203.0.113.%d, 203.0.113.%d]}\n", c.name, base+1, base+2)
	fmt.Fprintf(&b, "---\nkind: VPNConnection\nname: %s\nspec:\n  description: %q\n  borderGateway: %s\n  customerGateway: %s\n  routing: %s\n"+
		"  cloudAddresses: [198.51.100.1, 198.51.100.2]\n", c.name, c.description, c.name, c.name, c.routing)
	for i := 1; i <= 2; i++ {
		name := fmt.Sprintf("%s-%d", c.name, i)
		if c.without[name] {
			continue
		}
		fmt.Fprintf(&b, "---\nkind: VPNTunnel\nname: %s\nspec: {connection: %s, cloudAddress: 198.51.100.%d, customerAddress: 203.0.113.%d, "+
			"inside: {cloud: 169.254.10.%d/30, customer: 169.254.10.%d}, psk: {value: %s%s}", name, c.name, i, base+i, 4*i-3, 4*i-2, pskMark, name)
		if more := c.specs[name]; more != "" {
			b.WriteString(", " + more)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// manifests are those of several tenants.
func manifests(tenants ...tenant) string {
	var out []string
	for _, t := range tenants {
		out = append(out, t.String())
	}
	return strings.Join(out, "---\n")
}
