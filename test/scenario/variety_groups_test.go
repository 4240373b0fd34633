//go:build lab

package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// groupsManifests is a connection of two cloud addresses and two customer addresses with all four tunnels, and one whose outer
// addresses are IPv6, with both families inside.
const groupsManifests = `kind: BorderGateway
name: groups
spec:
  attachments:
  - {name: vpc, interface: vpc0, prefixes: [10.0.0.0/16], nextHop: 10.0.255.1}
  - {name: six, interface: six0, prefixes: ["2001:db8:a::/64"]}
  staticRoutes:
  - {prefix: 172.16.0.0/24, connection: four}
---
kind: CustomerGateway
name: four
spec: {addresses: [203.0.113.1, 203.0.113.2]}
---
kind: VPNConnection
name: four
spec: {borderGateway: groups, customerGateway: four, routing: STATIC, cloudAddresses: [198.51.100.1, 198.51.100.2]}
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
  connection: four
  cloudAddress: %s
  customerAddress: %s
  inside: {cloud: %s/30, customer: %s}
  psk: {value: %s}
`, name, cloud, customer, insideCloud, insideCust, psk)
}

// TestVarietyGroups: every cloud address with every customer address, which are four tunnels that share the traffic; and a device with
// IPv6 outside, whose one BGP session over IPv4 brings routes of both families.
func TestVarietyGroups(t *testing.T) {
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{SingleGateway: true})
	s.VPCVia(lab.VPCGatewayA)
	s.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	manifests := groupsManifests
	var names []string
	for i, c := range []struct {
		host    *lab.Host
		address string
	}{{s.Customer1, lab.Customer1}, {s.Customer2, lab.Customer2}} {
		charon := c.host.Charon(lab.CharonOptions{})
		for k, cloud := range []string{lab.GatewayA, lab.GatewayB} {
			name, net := fmt.Sprintf("four-%d%d", i+1, k+1), 4*(2*i+k)
			insideCloud, insideCust := fmt.Sprintf("169.254.20.%d", net+1), fmt.Sprintf("169.254.20.%d", net+2)
			// One key per customer address: charon cannot tell two of one identity apart.
			psk := fmt.Sprintf("key-of-customer-%d", i+1)
			manifests += groupsTunnel(name, cloud, c.address, insideCloud, insideCust, psk)
			charon.Tunnel(lab.CustomerTunnel{Name: name, Local: c.address, Remote: cloud, PSK: psk, IfID: uint32(k + 1), Inside: insideCust + "/30"})
			names = append(names, name)
		}
		c.host.Route(lab.VPCPrefix, "xfrm1", "xfrm2")
	}
	six, bird := outside6(s)
	w := &World{Site2Cloud: s, T: t, CharonA: s.GatewayA.Charon(GatewayCharon())}
	w.AgentA = s.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB, lab.GatewayA6}, Charon: w.CharonA,
		Manifests: map[string]string{"groups.yaml": manifests}})
	want := []string{"outside6=UP"}
	for _, n := range names {
		want = append(want, n+"=UP")
	}
	w.Running(2*startup, want...)
	t.Run("four tunnels", func(t *testing.T) { fourTunnels(t, w) })
	t.Run("IPv6 outside", func(t *testing.T) { overIPv6(t, w, six, bird) })
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

func fourTunnels(t *testing.T, w *World) {
	connections, err := w.Connections()
	if err != nil {
		t.Fatal(err)
	}
	if v := connections["four"]; v.Availability != "HIGHLY_AVAILABLE" || v.Tunnels != 4 || v.TunnelsUp != 4 {
		t.Errorf("verdict %+v", v)
	}
	received := func() (all []uint64) {
		for _, h := range []*lab.Host{w.Customer1, w.Customer2} {
			for _, link := range []string{"xfrm1", "xfrm2"} {
				st, err := h.LinkStats(link)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, st.RxPackets)
			}
		}
		return all
	}
	w.TrafficBothWays()
	server := w.CustomerHost.EchoServer(lab.ServerOptions{Address: lab.CustomerHost})
	defer server.Close()
	const flows = 128
	before := received()
	r := w.VPCHost.Flows(lab.FlowOptions{Src: lab.VPCHost, Dst: lab.CustomerHost, N: flows, Rounds: 2})
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
	t.Logf("packets of %d flows with two messages each, by tunnel: %v", flows, shares)
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
	// Our next hop for IPv6 routes over an IPv4 session is the IPv4-mapped address, which BIRD refuses: the device needs a route of its own.
	lab.Eventually(t, startup, "the cloud's prefix of the session's family", func() error { return bird.HasRoutes("cloud", lab.VPCPrefix) })
	w.Lab.Host("cust-6").Route("2001:db8:a::/64", "xfrm1")
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
