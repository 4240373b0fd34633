//go:build lab

package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

const bothFamilies = `kind: BorderGateway
name: both
spec:
  asn: 4200000001
  attachments:
  - {name: four, interface: four0, prefixes: ["10.77.0.0/24"]}
  - {name: six, interface: six0, prefixes: ["2001:db8:a::/64"]}
---
kind: CustomerGateway
name: both
spec: {asn: 4200000010, addresses: [203.0.113.1, 203.0.113.2]}
---
kind: VPNConnection
name: both
spec: {borderGateway: both, customerGateway: both, routing: BGP, cloudAddresses: [198.51.100.1, 198.51.100.2]}
---
kind: VPNTunnel
name: both-four
spec:
  connection: both
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.1
  inside: {cloud: "169.254.10.1/30", customer: "169.254.10.2"}
  psk: {value: the-key-with-ipv4-inside}
---
kind: VPNTunnel
name: both-six
spec:
  connection: both
  cloudAddress: 198.51.100.2
  customerAddress: 203.0.113.2
  inside: {cloud: "fd00:10::1/126", customer: "fd00:10::2"}
  psk: {value: the-key-with-ipv6-inside}
`

// TestBothFamiliesOverOneSession: routes of both families over a session of either, with 4-byte AS numbers on both sides, and packets of
// both families in both directions over each tunnel alone.
func TestBothFamiliesOverOneSession(t *testing.T) {
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{SingleGateway: true})
	four, six := l.Host("four-host"), l.Host("six-host")
	l.Wire(four, "eth0", s.GatewayA, "four0", lab.WireOptions{A: []string{"10.77.0.10/24"}, B: []string{"10.77.0.1/24"}})
	four.Route("default", "10.77.0.1")
	l.Wire(six, "eth0", s.GatewayA, "six0", lab.WireOptions{A: []string{"2001:db8:a::10/64"}, B: []string{"2001:db8:a::1/64"}})
	six.Route("default", "2001:db8:a::1")
	customer := func(host *lab.Host, address, cloud, psk, inside, prefix, peer string) (*lab.Charon, *lab.BIRD) {
		host.Address("lo", "172.31.0.1/32", "2001:db8:d::1/128")
		c := host.Charon(lab.CharonOptions{})
		c.Tunnel(lab.CustomerTunnel{Name: "cloud", Local: address, Remote: cloud, PSK: psk, IfID: 1, Inside: inside + prefix})
		return c, host.BIRD(lab.BIRDConf{RouterID: address, ASN: 4200000010, Announce: []string{"172.31.0.0/24", "2001:db8:d::/64"},
			Peers: []lab.BIRDPeer{{Name: "cloud", Local: inside, Address: peer, ASN: 4200000001, Interface: "xfrm1", ExtendedNextHop: strings.Contains(inside, ":")}}}.String())
	}
	c1, b1 := customer(s.Customer1, lab.Customer1, lab.GatewayA, "the-key-with-ipv4-inside", "169.254.10.2", "/30", "169.254.10.1")
	_, b2 := customer(s.Customer2, lab.Customer2, lab.GatewayB, "the-key-with-ipv6-inside", "fd00:10::2", "/126", "fd00:10::1")
	w := &World{Site2Cloud: s, T: t, AgentA: s.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB},
		Charon: s.GatewayA.Charon(GatewayCharon()), Manifests: map[string]string{"both.yaml": bothFamilies}})}
	w.Running(startup, "both-four=UP", "both-six=UP")
	for _, b := range []*lab.BIRD{b1, b2} {
		lab.Eventually(t, startup, "the BGP session", func() error { return b.Established("cloud") })
		lab.Eventually(t, startup, "both families' routes", func() error {
			return b.HasRoutes("cloud", "10.77.0.0/24", "2001:db8:a::/64")
		})
		routes, err := b.Routes("cloud")
		for _, r := range routes {
			if err == nil && r.Attributes["BGP.as_path"] != "4200000001" {
				t.Errorf("%s has the AS_PATH %q", r.Prefix, r.Attributes["BGP.as_path"])
			}
			t.Logf("%s via %q, next hop %q", r.Prefix, r.Via, r.Attributes["BGP.next_hop"])
		}
	}
	lab.Eventually(t, startup, "both families' routes over both tunnels", func() error { return w.leadTo(2, "172.31.0.0/24", "2001:db8:d::/64") })
	both := func(when string) {
		t.Helper()
		for _, p := range []struct {
			from     *lab.Host
			src, dst string
		}{{four, "10.77.0.10", "172.31.0.1"}, {six, "2001:db8:a::10", "2001:db8:d::1"}} {
			reach := func(n int) lab.PingStats {
				return p.from.Ping(lab.PingOptions{Src: p.src, Dst: p.dst, Count: n, Interval: 20 * time.Millisecond, Grace: time.Second}).Wait()
			}
			lab.Eventually(t, startup, "the first echo from "+p.dst, func() error {
				if s := reach(1); s.Received == 0 {
					return fmt.Errorf("%v", s)
				}
				return nil
			})
			if s := reach(30); s.Lost > 0 {
				t.Errorf("%s: %s: %v", when, p.dst, s)
			}
		}
	}
	both("with both tunnels")
	c1.Kill()
	s.Wire1.Cut()
	w.Running(startup, "both-four=DOWN", "both-six=UP")
	both("with IPv6 inside")
	s.Wire1.Restore()
	c1.Restart()
	c1.Reload()
	w.Running(startup, "both-four=UP", "both-six=UP")
	lab.Eventually(t, startup, "the BGP session's return", func() error { return b1.Established("cloud") })
	lab.Eventually(t, startup, "both families' routes over both tunnels", func() error { return w.leadTo(2, "172.31.0.0/24", "2001:db8:d::/64") })
	s.Wire2.Cut()
	w.Running(startup, "both-four=UP", "both-six=DOWN")
	both("with IPv4 inside")
}

// leadTo returns nil when the prefixes' installed routes lead to n tunnels each.
func (w *World) leadTo(n int, prefixes ...string) error {
	var out struct {
		Items []struct {
			Prefix    string
			Installed bool
			NextHops  []struct{ Tunnel string }
		}
	}
	if err := w.AgentA.CtlJSON(&out, "get", "routes"); err != nil {
		return err
	}
	var missing []string
	for _, p := range prefixes {
		if !slices.ContainsFunc(out.Items, func(r struct {
			Prefix    string
			Installed bool
			NextHops  []struct{ Tunnel string }
		}) bool {
			return r.Prefix == p && r.Installed && len(r.NextHops) == n
		}) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not over %d tunnels: %s, of %+v", n, strings.Join(missing, ", "), out.Items)
	}
	return nil
}
