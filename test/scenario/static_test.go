//go:build lab

package scenario

import (
	"testing"
)

// TestStaticTwoHosts: scenario 1. Two tunnels on two hosts, static routes, traffic both ways, and the VPC's router spreads its flows.
func TestStaticTwoHosts(t *testing.T) {
	w := New(t, Options{Routing: "STATIC"})
	t.Logf("both tunnels UP and announced %v after the agents' start", w.BothUp())
	clearA, clearB := w.NoCleartext(w.GatewayA), w.NoCleartext(w.GatewayB)
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()
	if n := clearA() + clearB(); n > 0 {
		t.Errorf("%d packets crossed the underlay unencrypted", n)
	}
	if v := w.Availability(startup, "HIGHLY_AVAILABLE"); len(v.Reasons) > 0 || v.TunnelsUp != 2 || v.Tunnels != 2 {
		t.Errorf("verdict %+v", v)
	}
	noTrace(t, w)
}

// TestStaticOneHost: scenario 1 with both tunnels on one host: the nexthop group there spreads the flows.
func TestStaticOneHost(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true})
	w.BothUp()
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()
	w.Availability(startup, "HIGHLY_AVAILABLE")
}
