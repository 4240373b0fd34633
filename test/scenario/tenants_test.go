//go:build lab

package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// tenant is one VPC host on gw-a and one or more customer routers, each with the same addresses as everybody else's.
type tenant struct {
	name string
	host *lab.Host
}

const (
	tenantHost    = "10.0.0.10"
	tenantGateway = "10.0.0.1"
	sameLAN       = "172.16.9.1" // red's and blue's customers both have it
	otherLAN      = "172.17.9.1" // of red's second connection
)

// tenants is scenario 5: red and blue with the same inside and customer prefixes on one host, and a second connection of red.
type tenants struct {
	*lab.Site2Cloud
	t         *testing.T
	red, blue tenant
	cust3     *lab.Host
	agent     *lab.Agent
}

func newTenants(t *testing.T, transit bool) *tenants {
	l := lab.New(t)
	w := &tenants{Site2Cloud: l.Site2Cloud(lab.Site2CloudOptions{}), t: t}
	w.red, w.blue = w.tenant("red"), w.tenant("blue")
	w.cust3 = l.Host("cust-3")
	l.Wire(w.cust3, "eth0", w.Internet, "cust-3", lab.WireOptions{A: []string{"203.0.113.3/24"}})
	w.Internet.Enslave("cust-3", "edge")
	w.cust3.Route("default", "203.0.113.254")
	w.cust3.Forward()
	w.customer(w.Customer1, "203.0.113.1", "red-key-red-key", "169.254.10.2/30", sameLAN)
	w.customer(w.Customer2, "203.0.113.2", "blue-key-blue-key", "169.254.10.2/30", sameLAN)
	w.customer(w.cust3, "203.0.113.3", "third-key-third-key", "169.254.10.6/30", otherLAN)
	manifests := map[string]string{
		"red.yaml": gatewayManifest("red", transit, "{prefix: 172.16.9.0/24, connection: red-1}", "{prefix: 172.17.9.0/24, connection: red-2}") +
			tunnelManifest("red", "red-1", "203.0.113.1", "red-key-red-key", "169.254.10.1/30", "169.254.10.2") +
			tunnelManifest("red", "red-2", "203.0.113.3", "third-key-third-key", "169.254.10.5/30", "169.254.10.6"),
		"blue.yaml": gatewayManifest("blue", false, "{prefix: 172.16.9.0/24, connection: blue-1}") +
			tunnelManifest("blue", "blue-1", "203.0.113.2", "blue-key-blue-key", "169.254.10.1/30", "169.254.10.2"),
	}
	w.agent = w.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA}, Charon: w.GatewayA.Charon(GatewayCharon()),
		Manifests: manifests})
	one := &World{T: t, AgentA: w.agent}
	one.Running(startup, "red-1=UP", "red-2=UP", "blue-1=UP")
	return w
}

func (w *tenants) tenant(name string) tenant {
	h := w.Lab.Host(name + "-host")
	w.Lab.Wire(h, "eth0", w.GatewayA, name+"0", lab.WireOptions{A: []string{tenantHost + "/24"}, B: []string{tenantGateway + "/24"}})
	h.Route("default", tenantGateway)
	return tenant{name: name, host: h}
}

func (w *tenants) customer(h *lab.Host, address, psk, inside, lan string) {
	h.Address("lo", lan+"/32")
	c := h.Charon(lab.CharonOptions{})
	c.Tunnel(lab.CustomerTunnel{Name: "cloud", Local: address, Remote: lab.GatewayA, PSK: psk, IfID: 1, Inside: inside})
	h.Route("10.0.0.0/16", "xfrm1")
	h.Route("172.16.0.0/12", "xfrm1")
}

func gatewayManifest(name string, transit bool, routes ...string) string {
	text := fmt.Sprintf("kind: BorderGateway\nname: %s\nspec:\n  allowTransit: %v\n  attachments:\n"+
		"  - {name: vpc, interface: %s0, prefixes: [10.0.0.0/24]}\n  staticRoutes:\n", name, transit, name)
	for _, r := range routes {
		text += "  - " + r + "\n"
	}
	return text
}

func tunnelManifest(gateway, name, customer, psk, inside, peer string) string {
	return fmt.Sprintf(`---
kind: CustomerGateway
name: %[2]s
spec: {addresses: [%[3]s]}
---
kind: VPNConnection
name: %[2]s
spec: {borderGateway: %[1]s, customerGateway: %[2]s, routing: STATIC, cloudAddresses: [198.51.100.1]}
---
kind: VPNTunnel
name: %[2]s
spec:
  connection: %[2]s
  cloudAddress: 198.51.100.1
  customerAddress: %[3]s
  inside: {cloud: %[5]s, customer: %[6]s}
  psk: {value: %[4]s}
`, gateway, name, customer, psk, inside, peer)
}

// received counts echo packets that reach a host over its tunnel while f runs.
func received(t *testing.T, h *lab.Host, f func()) int {
	t.Helper()
	s := h.Sniff("xfrm1", func(p lab.Packet) bool {
		return !p.Outgoing && (p.Src.String() == tenantHost || p.Src.String() == sameLAN)
	})
	f()
	n, err := s.Stop()
	if err != nil {
		t.Error(err)
	}
	return n
}

func echoes(h *lab.Host, src, dst string, n int) lab.PingStats {
	return h.Ping(lab.PingOptions{Src: src, Dst: dst, Count: n, Interval: 20 * time.Millisecond, Grace: time.Second}).Wait()
}

// TestTenantsAreApart: scenario 5. Each tenant reaches its own customer although all addresses are the same, and no packet crosses.
func TestTenantsAreApart(t *testing.T) {
	const n = 30
	w := newTenants(t, false)
	var red, blue lab.PingStats
	atBlue := received(t, w.Customer2, func() { red = echoes(w.red.host, tenantHost, sameLAN, n) })
	atRed := received(t, w.Customer1, func() { blue = echoes(w.blue.host, tenantHost, sameLAN, n) })
	if red.Lost > 0 || blue.Lost > 0 {
		t.Errorf("red %v; blue %v", red, blue)
	}
	if atBlue > 0 || atRed > 0 {
		t.Errorf("%d of red's packets reached blue's customer, %d of blue's reached red's", atBlue, atRed)
	}
	if s := echoes(w.red.host, tenantHost, otherLAN, n); s.Lost > 0 {
		t.Errorf("red to its second connection: %v", s)
	}
	// Blue has no route to the second connection's network, and red's must not serve it.
	if s := echoes(w.blue.host, tenantHost, otherLAN, 5); s.Received > 0 {
		t.Errorf("blue reaches red's customer: %v", s)
	}
	// From one connection of red through the gateway to the other: the route is there, the firewall says no.
	var transit lab.PingStats
	crossed := received(t, w.cust3, func() { transit = echoes(w.Customer1, sameLAN, otherLAN, n) })
	if crossed > 0 || transit.Received > 0 {
		t.Errorf("%d packets crossed from one connection to the other: %v", crossed, transit)
	}
}

// TestTransitWhereAllowed: the same packets pass when the BorderGateway says so, which shows that the test above tests the firewall.
func TestTransitWhereAllowed(t *testing.T) {
	w := newTenants(t, true)
	if s := echoes(w.Customer1, sameLAN, otherLAN, 10); s.Lost > 0 {
		t.Errorf("transit: %v", s)
	}
}
