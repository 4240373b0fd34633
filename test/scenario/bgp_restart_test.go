//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// TestAgentKilledUnderBGP: SIGKILL and a new start while traffic follows learned routes on both sides. With graceful restart the customer's
// routers and the VPC's keep their routes, the kernel forwards, and nothing is lost in either direction.
func TestAgentKilledUnderBGP(t *testing.T) {
	w := New(t, Options{Routing: "BGP", SingleGateway: true, StaticRoutes: "[]", Agent: "bgp: {restartTime: 60s}\n"})
	w.BothUp()
	w.TrafficBothWays()
	spis, stall := w.SPIs(), w.stall()
	forth := w.PingVPC(100 * time.Millisecond)
	back := w.CustomerHost.Ping(lab.PingOptions{Src: lab.CustomerHost, Dst: lab.VPCHost, Interval: 10 * time.Millisecond})
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGTERM} {
		start := time.Now()
		w.AgentA.Kill(sig)
		lab.Eventually(t, startup, "the sessions' end", func() error {
			if w.CustBIRD1.Established("cloud") == nil || w.VPCBIRD.Established("gw_a") == nil {
				return errors.New("still established")
			}
			return nil
		})
		for _, b := range []*lab.BIRD{w.CustBIRD1, w.CustBIRD2} {
			if err := b.HasRoutes("cloud", lab.VPCPrefix); err != nil {
				t.Errorf("while the agent is away: %v", err)
			}
		}
		w.AgentA.Start()
		w.BothUp()
		t.Logf("%v: sessions are back %v after it", sig, time.Since(start))
		// What is stale has been swept by now, or it will never be.
		lab.Eventually(t, startup, "the end of the restart at the peers", func() error {
			return errors.Join(w.CustBIRD1.HasRoutes("cloud", lab.VPCPrefix), w.VPCBIRD.HasRoutes("gw_a", lab.CustomerLAN))
		})
		lab.Consistently(t, 3*time.Second, "the routes stay", func() error {
			return errors.Join(w.CustBIRD1.HasRoutes("cloud", lab.VPCPrefix), w.CustBIRD2.HasRoutes("cloud", lab.VPCPrefix),
				w.VPCBIRD.HasRoutes("gw_a", lab.CustomerLAN))
		})
	}
	f, b := forth.Stop(), back.Stop()
	// Not one lost is the rule; an emulated machine that stands still for a moment loses some by itself.
	w.gap("to the customer", f, 300*time.Millisecond, stall)
	w.gap("to the VPC", b, 300*time.Millisecond, stall)
	if now := w.SPIs(); now != spis {
		t.Errorf("SPIs before %s, after %s", spis, now)
	}
}

// TestCustomerRoutingRestarts: the customer's BGP daemon is killed and starts again, and says that its router forwards meanwhile. The gateway
// keeps its routes, so nothing is lost.
func TestCustomerRoutingRestarts(t *testing.T) {
	w := New(t, Options{Routing: "BGP", SingleGateway: true, StaticRoutes: "[]", BIRD: func(c *lab.BIRDConf) {
		c.Peers[0].Extra = "graceful restart on;"
	}})
	w.StaticCustomer() // the way back does not depend on the daemon that is killed
	w.BothUp()
	w.TrafficBothWays()
	stall := w.stall()
	ping := w.PingVPC(100 * time.Millisecond)
	w.CustBIRD1.Kill()
	lab.Eventually(t, startup, "the session's end", func() error {
		st, err := w.session(Tunnel1)
		if err == nil && st.BGP == "ESTABLISHED" {
			err = errors.New("still established")
		}
		return err
	})
	lab.Consistently(t, 3*time.Second, "the routes are kept", func() error {
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
		for _, r := range out.Items {
			if r.Prefix == lab.CustomerLAN && r.Installed && len(r.NextHops) == 2 {
				return nil
			}
		}
		return fmt.Errorf("routes %+v", out.Items)
	})
	w.CustBIRD1.Recover()
	w.BothUp()
	w.gap("to the customer", ping.Stop(), 300*time.Millisecond, stall)
	w.FlowsUseBothTunnels()
}
