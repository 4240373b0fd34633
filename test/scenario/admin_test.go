//go:build lab

package scenario

import (
	"errors"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestAdminStateUnderTraffic: a tunnel goes DOWN and comes back by adminState while packets flow over both. What the cloud sends loses
// nothing either way, the other tunnel keeps its SAs, and while it is DOWN the customer cannot bring it up.
//
//lab:alone
func TestAdminStateUnderTraffic(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true})
	w.BothUp()
	// The customer's routers know nothing of the cloud's plans: answers take the tunnel that stays.
	w.CustomerVia(lab.CustomerLAN2)
	w.TrafficBothWays()
	stays := func() string {
		children, err := w.Charon2.SPIs()
		if err != nil {
			t.Fatal(err)
		}
		return children[0]
	}
	spi := stays()

	ping := w.PingVPC(50 * time.Millisecond)
	w.Options.Spec1 = "adminState: DOWN"
	w.Apply()
	down := w.Running(startup, Tunnel1+"=DOWN:ADMIN_DOWN", Tunnel2+"=UP")
	lab.Eventually(t, startup, "the customer's SAs are closed", func() error {
		if w.Charon1.Installed("cloud") == nil {
			return errors.New("installed")
		}
		return nil
	})
	if err := w.Charon1.Initiate("cloud"); err == nil {
		t.Error("the customer brought up a tunnel whose adminState is DOWN")
	}
	w.Running(startup, Tunnel1+"=DOWN:ADMIN_DOWN", Tunnel2+"=UP")
	w.Options.Spec1 = ""
	w.Apply()
	up := w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	w.FlowsUseBothTunnels()
	stats := ping.Stop()
	t.Logf("DOWN after %v, UP again after %v; ping %v", down, up, stats)
	measured("adminState DOWN and UP", stats)
	if stats.Lost > 0 {
		t.Errorf("lost packets: %v", stats)
	}
	if now := stays(); now != spi {
		t.Errorf("the other tunnel's SA was replaced: %s, now %s", spi, now)
	}
}
