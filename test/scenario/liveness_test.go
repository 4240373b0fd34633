//go:build lab

package scenario

import (
	"errors"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// fast is a probe that knows of an outage within 900 ms.
const fast = "{interval: 300ms, failures: 3}"

// wideWindow keeps an emulated machine's reordering from losing packets at the customer's end.
func wideWindow(c *lab.CustomerTunnel) { c.ChildExtra = "replay_window = 1024" }

// stall is the longest gap of pings for which only the machine is to blame: a busy emulated one stands still for moments.
func (w *World) stall() time.Duration {
	w.T.Helper()
	ping := w.PingVPC(50 * time.Millisecond)
	start := time.Now()
	lab.Eventually(w.T, startup, "pings of a calm time", func() error {
		if time.Since(start) < 5*time.Second {
			return errors.New("too soon")
		}
		return nil
	})
	s := ping.Stop()
	return max(s.LongestGap, s.MaxRTT)
}

// gap fails when pings were interrupted for longer than promised, by more than the machine stands still anyway.
func (w *World) gap(what string, s lab.PingStats, promised, stall time.Duration) {
	w.T.Helper()
	w.T.Logf("%s: the longest gap was %v of %v promised; the machine alone makes %v; ping %v", what, s.LongestGap.Round(time.Millisecond),
		promised, stall.Round(time.Millisecond), s)
	if s.LongestGap > promised+2*stall {
		w.T.Errorf("%s: the longest gap was %v", what, s.LongestGap)
	}
}

// TestDPDAlone: without a probe a dead peer is known when its tunnel's own DPD timeout is over. charon tells in whole seconds when ESP last came
// in, rounded twice, which costs up to a second; the rest is finding out and taking the nexthop away.
//
//lab:alone
func TestDPDAlone(t *testing.T) {
	const timeout = 15 * time.Second
	const dpd = "dpd: {interval: 5s, timeout: 15s}"
	w := New(t, Options{Routing: "STATIC", SingleGateway: true, Probe: "{mode: OFF}", Spec1: dpd, Spec2: dpd, Customer: wideWindow})
	w.BothUp()
	stall := w.stall()
	ping := w.PingVPC(50 * time.Millisecond)
	w.KillCustomer1()
	down := w.Running(2*startup, Tunnel1+"=DOWN:DPD_TIMEOUT|PEER_UNREACHABLE", Tunnel2+"=UP")
	stats := ping.Stop()
	t.Logf("DOWN after %v; ping %v", down, stats)
	measured("peer killed, DPD alone, timeout 15 s", stats)
	st := w.tunnel(Tunnel1)
	if st.Counters.Failures["DPD_TIMEOUT"] != 1 {
		t.Errorf("failures %v", st.Counters.Failures)
	}
	if stats.Lost == 0 {
		t.Error("no ping went through the tunnel that was lost: the test shows nothing")
	}
	w.gap("DPD alone", stats, timeout+2*time.Second, stall)
	// A negotiation with nobody is known as such no later than charon itself would know.
	w.Running(30*time.Second, Tunnel1+"=DOWN:PEER_UNREACHABLE")
	w.RestoreCustomer1()
	w.BothUp()
}

// TestPeerKilledFastProbe: with a probe of 300 ms the loss of a router costs less than a second.
//
//lab:alone
func TestPeerKilledFastProbe(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true, Probe: fast, Customer: wideWindow})
	w.BothUp()
	stall := w.stall()
	ping := w.PingVPC(50 * time.Millisecond)
	w.KillCustomer1()
	down := w.Running(startup, Tunnel1+"=DOWN:PROBE_FAILED", Tunnel2+"=UP")
	stats := ping.Stop()
	t.Logf("DOWN after %v; ping %v", down, stats)
	measured("peer killed, probe 300 ms x 3", stats)
	if stats.Lost == 0 {
		t.Error("no ping went through the tunnel that was lost: the test shows nothing")
	}
	w.gap("router killed", stats, time.Second, stall)
}

// TestOneWayBlackHole: ESP is lost in one direction only while IKE passes, so both ends' DPD is content. The probe sees it, and the tunnel is
// back when the path is.
//
//lab:alone
func TestOneWayBlackHole(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true, Probe: fast, Customer: wideWindow})
	w.BothUp()
	stall := w.stall()
	for _, d := range []struct{ name, src, dst string }{
		{"to the customer", lab.GatewayA, lab.Customer1}, {"from the customer", lab.Customer1, lab.GatewayA},
	} {
		// The way back must not go through the tunnel that is one-way.
		w.CustomerVia(lab.CustomerLAN2)
		ping := w.PingVPC(50 * time.Millisecond)
		drop := w.Internet.Drop(lab.DropMatch{Src: d.src, Dst: d.dst, Protocol: lab.ESP})
		down := w.Running(startup, Tunnel1+"=DOWN:PROBE_FAILED", Tunnel2+"=UP")
		stats := ping.Stop()
		t.Logf("ESP lost %s: DOWN after %v; ping %v", d.name, down, stats)
		if d.dst == lab.Customer1 {
			measured("one-way black hole, probe 300 ms x 3", stats)
		}
		w.gap("ESP lost "+d.name, stats, time.Second, stall)
		if stats.Lost == 0 && d.dst == lab.Customer1 {
			t.Error("no ping went through the tunnel: the test shows nothing")
		}
		drop.Remove()
		t.Logf("restored: UP after %v", w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP"))
		w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	}
}

// tunnel is the status of one tunnel.
func (w *World) tunnel(name string) TunnelStatus {
	w.T.Helper()
	tunnels, err := w.Tunnels()
	if err != nil {
		w.T.Fatalf("%v", err)
	}
	return tunnels[name]
}
