//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// withBFD is a world in which both tunnels and both of the customer's routers use BFD, 300 ms × 3, and no probe helps.
func withBFD(o Options) Options {
	o.Routing, o.SingleGateway, o.Probe = "BGP", true, "{mode: OFF}"
	o.Spec1, o.Spec2 = "bgp: {bfd: on}", "bgp: {bfd: on}"
	o.BIRD = func(c *lab.BIRDConf) { c.Peers[0].BFD = true }
	// The lab's charons give up after 8 s. One that has asked for a sign of life just before its wire was cut would drop its SAs without a word
	// just after the wire is back.
	o.Customer = func(t *lab.CustomerTunnel) { t.DPDDelay = 10 * time.Minute }
	return o
}

// bfd waits until a tunnel's BFD session is as wanted.
func (w *World) bfd(tunnel, state string) {
	w.T.Helper()
	lab.Eventually(w.T, startup, tunnel+": BFD "+state, func() error {
		tunnels, err := w.Tunnels()
		if err == nil && tunnels[tunnel].BFD != state {
			err = fmt.Errorf("%+v", tunnels[tunnel].BFDSession)
		}
		return err
	})
}

// TestBFDCut: the underlay of one tunnel is lost without a word. The other one takes everything within a second; static and learned routes
// alike leave the dead one; it comes back by itself, and nothing flaps.
//
//lab:alone
func TestBFDCut(t *testing.T) {
	w := New(t, withBFD(Options{}))
	w.BothUp()
	w.bfd(Tunnel1, "UP")
	w.bfd(Tunnel2, "UP")
	w.TrafficBothWays()
	// What the customer's side does with the answers is not what is measured.
	w.CustomerVia(lab.CustomerLAN2)

	stall := w.stall()
	ping := w.PingVPC(100 * time.Millisecond)
	w.Wire1.Cut()
	w.bfd(Tunnel1, "DOWN")
	lab.Eventually(t, startup, "the end of the BGP session", func() error {
		tunnels, err := w.Tunnels()
		st := tunnels[Tunnel1]
		switch {
		case err != nil:
			return err
		case st.BGP == "ESTABLISHED" || st.BFDSession.Downs == 0 || !st.BFDSession.Armed:
			return fmt.Errorf("%+v", tunnels)
		}
		return nil
	})
	lab.Eventually(t, startup, "the end at the customer's router", func() error {
		if w.CustBIRD1.Established("cloud") == nil {
			return errors.New("still established")
		}
		return nil
	})
	lost := ping.Stop()
	measured("peer cut off, BFD 300 ms x 3", lost)
	if lost.Lost == 0 {
		t.Error("no ping went through the tunnel that was cut: the test shows nothing")
	}
	w.gap("BFD takes the tunnel out", lost, time.Second, stall)
	w.TrafficBothWays()

	ping = w.PingVPC(100 * time.Millisecond)
	w.Wire1.Restore()
	w.bfd(Tunnel1, "UP")
	w.BothUp()
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	w.FlowsUseBothTunnels()
	t.Logf("restored: ping %v", ping.Stop())
	w.metric(w.AgentA, `bordergw_tunnel_bfd_up{connection="shop-idc",gateway="shop-prod",tunnel="shop-idc-1"} 1`)
	if stall > 300*time.Millisecond {
		t.Logf("the machine alone stands still for %v: whether a session of 900 ms stays up says nothing", stall)
		return
	}
	before, err := w.Tunnels()
	if err != nil {
		t.Fatal(err)
	}
	lab.Consistently(t, 5*time.Second, "BFD stays up", func() error {
		tunnels, err := w.Tunnels()
		for _, name := range []string{Tunnel1, Tunnel2} {
			if s := tunnels[name].BFDSession; err == nil && (s.State != "UP" || s.Downs != before[name].BFDSession.Downs) {
				err = fmt.Errorf("%s: %+v", name, s)
			}
		}
		return err
	})
}

// TestBFDGoesAway: a customer who turns BFD off on his router keeps his tunnel.
func TestBFDGoesAway(t *testing.T) {
	w := New(t, withBFD(Options{}))
	w.BothUp()
	w.bfd(Tunnel1, "UP")
	w.bfd(Tunnel2, "UP")
	w.TrafficBothWays()
	ping := w.PingVPC(100 * time.Millisecond)
	w.Options.BIRD = nil
	w.CustBIRD1.Configure(w.customerBIRD(lab.Customer1, Inside1Customer, Inside1))
	w.bfd(Tunnel1, "DOWN")
	w.BothUp()
	w.FlowsUseBothTunnels()
	tunnels, err := w.Tunnels()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("BFD turned off by the customer: %+v, ping %v", tunnels[Tunnel1].BFDSession, ping.Stop())
	// And on again, without a restart of anything.
	w.Options = withBFD(w.Options)
	w.CustBIRD1.Configure(w.customerBIRD(lab.Customer1, Inside1Customer, Inside1))
	w.bfd(Tunnel1, "UP")
	w.BothUp()
	w.FlowsUseBothTunnels()
}
