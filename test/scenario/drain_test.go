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

// pingInterval makes the pings to all of the customer's addresses together a hundred a second.
const pingInterval = customerAddresses * 10 * time.Millisecond

// roomy gives the customer's ends the replay window that the gateway's have: charon's own of 32 packets drops what two processors of a
// busy machine put out of order by more, at a hundred packets a second.
func roomy(t *lab.CustomerTunnel) { t.ChildExtra = "replay_window = 1024" }

// behindEachOther gives the customer's routers a way to the VPC over one another, as their IGP would: the last resort when their own
// tunnel carries nothing.
func (w *World) behindEachOther() {
	w.T.Helper()
	for _, r := range []struct {
		host *lab.Host
		via  string
	}{{w.Customer1, lab.CustomerLAN2}, {w.Customer2, lab.CustomerLAN1}} {
		if out, err := r.host.Run("ip", "route", "add", lab.VPCPrefix, "via", r.via, "metric", "4000"); err != nil {
			w.T.Fatalf("%v: %s", err, out)
		}
	}
}

// mustCtl runs bordergwctl against all agents.
func (w *World) mustCtl(args ...string) string {
	w.T.Helper()
	out, err := w.Ctl(args...)
	if err != nil {
		w.T.Fatalf("bordergwctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TestDrainTunnel: one of two tunnels on two hosts is drained and enabled again under pings from the VPC, and not one is lost. The customer
// and the VPC's router hear of a longer way before they hear of none, and move by themselves.
//
//lab:pair
func TestDrainTunnel(t *testing.T) {
	w := New(t, Options{Routing: "BGP", StaticRoutes: "[]", Customer: roomy})
	w.behindEachOther()
	w.BothUp()
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()
	w.Availability(startup, "HIGHLY_AVAILABLE")

	if out, err := w.AgentA.Ctl("drain", "tunnel", Tunnel1); err == nil {
		t.Errorf("without the other host's agent it was drained:\n%s", out)
	}
	ping := w.PingVPC(pingInterval)
	start := time.Now()
	began := start
	out := w.mustCtl("drain", "tunnel", Tunnel1)
	took := time.Since(start)
	w.Running(startup, Tunnel1+"=DOWN:ADMIN_DOWN", Tunnel2+"=UP")
	lost, when := whenLost(ping, began)
	t.Logf("lost at %v", when)
	measured("drain of a tunnel", lost)
	t.Logf("drained in %v:\n%sping %v", took.Round(time.Millisecond), out, lost)
	for _, stage := range []string{"ANNOUNCED_WORSE", "WITHDRAWN", "QUIET", "DOWN"} {
		if !strings.Contains(out, stage) {
			t.Errorf("no stage %s", stage)
		}
	}
	if lost.Lost > 0 || lost.SendErrors > 0 {
		t.Errorf("draining lost packets: %v", lost)
	}
	// The agent that comes back finds it as it was left.
	w.AgentA.Restart()
	w.Running(startup, Tunnel1+"=DOWN:ADMIN_DOWN", Tunnel2+"=UP")
	w.TrafficBothWays()

	ping = w.PingVPC(pingInterval)
	w.mustCtl("enable", "tunnel", Tunnel1)
	back := w.BothUp()
	w.Availability(startup, "HIGHLY_AVAILABLE")
	w.FlowsUseBothTunnels()
	returned := ping.Stop()
	measured("return of a drained tunnel", returned)
	t.Logf("enabled: both UP with BGP after %v; ping %v", back.Round(time.Millisecond), returned)
	if returned.Lost > 0 || returned.SendErrors > 0 {
		t.Errorf("enabling lost packets: %v", returned)
	}
}

// TestDrainStaticOneHost: with static routes only the customer can turn its traffic. Until it does the drain waits, ends at its deadline
// with the tunnel still up, and nothing is lost.
//
//lab:pair
func TestDrainStaticOneHost(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true, Customer: roomy})
	w.BothUp()
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()

	ping := w.PingVPC(pingInterval)
	out, err := w.Ctl("drain", "tunnel", Tunnel1, "--timeout", "8s")
	if err == nil || !strings.Contains(out, "TIMED_OUT") || !strings.Contains(out, "without BGP only the customer can turn its traffic") {
		t.Errorf("while the customer uses it: %v\n%s", err, out)
	}
	if v := w.Availability(startup, "HIGHLY_AVAILABLE"); !slices.Contains(v.Reasons, "DRAINING") {
		t.Errorf("verdict %+v", v)
	}
	before, _ := w.tunnelPackets()
	lab.Consistently(t, 3*time.Second, "nothing leaves over the drained tunnel", func() error {
		// Probes go on, one a second.
		if now, _ := w.tunnelPackets(); now-before > 10 {
			return fmt.Errorf("%d packets", now-before)
		}
		return nil
	})
	w.CustomerVia(lab.CustomerLAN2)
	out = w.mustCtl("drain", "tunnel", Tunnel1)
	w.Running(startup, Tunnel1+"=DOWN:ADMIN_DOWN", Tunnel2+"=UP")
	if !strings.Contains(out, "QUIET") {
		t.Errorf("after the customer turned it:\n%s", out)
	}
	w.mustCtl("enable", "tunnel", Tunnel1)
	w.BothUp()
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()
	if lost := ping.Stop(); lost.Lost > 0 || lost.SendErrors > 0 {
		t.Errorf("packets were lost: %v", lost)
	} else {
		t.Logf("ping %v", lost)
	}
}

// whenLost ends pings and says when the requests that were not answered were sent.
func whenLost(p Pings, began time.Time) (lab.PingStats, []time.Time) {
	var when []time.Time
	for _, pinger := range p {
		for _, seq := range pinger.Stop().LostSeqs {
			when = append(when, began.Add(time.Duration(seq)*pingInterval))
		}
	}
	return p.Stop(), when
}
