//go:build lab

package scenario

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// groupsManifests is a connection of two cloud addresses and four customer addresses, to which all eight tunnels come, and one whose outer
// addresses are IPv6, with both families inside.
const groupsManifests = `kind: BorderGateway
name: groups
spec:
  attachments:
  - {name: vpc, interface: vpc0, prefixes: [10.0.0.0/16], nextHop: 10.0.255.1}
  - {name: six, interface: six0, prefixes: ["2001:db8:a::/64"]}
  staticRoutes:
  - {prefix: 172.16.0.0/24, connection: eight}
---
kind: CustomerGateway
name: eight
spec: {addresses: [203.0.113.1, 203.0.113.2, 203.0.113.3, 203.0.113.4]}
---
kind: VPNConnection
name: eight
spec: {borderGateway: groups, customerGateway: eight, routing: STATIC, cloudAddresses: [198.51.100.1, 198.51.100.2]}
---
kind: CustomerGateway
name: outside6
spec: {asn: 65010, addresses: ["2001:db8:113::33"]}
---
kind: VPNConnection
name: outside6
spec: {borderGateway: groups, customerGateway: outside6, routing: BGP, cloudAddresses: ["2001:db8:100::1"]}
---
kind: VPNTunnel
name: outside6
spec:
  connection: outside6
  cloudAddress: 2001:db8:100::1
  customerAddress: 2001:db8:113::33
  inside: {cloud: 169.254.30.1/30, customer: 169.254.30.2}
  psk: {value: key-of-outside-six}
`

func groupsTunnel(name, cloud, customer, insideCloud, insideCust, psk string) string {
	return fmt.Sprintf(`---
kind: VPNTunnel
name: %s
spec:
  connection: eight
  cloudAddress: %s
  customerAddress: %s
  inside: {cloud: %s/30, customer: %s}
  psk: {value: %s}
`, name, cloud, customer, insideCloud, insideCust, psk)
}

// groups is a world with four customer routers.
type groups struct {
	*World
	t       *testing.T
	routers []*lab.Host
	lan     []string // addresses of the routers in the LAN
}

// TestVarietyGroups: two cloud addresses, on two hosts, with four customer addresses, which are eight tunnels that share the traffic; and a
// device with IPv6 outside, whose one BGP session over IPv4 brings routes of both families.
//
//lab:alone
func TestVarietyGroups(t *testing.T) {
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{})
	g := &groups{World: &World{Site2Cloud: s, T: t}, t: t, routers: []*lab.Host{s.Customer1, s.Customer2, moreCustomer(s, 3), moreCustomer(s, 4)},
		lan: []string{lab.CustomerLAN1, lab.CustomerLAN2, "172.16.0.3", "172.16.0.4"}}
	g.CustomerVia(g.lan...)
	manifests, want := groupsManifests, []string{"outside6=UP"}
	for i, router := range g.routers {
		address := fmt.Sprintf("203.0.113.%d", i+1)
		charon := router.Charon(lab.CharonOptions{})
		for k, cloud := range []string{lab.GatewayA, lab.GatewayB} {
			name, net := fmt.Sprintf("eight-%d%d", i+1, k+1), 4*(2*i+k)
			insideCloud, insideCust := fmt.Sprintf("169.254.20.%d", net+1), fmt.Sprintf("169.254.20.%d", net+2)
			psk := "key-of-" + name
			manifests += groupsTunnel(name, cloud, address, insideCloud, insideCust, psk)
			charon.Tunnel(lab.CustomerTunnel{Name: name, Local: address, Remote: cloud, PSK: psk, IfID: uint32(k + 1), Inside: insideCust + "/30"})
			want = append(want, name+"=UP")
		}
		router.Route(lab.VPCPrefix, "xfrm1", "xfrm2")
	}
	six, bird := outside6(s)
	g.start(manifests)
	g.Running(2*startup, want...)
	t.Run("eight tunnels", func(t *testing.T) { g.eightTunnels(t) })
	t.Run("IPv6 outside", func(t *testing.T) { overIPv6(t, g.World, six, bird) })
	t.Run("silent host", func(t *testing.T) { g.silentHost(t) })
}

func (g *groups) start(manifests string) {
	g.t.Helper()
	files := map[string]string{"groups.yaml": manifests}
	g.CharonA, g.CharonB = g.GatewayA.Charon(GatewayCharon()), g.GatewayB.Charon(GatewayCharon())
	g.AgentA = g.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayA6}, Charon: g.CharonA, Manifests: files})
	g.AgentB = g.GatewayB.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayB}, Charon: g.CharonB, Manifests: files})
}

// moreCustomer is the customer's third or fourth router.
func moreCustomer(s *lab.Site2Cloud, number int) *lab.Host {
	name := fmt.Sprintf("cust-%d", number)
	h := s.Lab.Host(name)
	h.Forward()
	s.Lab.Wire(h, "eth0", s.Internet, name, lab.WireOptions{A: []string{fmt.Sprintf("203.0.113.%d/24", number)}})
	s.Internet.Enslave(name, "edge")
	h.Route("default", "203.0.113.254")
	s.Lab.Wire(h, "lan0", s.CustomerHost, name, lab.WireOptions{A: []string{fmt.Sprintf("172.16.0.%d/24", number)}})
	s.CustomerHost.Enslave(name, "lan0")
	return h
}

// outside6 is the device with an IPv6 address outside, and its BIRD.
func outside6(s *lab.Site2Cloud) (*lab.Host, *lab.BIRD) {
	h := s.Lab.Host("cust-6")
	h.Forward()
	s.Lab.Wire(h, "eth0", s.Internet, "cust-6", lab.WireOptions{A: []string{"2001:db8:113::33/64"}})
	s.Internet.Enslave("cust-6", "edge")
	h.Route("default", "2001:db8:113::fe")
	h.Address("lo", "172.30.0.1/32", "2001:db8:d::1/128")
	six := s.Lab.Host("six-host")
	s.Lab.Wire(six, "eth0", s.GatewayA, "six0", lab.WireOptions{A: []string{"2001:db8:a::10/64"}, B: []string{"2001:db8:a::1/64"}})
	six.Route("default", "2001:db8:a::1")
	c := h.Charon(lab.CharonOptions{})
	c.Tunnel(lab.CustomerTunnel{Name: "cloud", Local: "2001:db8:113::33", Remote: lab.GatewayA6, PSK: "key-of-outside-six", IfID: 1,
		Inside: "169.254.30.2/30"})
	// BIRD announces IPv6 routes with an IPv6 address of the interface as their next hop, and needs one there.
	h.Address("xfrm1", "fd00:30::2/64")
	bird := h.BIRD(lab.BIRDConf{RouterID: "172.30.0.1", ASN: CustomerASN, Announce: []string{"172.30.0.0/24", "2001:db8:d::/64"},
		Peers: []lab.BIRDPeer{{Name: "cloud", Local: "169.254.30.2", Address: "169.254.30.1", ASN: BorderASN, Interface: "xfrm1"}}}.String())
	return six, bird
}

func (g *groups) eightTunnels(t *testing.T) {
	v := g.verdict(t)
	if v.Availability != "HIGHLY_AVAILABLE" || v.Tunnels != 8 || v.TunnelsUp != 8 {
		t.Errorf("verdict %+v", v)
	}
	g.VPCVia(lab.VPCGatewayA, lab.VPCGatewayB)
	g.TrafficBothWays()
	server := g.CustomerHost.EchoServer(lab.ServerOptions{Address: lab.CustomerHost})
	defer server.Close()
	// One host after the other: all namespaces hash with one seed, so behind a router that has chosen by the same hash a gateway would
	// see only its own share of the values.
	g.share(t, lab.VPCGatewayA, "xfrm1", 4)
	g.share(t, lab.VPCGatewayB, "xfrm2", 4)
	// Without one of its routers the connection stays highly available, on both hosts.
	g.routers[3].Down("eth0")
	g.CustomerVia(g.lan[:3]...)
	g.Running(startup, "eight-41=DOWN:PROBE_FAILED|DPD_TIMEOUT|PEER_UNREACHABLE", "eight-42=DOWN:PROBE_FAILED|DPD_TIMEOUT|PEER_UNREACHABLE", "eight-31=UP")
	if v := g.verdict(t); v.Availability != "HIGHLY_AVAILABLE" || v.Tunnels != 8 || v.TunnelsUp != 6 {
		t.Errorf("verdict without a router %+v", v)
	}
	g.share(t, lab.VPCGatewayA, "xfrm1", 3)
	g.share(t, lab.VPCGatewayB, "xfrm2", 3)
}

func (g *groups) verdict(t *testing.T) ConnectionStatus {
	t.Helper()
	connections, err := g.Connections()
	if err != nil {
		t.Fatal(err)
	}
	return connections["eight"]
}

// share sends flows through one gateway; its tunnels to so many routers, which have them as this link, share them.
func (g *groups) share(t *testing.T, gateway, link string, routers int) {
	t.Helper()
	g.VPCVia(gateway)
	received := func() (all []uint64) {
		for _, h := range g.routers[:routers] {
			st, err := h.LinkStats(link)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, st.RxPackets)
		}
		return all
	}
	const flows = 128
	before := received()
	r := g.VPCHost.Flows(lab.FlowOptions{Src: lab.VPCHost, Dst: lab.CustomerHost, N: flows, Rounds: 2})
	if r.Err != nil || r.Answered != r.Sent {
		t.Errorf("%d of %d messages answered: %v", r.Answered, r.Sent, r.Err)
	}
	var shares []uint64
	for i, n := range received() {
		shares = append(shares, n-before[i])
		// A fair hash gives one of four fewer than a tenth of 128 flows once in a million runs.
		if n-before[i] < 2*flows/10 {
			t.Errorf("a tunnel had only %d packets of %d flows", n-before[i], flows)
		}
	}
	t.Logf("packets of %d flows with two messages each through %s, by tunnel: %v", flows, gateway, shares)
}

// silentHost: a host whose agent does not answer counts as all its tunnels DOWN, and says so.
func (g *groups) silentHost(t *testing.T) {
	g.AgentB.Kill(unix.SIGKILL)
	out, err := g.Ctl("get", "tunnels", "-o", "json")
	if err == nil {
		t.Error("bordergwctl reports success although an agent did not answer")
	}
	var list struct {
		Items []struct {
			Name   string
			Status TunnelStatus
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for _, i := range list.Items {
		if onB := strings.HasPrefix(i.Name, "eight-") && strings.HasSuffix(i.Name, "2"); onB != (i.Status.Reason == "HOST_SILENT") {
			t.Errorf("%s: %s %s", i.Name, i.Status.Running, i.Status.Reason)
		}
	}
	out, err = g.Ctl("get", "connections", "-o", "json")
	if err == nil {
		t.Error("bordergwctl reports success although an agent did not answer")
	}
	var connections struct {
		Items []struct {
			Name   string
			Status ConnectionStatus
		}
	}
	if err := json.Unmarshal([]byte(out), &connections); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	for _, i := range connections.Items {
		if i.Name == "eight" && (i.Status.Availability != "NOT_HIGHLY_AVAILABLE" || !slices.Contains(i.Status.Reasons, "NO_TUNNEL_UP_ON_CLOUD_ADDRESS")) {
			t.Errorf("verdict %+v", i.Status)
		}
	}
}

func overIPv6(t *testing.T, w *World, six *lab.Host, bird *lab.BIRD) {
	lab.Eventually(t, startup, "the session", func() error { return bird.Established("cloud") })
	tunnels, err := w.Tunnels()
	if err != nil {
		t.Fatal(err)
	}
	if st := tunnels["outside6"]; st.MTU != 1426 {
		t.Errorf("MTU %d, want 1426", st.MTU)
	}
	lab.Eventually(t, startup, "the cloud's prefixes", func() error { return bird.HasRoutes("cloud", lab.VPCPrefix, "2001:db8:a::/64") })
	for _, p := range []struct {
		from     *lab.Host
		src, dst string
	}{{w.VPCHost, lab.VPCHost, "172.30.0.1"}, {six, "2001:db8:a::10", "2001:db8:d::1"}} {
		if p.from == w.VPCHost {
			w.VPCRouter.Route("172.30.0.0/24", lab.VPCGatewayA)
		}
		lab.Eventually(t, startup, "the first echo from "+p.dst, func() error {
			if s := p.from.Ping(lab.PingOptions{Src: p.src, Dst: p.dst, Count: 1, Grace: time.Second}).Wait(); s.Received == 0 {
				return fmt.Errorf("%v", s)
			}
			return nil
		})
		s := p.from.Ping(lab.PingOptions{Src: p.src, Dst: p.dst, Count: 50, Interval: 20 * time.Millisecond}).Wait()
		if s.Lost > 0 {
			t.Errorf("%s: %v", p.dst, s)
		}
	}
}
