//go:build lab

package scenario

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestMisledPolicyIsCured: the kernel sends with an SPI that nobody has, and charon knows nothing of it: DPD passes. The probe takes the
// tunnel out of routing and its SAs are replaced, whoever may initiate. The other tunnel carries the traffic and is not touched.
func TestMisledPolicyIsCured(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true, Probe: "{interval: 300ms}"})
	w.BothUp()
	w.TrafficBothWays()
	before, err := w.Tunnels()
	if err != nil {
		t.Fatal(err)
	}
	ping := w.PingVPC(50 * time.Millisecond)
	if n := w.GatewayA.MisleadPolicies(w.ifID(Tunnel1), 0x1234567); n == 0 {
		t.Fatal("no policy to mislead")
	}
	down := w.Running(startup, Tunnel1+"=DOWN:PROBE_FAILED", Tunnel2+"=UP")
	up := w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	after, err := w.Tunnels()
	if err != nil {
		t.Fatal(err)
	}
	stats := ping.Stop()
	t.Logf("DOWN after %v, UP again %v later, %d renegotiations; ping %v", down, up, after[Tunnel1].Counters.Renegotiations, stats)
	if after[Tunnel1].Counters.Renegotiations == 0 || after[Tunnel2].Counters.Establishments != before[Tunnel2].Counters.Establishments {
		t.Errorf("counters %+v and %+v", after[Tunnel1].Counters, after[Tunnel2].Counters)
	}
	if stats.Lost == 0 {
		t.Error("no ping went through the tunnel: the test shows nothing")
	}
	w.TrafficBothWays()
	lab.Eventually(t, startup, "the old SAs are closed", func() error {
		children, err := w.CharonA.Children("INSTALLED")
		if err == nil && len(children) != 2 {
			err = fmt.Errorf("%d CHILD_SAs", len(children))
		}
		return err
	})
}

// TestOrphans: what a killed charon leaves in the kernel is removed when charon has been back for a while, and nothing else. A policy that leads
// nowhere is put right without a probe, too.
func TestOrphans(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true, Probe: "{mode: OFF}", Customer: wideWindow})
	w.BothUp()
	ifID := w.ifID(Tunnel1)
	old := w.GatewayA.XfrmSPIs(ifID)
	w.CharonA.Kill()
	w.CharonA.Restart()
	lab.Eventually(t, 2*startup, "charon's new SAs beside the old ones", func() error {
		if n := len(w.GatewayA.XfrmSPIs(ifID)); n != 2*len(old) {
			return fmt.Errorf("%d states", n)
		}
		return nil
	})
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	removed := lab.Eventually(t, 4*startup, "the orphans are gone", func() error {
		now := w.GatewayA.XfrmSPIs(ifID)
		for _, spi := range old {
			if slices.Contains(now, spi) {
				return fmt.Errorf("states %x, before %x", now, old)
			}
		}
		return nil
	})
	if n := len(w.GatewayA.XfrmSPIs(ifID)); n != len(old) {
		t.Errorf("%d states are left, not %d", n, len(old))
	}
	w.TrafficBothWays()
	rekeys := w.tunnel(Tunnel1).Counters.Rekeys
	if n := w.GatewayA.MisleadPolicies(ifID, 0x1234567); n == 0 {
		t.Fatal("no policy to mislead")
	}
	cured := lab.Eventually(t, 2*startup, "the CHILD_SA is rekeyed", func() error {
		if n := w.tunnel(Tunnel1).Counters.Rekeys; n == rekeys {
			return fmt.Errorf("%d rekeys", n)
		}
		return nil
	})
	w.TrafficBothWays()
	t.Logf("orphans removed after %v, a misled policy cured after %v", removed, cured)
}

// ifID is that of a tunnel's interface.
func (w *World) ifID(tunnel string) uint32 {
	w.T.Helper()
	tunnels, err := w.Tunnels()
	if err != nil {
		w.T.Fatalf("%v", err)
	}
	return tunnels[tunnel].IfID
}
