//go:build lab

package probe

import (
	"fmt"
	"net/netip"
	"testing"
)

// gatewayAndCustomer returns two namespaces with two tunnels between them, each in a VRF of its own at both ends, both with the same
// inside addresses. The encrypted packets travel outside the VRFs.
func gatewayAndCustomer(t *testing.T) (gw, customer *namespace) {
	t.Helper()
	gw, customer = newNamespace(t), newNamespace(t)
	veth(gw, "underlay", customer, "underlay")
	for _, end := range []struct {
		ns                  *namespace
		outer, peer, inside string
		in, out             int
	}{
		{gw, "192.0.2.1", "192.0.2.2", "1", 0x200, 0x100},
		{customer, "192.0.2.2", "192.0.2.1", "2", 0x100, 0x200},
	} {
		end.ns.ip("address add " + end.outer + "/30 dev underlay")
		for n := 1; n <= 2; n++ {
			end.ns.ip(fmt.Sprintf(`
				link add bgwv%[1]d type vrf table %[2]d
				link set bgwv%[1]d up
				link add bgw%[1]d type xfrm if_id %[1]d dev underlay
				link set bgw%[1]d master bgwv%[1]d
				link set bgw%[1]d up
				address add 169.254.10.%[3]s/30 dev bgw%[1]d
				address add fd00:10::%[3]s/126 dev bgw%[1]d nodad
			`, n, 1000+n, end.inside))
			for _, family := range []string{"0.0.0.0/0", "::/0"} {
				for _, direction := range []string{"out", "in", "fwd"} {
					src, dst := end.outer, end.peer
					if direction != "out" {
						src, dst = dst, src
					}
					end.ns.ip(fmt.Sprintf("xfrm policy add src %s dst %s dir %s if_id %d tmpl src %s dst %s proto esp mode tunnel",
						family, family, direction, n, src, dst))
				}
			}
			addState(end.ns, n, end.in, end.peer, end.outer)
			addState(end.ns, n, end.out, end.outer, end.peer)
		}
	}
	return gw, customer
}

func addState(ns *namespace, n, spi int, src, dst string) {
	ns.t.Helper()
	// The selector's family is open (flag af-unspec), so one SA carries both.
	ns.ip(fmt.Sprintf("xfrm state add src %s dst %s proto esp spi %d mode tunnel flag af-unspec if_id %d aead rfc4106(gcm(aes)) 0x%040d 128",
		src, dst, spi+n, n, spi+n))
}

// TestThroughTunnelsOfVRFs: the socket bound to an XFRM interface sends through that tunnel and hears the answers although
// the interface is enslaved to a VRF, and two VRFs with the same addresses do not hear each other.
func TestThroughTunnelsOfVRFs(t *testing.T) {
	gw, _ := gatewayAndCustomer(t)
	var targets []Target
	for n := 1; n <= 2; n++ {
		four := Target{
			Tunnel: fmt.Sprintf("four-%d", n), Device: fmt.Sprintf("bgw%d", n), Mode: Auto, Interval: 2 * MinInterval, Failures: 5,
			Local: netip.MustParseAddr("169.254.10.1"), Peer: netip.MustParseAddr("169.254.10.2"),
		}
		six := four
		six.Tunnel = fmt.Sprintf("six-%d", n)
		six.Local, six.Peer = netip.MustParseAddr("fd00:10::1"), netip.MustParseAddr("fd00:10::2")
		targets = append(targets, four, six)
	}
	l := runLive(t, gw, targets...)
	for _, to := range targets {
		t.Logf("%s: %+v", to.Tunnel, l.until(to.Tunnel, StatePassing))
	}
	steps := []struct {
		name      string
		harm, fix func()
	}{
		{"outbound SA missing",
			func() { gw.ip("xfrm state del src 192.0.2.1 dst 192.0.2.2 proto esp spi 257") },
			func() { addState(gw, 1, 0x100, "192.0.2.1", "192.0.2.2") }},
		{"inbound SA missing",
			func() { gw.ip("xfrm state del src 192.0.2.2 dst 192.0.2.1 proto esp spi 513") },
			func() { addState(gw, 1, 0x200, "192.0.2.2", "192.0.2.1") }},
		{"XFRM interface recreated",
			func() { gw.ip("link del bgw1") },
			func() {
				gw.ip(`link add bgw1 type xfrm if_id 1 dev underlay
					link set bgw1 master bgwv1
					link set bgw1 up
					address add 169.254.10.1/30 dev bgw1
					address add fd00:10::1/126 dev bgw1 nodad`)
			}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			step.harm()
			l.until("four-1", StateFailing)
			l.until("six-1", StateFailing)
			for _, tunnel := range []string{"four-2", "six-2"} {
				if s := l.State(tunnel); s.State != StatePassing {
					t.Errorf("%s of the other VRF: %+v", tunnel, s)
				}
			}
			step.fix()
			for _, tunnel := range []string{"four-1", "six-1"} {
				t.Logf("%s: %+v", tunnel, l.until(tunnel, StatePassing))
			}
		})
	}
}
