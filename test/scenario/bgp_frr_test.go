//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestFRR: customers whose routers run FRR. What they hear, what is learned of them, a policy change, and BFD with bfdd.
func TestFRR(t *testing.T) {
	o := Options{Routing: "STATIC", SingleGateway: true, Probe: "{mode: OFF}", NoAgents: true,
		StaticRoutes: "[{prefix: 10.9.0.0/16, attachment: vpc-a}, {prefix: 192.168.77.0/24, connection: shop-idc}]"}
	w := New(t, o)
	w.Options.Routing, w.Options.Spec1, w.Options.Spec2 = "BGP", "bgp: {bfd: on}", "bgp: {bfd: on}"
	router := func(h *lab.Host, id, peer string) *lab.FRR {
		w.must(h.Run("ip", "route", "del", lab.VPCPrefix, "dev", "xfrm1"))
		return h.FRR(lab.FRRConf{RouterID: id, ASN: CustomerASN, Neighbor: peer, Remote: BorderASN, Announce: []string{lab.CustomerLAN}, BFD: true})
	}
	one, two := router(w.Customer1, lab.Customer1, Inside1), router(w.Customer2, lab.Customer2, Inside2)
	w.StartAgents()
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	up := func() error { return errors.Join(one.Established(Inside1), two.Established(Inside2)) }
	lab.Eventually(t, startup, "FRR's sessions", up)
	lab.Eventually(t, startup, "the cloud's announcements", func() error {
		return errors.Join(one.HasRoutes(Inside1, lab.VPCPrefix, "10.9.0.0/16"), two.HasRoutes(Inside2, lab.VPCPrefix, "10.9.0.0/16"))
	})
	lab.Eventually(t, startup, "the announcement to the VPC", func() error {
		return w.VPCBIRD.HasRoutes("gw_a", lab.CustomerLAN, "192.168.77.0/24")
	})
	lab.Eventually(t, startup, "the learned routes", func() error { return w.leadTo(2, lab.CustomerLAN) })
	w.bfd(Tunnel1, "UP")
	w.bfd(Tunnel2, "UP")
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()

	w.Options.Spec1 = "bgp: {bfd: on, med: 42, prepend: 1}"
	w.Apply()
	lab.Eventually(t, startup, "MED and AS_PATH at FRR", func() error {
		routes, err := one.Learned("ipv4", Inside1)
		if r := routes[lab.VPCPrefix]; err == nil && (r.Path != "65000 65000" || r.Metric == nil || *r.Metric != 42) {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
	if err := up(); err != nil {
		t.Errorf("after a change of policy: %v", err)
	}

	w.CustomerVia(lab.CustomerLAN2)
	ping := w.PingVPC(100 * time.Millisecond)
	w.Wire1.Cut()
	w.bfd(Tunnel1, "DOWN")
	lab.Eventually(t, startup, "the end of the session at FRR", func() error {
		if one.Established(Inside1) == nil {
			return errors.New("still established")
		}
		return nil
	})
	lost := ping.Stop()
	t.Logf("cut: ping %v", lost)
	if lost.Lost == 0 {
		t.Error("no ping went through the tunnel that was cut: the test shows nothing")
	}
	w.TrafficBothWays()
	w.Wire1.Restore()
	w.bfd(Tunnel1, "UP")
	lab.Eventually(t, startup, "FRR's sessions", up)
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	w.FlowsUseBothTunnels()
}
