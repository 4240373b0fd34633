//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestBGPFields: what a tunnel's BGP fields say is what the customer's router sees: MED, prepended AS numbers, timers and the password of the
// session. Without a session the tunnel is UP and the connection highly available, and says what is missing.
//
//lab:alone
func TestBGPFields(t *testing.T) {
	const password = "md5-kept-from-all-eyes"
	const fields = "bgp: {med: 50, prepend: 2, keepalive: 3s, hold: 9s, password: {value: %s}}"
	w := New(t, Options{Routing: "BGP", StaticRoutes: "[]", SingleGateway: true, Spec1: fmt.Sprintf(fields, password),
		BIRD: func(c *lab.BIRDConf) {
			if c.RouterID == lab.Customer1 {
				c.Peers[0].Password, c.Peers[0].Hold = password, 90
			}
		}})
	w.BothUp()
	for _, c := range []struct {
		bird           *lab.BIRD
		path, med, has string
	}{{w.CustBIRD1, "65000 65000 65000", "50", "/9"}, {w.CustBIRD2, "65000", "", "/30"}} {
		lab.Eventually(t, startup, "the cloud's announcement", func() error {
			routes, err := c.bird.Routes("cloud")
			if err != nil {
				return err
			}
			i := slices.IndexFunc(routes, func(r lab.BIRDRoute) bool { return r.Prefix == lab.VPCPrefix })
			if i < 0 || routes[i].Attributes["BGP.as_path"] != c.path || routes[i].Attributes["BGP.med"] != c.med {
				return fmt.Errorf("%+v, want AS_PATH %q and MED %q", routes, c.path, c.med)
			}
			return nil
		})
		timers, err := c.bird.Show("protocols all cloud")
		if err != nil || !strings.Contains(holdTimer(timers), c.has) {
			t.Errorf("hold timer %q, want it to end in %q: %v", holdTimer(timers), c.has, err)
		}
	}
	w.TrafficBothWays()

	ping := w.PingVPC(customerAddresses * 10 * time.Millisecond)
	w.Options.Spec1 = strings.ReplaceAll(fmt.Sprintf(fields, password), "med: 50", "med: 70")
	w.Apply()
	lab.Eventually(t, startup, "the other MED", func() error {
		routes, err := w.CustBIRD1.Routes("cloud")
		if err == nil && !slices.ContainsFunc(routes, func(r lab.BIRDRoute) bool { return r.Attributes["BGP.med"] == "70" }) {
			err = fmt.Errorf("%+v", routes)
		}
		return err
	})
	stats := ping.Stop()
	measured("change of BGP policy", stats)
	if stats.Lost > 0 {
		t.Errorf("a change of policy lost packets: %v", stats)
	}

	w.Options.Spec1 = fmt.Sprintf(fields, "not-what-the-customer-has")
	w.Apply()
	lab.Eventually(t, startup, "no session with another password", func() error {
		tunnels, err := w.Tunnels()
		if st := tunnels[Tunnel1]; err == nil && (st.BGP == "ESTABLISHED" || st.Running != "UP") {
			err = fmt.Errorf("%+v", st)
		}
		return err
	})
	if v := w.Availability(startup, "HIGHLY_AVAILABLE"); !slices.Equal(v.Reasons, []string{"BGP_NOT_ESTABLISHED"}) {
		t.Errorf("verdict %+v", v)
	}
	w.Options.Spec1 = fmt.Sprintf(fields, password)
	w.Apply()
	lab.Eventually(t, startup, "the session is back with the right one", func() error {
		return errors.Join(w.CustBIRD1.Established("cloud"), w.CustBIRD2.Established("cloud"))
	})
	out, err := w.Ctl("describe", "tunnel", Tunnel1)
	if err != nil || strings.Contains(out, password) {
		t.Errorf("the description shows the password, or cannot be had: %v", err)
	}
}

// holdTimer is BIRD's line of a session's hold timer.
func holdTimer(protocol string) string {
	for line := range strings.Lines(protocol) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "Hold timer" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
