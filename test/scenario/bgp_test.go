//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestBGPTwoHosts: scenario 2. What is learned, what the customer hears and what the VPC's router hears are exactly what they should be.
func TestBGPTwoHosts(t *testing.T) {
	w := New(t, Options{Routing: "BGP", StaticRoutes: "[{prefix: 10.9.0.0/16, attachment: vpc-a}, {prefix: 192.168.77.0/24, connection: shop-idc}]"})
	t.Logf("both tunnels UP and BGP established %v after the agents' start", w.BothUp())

	// From the cloud: the attachment's prefix and the static route into it; not the customer's own, not the other static route.
	for _, b := range []*lab.BIRD{w.CustBIRD1, w.CustBIRD2} {
		lab.Eventually(t, startup, "the cloud's announcement to the customer", func() error {
			return b.HasRoutes("cloud", lab.VPCPrefix, "10.9.0.0/16")
		})
	}
	// To the VPC: what the customer announced and the static route over the connection; not the VPC's own.
	for _, gw := range []string{"gw_a", "gw_b"} {
		lab.Eventually(t, startup, "the announcement to the VPC's router from "+gw, func() error {
			return w.VPCBIRD.HasRoutes(gw, lab.CustomerLAN, "192.168.77.0/24")
		})
	}
	lab.Eventually(t, startup, "the agents' routes", func() error {
		return errors.Join(w.routes(w.AgentA, Tunnel1), w.routes(w.AgentB, Tunnel2))
	})
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()

	// What the customer takes back is taken back at the VPC's router too, and on that host only.
	if err := w.CustBIRD1.Disable("announcev4"); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, startup, "the withdrawal at the VPC's router", func() error {
		return errors.Join(w.VPCBIRD.HasRoutes("gw_a", "192.168.77.0/24"), w.VPCBIRD.HasRoutes("gw_b", lab.CustomerLAN, "192.168.77.0/24"))
	})
	w.TrafficBothWays()
}

// routes compares the installed routes that an agent tells with what one tunnel of the connection gives.
func (w *World) routes(a *lab.Agent, tunnel string) error {
	var out struct {
		Items []struct {
			Prefix, Source, Target string
			Installed              bool
			NextHops               []struct{ Tunnel, Interface, Address string }
		}
	}
	if err := a.CtlJSON(&out, "get", "routes"); err != nil {
		return err
	}
	var got []string
	for _, r := range out.Items {
		if r.Installed {
			for _, h := range r.NextHops {
				got = append(got, fmt.Sprintf("%s %s %s%s", r.Prefix, r.Source, h.Tunnel, h.Address))
			}
		}
	}
	want := []string{"10.0.0.0/16 ATTACHMENT 10.0.255.1", "10.9.0.0/16 STATIC 10.0.255.1", "172.16.0.0/24 BGP " + tunnel,
		"192.168.77.0/24 STATIC " + tunnel}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("installed %q, want %q", got, want)
	}
	return nil
}

// TestCustomerRouterKilled: scenario 3, as in the demonstration.
//
//lab:alone
func TestCustomerRouterKilled(t *testing.T) {
	w := New(t, Options{Routing: "BGP", StaticRoutes: "[]"})
	w.BothUp()
	w.TrafficBothWays()
	w.Availability(startup, "HIGHLY_AVAILABLE")

	ping := w.PingVPC(100 * time.Millisecond)
	w.KillCustomer1()
	down := w.Running(startup, Tunnel1+"=DOWN:PROBE_FAILED|DPD_TIMEOUT|PEER_UNREACHABLE", Tunnel2+"=UP")
	v := w.Availability(startup, "NOT_HIGHLY_AVAILABLE")
	if !slices.Contains(v.Reasons, "NO_TUNNEL_UP_ON_CLOUD_ADDRESS") {
		t.Errorf("reasons %q", v.Reasons)
	}
	lab.Eventually(t, startup, "the withdrawal at the VPC's router", func() error { return w.VPCBIRD.HasRoutes("gw_a") })
	w.TrafficBothWays()
	lost := ping.Stop()
	t.Logf("killed: %s DOWN after %v; ping %v", Tunnel1, down, lost)
	if lost.Lost == 0 {
		t.Error("no ping went through the tunnel that was lost: the test shows nothing")
	}
	// Three lost probes, one a second, and what it takes to move the traffic.
	if lost.LongestGap > 10*time.Second {
		t.Errorf("the longest gap was %v", lost.LongestGap)
	}

	ping = w.PingVPC(100 * time.Millisecond)
	w.RestoreCustomer1()
	back := w.BothUp()
	w.Availability(startup, "HIGHLY_AVAILABLE")
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()
	returned := ping.Stop()
	t.Logf("restored: both UP with BGP after %v; ping %v", back, returned)
	// A route is announced once it is installed, so nothing is sent to a host that cannot pass it on yet. Not one lost is the rule; an
	// emulated machine that stands still for a moment must not fail it.
	if returned.LongestGap > time.Second {
		t.Errorf("the return of the router cost %v", returned)
	}
}

// TestRoutingModeSwitch: scenario 4. BGP to STATIC to BGP: the static prefix loses nothing, the SAs stay, the sessions follow at once.
func TestRoutingModeSwitch(t *testing.T) {
	w := New(t, Options{Routing: "BGP"})
	w.StaticCustomer() // the way back must not depend on BGP
	w.BothUp()
	w.TrafficBothWays()
	spis := w.SPIs()
	ping := w.PingVPC(50 * time.Millisecond)

	w.Options.Routing = "STATIC"
	w.Apply()
	closed := lab.Eventually(t, startup, "the sessions' end at the customer", func() error {
		for _, b := range []*lab.BIRD{w.CustBIRD1, w.CustBIRD2} {
			if b.Established("cloud") == nil {
				return errors.New("still established")
			}
		}
		return nil
	})
	lab.Consistently(t, 3*time.Second, "no session with STATIC", func() error {
		if w.CustBIRD1.Established("cloud") == nil {
			return errors.New("established again")
		}
		return nil
	})
	w.Options.Routing = "BGP"
	w.Apply()
	opened := lab.Eventually(t, startup, "the sessions' return", func() error {
		return errors.Join(w.CustBIRD1.Established("cloud"), w.CustBIRD2.Established("cloud"))
	})
	stats := ping.Stop()
	t.Logf("sessions closed after %v, established again after %v; ping %v", closed, opened, stats)
	if stats.Lost > 0 {
		t.Errorf("the static prefix lost packets: %v", stats)
	}
	if now := w.SPIs(); now != spis {
		t.Errorf("SPIs before %s, after %s", spis, now)
	}
}
