//go:build lab

package scenario

import (
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

const manifests6 = `kind: BorderGateway
name: six
spec:
  attachments:
  - {name: vpc, interface: six0, prefixes: ["2001:db8:a::/64"]}
  staticRoutes:
  - {prefix: "2001:db8:c::/64", connection: six}
---
kind: CustomerGateway
name: six
spec: {asn: 65010, addresses: [203.0.113.1, 203.0.113.2]}
---
kind: VPNConnection
name: six
spec: {borderGateway: six, customerGateway: six, routing: BGP, cloudAddresses: [198.51.100.1, 198.51.100.2]}
---
kind: VPNTunnel
name: six-1
spec:
  connection: six
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.1
  inside: {cloud: "fd00:10::1/126", customer: "fd00:10::2"}
  psk: {value: six-key-number-one}
---
kind: VPNTunnel
name: six-2
spec:
  connection: six
  cloudAddress: 198.51.100.2
  customerAddress: 203.0.113.2
  inside: {cloud: "fd00:10::5/126", customer: "fd00:10::6"}
  psk: {value: six-key-number-two}
`

// TestIPv6Inside: IPv6 through two tunnels of one host, a static route and one learned over BGP, and one tunnel's end.
func TestIPv6Inside(t *testing.T) {
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{SingleGateway: true})
	h := l.Host("six-host")
	l.Wire(h, "eth0", s.GatewayA, "six0", lab.WireOptions{A: []string{"2001:db8:a::10/64"}, B: []string{"2001:db8:a::1/64"}})
	h.Route("default", "2001:db8:a::1")
	customer := func(host *lab.Host, address, cloud, psk, inside, peer string) (*lab.Charon, *lab.BIRD) {
		host.Address("lo", "2001:db8:c::1/128", "2001:db8:d::1/128")
		c := host.Charon(lab.CharonOptions{})
		c.Tunnel(lab.CustomerTunnel{Name: "cloud", Local: address, Remote: cloud, PSK: psk, IfID: 1, Inside: inside + "/126"})
		host.Route("2001:db8:a::/64", "xfrm1")
		return c, host.BIRD(lab.BIRDConf{RouterID: address, ASN: CustomerASN, Announce: []string{"2001:db8:d::/64"},
			Peers: []lab.BIRDPeer{{Name: "cloud", Local: inside, Address: peer, ASN: BorderASN, Interface: "xfrm1"}}}.String())
	}
	c1, b1 := customer(s.Customer1, lab.Customer1, lab.GatewayA, "six-key-number-one", "fd00:10::2", "fd00:10::1")
	_, b2 := customer(s.Customer2, lab.Customer2, lab.GatewayB, "six-key-number-two", "fd00:10::6", "fd00:10::5")
	w := &World{Site2Cloud: s, T: t, AgentA: s.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB},
		Charon: s.GatewayA.Charon(GatewayCharon()), Manifests: map[string]string{"six.yaml": manifests6}})}
	w.Running(startup, "six-1=UP", "six-2=UP")
	for _, b := range []*lab.BIRD{b1, b2} {
		lab.Eventually(t, startup, "the BGP session over IPv6", func() error { return b.Established("cloud") })
		lab.Eventually(t, startup, "the cloud's announcement", func() error { return b.HasRoutes("cloud", "2001:db8:a::/64") })
	}
	reach := func(dst string, n int) lab.PingStats {
		return h.Ping(lab.PingOptions{Src: "2001:db8:a::10", Dst: dst, Count: n, Interval: 20 * time.Millisecond, Grace: time.Second}).Wait()
	}
	for _, dst := range []string{"2001:db8:c::1", "2001:db8:d::1"} {
		lab.Eventually(t, startup, "the first echo from "+dst, func() error {
			if s := reach(dst, 1); s.Received == 0 {
				return s.SendError
			}
			return nil
		})
		if s := reach(dst, 50); s.Lost > 0 {
			t.Errorf("%s: %v", dst, s)
		}
	}
	// The end of one tunnel leaves both destinations to the other.
	c1.Kill()
	s.Wire1.Cut()
	w.Running(startup, "six-1=DOWN", "six-2=UP")
	for _, dst := range []string{"2001:db8:c::1", "2001:db8:d::1"} {
		if s := reach(dst, 50); s.Lost > 0 {
			t.Errorf("%s over the other tunnel: %v", dst, s)
		}
	}
}
