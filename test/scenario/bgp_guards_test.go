//go:build lab

package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// session is the BGP session of a tunnel as bordergwctl prints it.
func (w *World) session(tunnel string) (TunnelStatus, error) {
	tunnels, err := w.Tunnels()
	return tunnels[tunnel], err
}

// TestGuardsAndLimit: what a customer announces and must not have is refused with the reason; too much of it ends the session, which comes
// back by itself when the customer has mended it. Traffic over the other tunnel notices nothing.
func TestGuardsAndLimit(t *testing.T) {
	refused := map[string]string{
		// BIRD does not send all that is refused: loopback and multicast are not even routes to it.
		"169.254.10.4/30": "MARTIAN", "169.254.128.0/17": "MARTIAN", "10.0.7.0/24": "OWN_PREFIX",
		"10.0.255.1/32": "OWN_PREFIX", "198.51.100.0/24": "OUTER_ADDRESS", "203.0.113.0/24": "OUTER_ADDRESS",
	}
	w := New(t, Options{Routing: "BGP", SingleGateway: true, StaticRoutes: "[]", Spec1: "bgp: {maxPrefixes: 20}", BIRD: func(c *lab.BIRDConf) {
		c.Announce = append(c.Announce, "0.0.0.0/0")
		if c.RouterID == lab.Customer1 {
			for prefix := range refused {
				c.Announce = append(c.Announce, prefix)
			}
		}
	}})
	w.BothUp()
	lab.Eventually(t, startup, "the refusals", func() error {
		st, err := w.session(Tunnel1)
		if got := st.BGPSession.Refused; err == nil && (got["MARTIAN"] != 2 || got["OWN_PREFIX"] != 2 || got["OUTER_ADDRESS"] != 2) {
			err = fmt.Errorf("%+v", st.BGPSession)
		}
		return err
	})
	var routes struct {
		Items []struct {
			Prefix, Refused, Message string
			Installed                bool
		}
	}
	if err := w.AgentA.CtlJSON(&routes, "get", "routes"); err != nil {
		t.Fatal(err)
	}
	installed := map[string]bool{}
	for _, r := range routes.Items {
		if r.Installed {
			installed[r.Prefix] = true
		}
		if want := refused[r.Prefix]; want != r.Refused {
			t.Errorf("%s: refused %q, want %q (%s)", r.Prefix, r.Refused, want, r.Message)
		}
		delete(refused, r.Prefix)
	}
	if len(refused) > 0 || !installed["0.0.0.0/0"] || !installed[lab.CustomerLAN] {
		t.Errorf("not told: %v; installed: %v", refused, installed)
	}
	text, err := w.Ctl("describe", "tunnel", Tunnel1)
	if err != nil || !strings.Contains(text, "2 MARTIAN") {
		t.Errorf("describe: %v\n%s", err, text)
	}
	w.metric(w.AgentA, `bordergw_bgp_refused_prefixes{connection="shop-idc",gateway="shop-prod",reason="OUTER_ADDRESS",tunnel="shop-idc-1"} 2`)
	w.TrafficBothWays()

	conf := w.Options.BIRD
	w.Options.BIRD = func(c *lab.BIRDConf) {
		conf(c)
		for i := range 30 {
			c.Announce = append(c.Announce, fmt.Sprintf("172.30.%d.0/24", i))
		}
	}
	w.CustomerVia(lab.CustomerLAN2)
	ping := w.PingVPC(100 * time.Millisecond)
	w.CustBIRD1.Configure(w.customerBIRD(lab.Customer1, Inside1Customer, Inside1))
	var told string
	lab.Eventually(t, startup, "the session's end because of the limit", func() error {
		st, err := w.session(Tunnel1)
		if s := st.BGPSession; err == nil && (s.State != "IDLE" || s.NextTry == "" || s.LimitExceeded != 1 || !strings.Contains(s.Message, "20 prefixes")) {
			err = fmt.Errorf("%+v", s)
		}
		told = st.BGPSession.Message
		return err
	})
	w.metric(w.AgentA, `bordergw_bgp_prefix_limit_held{connection="shop-idc",gateway="shop-prod",tunnel="shop-idc-1"} 1`)
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	if lost := ping.Stop(); lost.LongestGap > 2*time.Second {
		t.Errorf("the end of the session cost %v", lost)
	}
	w.TrafficBothWays()

	// The customer mends it, and the session comes back when its time has come, without anybody's doing.
	w.Options.BIRD = conf
	w.CustBIRD1.Configure(w.customerBIRD(lab.Customer1, Inside1Customer, Inside1))
	back := lab.Eventually(t, 3*time.Minute, "the session's return", func() error {
		st, err := w.session(Tunnel1)
		if s := st.BGPSession; err == nil && (s.State != "ESTABLISHED" || s.NextTry != "") {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	t.Logf("%q; established again after %v", told, back)
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	w.FlowsUseBothTunnels()
}
