//go:build lab

package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestPolicyChanges: MED, prepend and the prefix limit of one tunnel change under traffic. The customer's router sees the change, the
// session stays, and nothing is lost; timers and the TCP MD5 password are what both ends have agreed on, and a wrong password is told.
//
//lab:alone
func TestPolicyChanges(t *testing.T) {
	const password = "one-for-the-routers"
	fields := func(more string) string {
		return "bgp: {keepalive: 3s, hold: 9s, password: {value: " + password + "}" + more + "}"
	}
	w := New(t, Options{Routing: "BGP", SingleGateway: true, StaticRoutes: "[]", Spec1: fields(""), BIRD: func(c *lab.BIRDConf) {
		if c.RouterID == lab.Customer1 {
			c.Peers[0].Password = password
		}
	}})
	// BIRD takes a route out of its kernel for a moment when an attribute changes; what is measured is what the cloud does.
	w.StaticCustomer()
	w.BothUp()
	w.TrafficBothWays()
	out, err := w.CustBIRD1.Show("protocols all cloud")
	if err != nil {
		t.Fatal(err)
	}
	// The smaller of both hold times (RFC 4271 §4.2); BIRD wants 30 s.
	if !strings.Contains(out, "/9") {
		t.Errorf("the hold time is not 9 s:\n%s", out)
	}
	st, err := w.session(Tunnel1)
	if err != nil {
		t.Fatal(err)
	}
	since := st.BGPSession.Since
	// The session may begin with the withdrawal of what was never announced.
	before := withdrawn(t, w.CustBIRD1)

	stall := w.stall()
	ping := w.PingVPC(100 * time.Millisecond)
	back := w.CustomerHost.Ping(lab.PingOptions{Src: lab.CustomerHost, Dst: lab.VPCHost, Interval: 10 * time.Millisecond})
	for _, step := range []struct{ fields, path, med string }{
		{", med: 50", "65000", "50"},
		{", med: 50, prepend: 2", "65000 65000 65000", "50"},
		{", med: 7, prepend: 1, maxPrefixes: 100", "65000 65000", "7"},
		{"", "65000", ""},
	} {
		w.Options.Spec1 = fields(step.fields)
		w.Apply()
		took := lab.Eventually(t, startup, "bgp"+step.fields+" at the customer's router", func() error {
			routes, err := w.CustBIRD1.Routes("cloud")
			if err == nil && (len(routes) != 1 || routes[0].Attributes["BGP.as_path"] != step.path || routes[0].Attributes["BGP.med"] != step.med) {
				err = fmt.Errorf("%+v", routes)
			}
			return err
		})
		t.Logf("AS_PATH %s, MED %q after %v", step.path, step.med, took)
	}
	if n := withdrawn(t, w.CustBIRD1) - before; n > 0 {
		t.Errorf("%d routes were taken back on the way", n)
	}
	// Not one lost is the rule; an emulated machine that stands still for a moment loses some by itself.
	w.gap("to the customer", ping.Stop(), 300*time.Millisecond, stall)
	b := back.Stop()
	measured("change of BGP policy", b)
	w.gap("to the VPC", b, 300*time.Millisecond, stall)
	if st, err = w.session(Tunnel1); err != nil || st.BGPSession.Since != since || st.BGP != "ESTABLISHED" {
		t.Errorf("the session began %s, was there since %s: %v", st.BGPSession.Since, since, err)
	}

	w.Options.Spec1 = strings.Replace(fields(""), password, "not-the-same-at-all", 1)
	w.Apply()
	lab.Eventually(t, startup, "the reason why there is no session", func() error {
		st, err := w.session(Tunnel1)
		if err == nil && (st.BGP == "ESTABLISHED" || st.Running != "UP" || !strings.Contains(st.BGPSession.Message, "passwords differ")) {
			err = fmt.Errorf("%s %+v", st.BGP, st.BGPSession)
		}
		return err
	})
	if v := w.Availability(startup, "HIGHLY_AVAILABLE"); !slices.Equal(v.Reasons, []string{"BGP_NOT_ESTABLISHED"}) {
		t.Errorf("verdict without a session %+v", v)
	}
	w.Options.Spec1 = fields("")
	w.Apply()
	w.BothUp()
}

// withdrawn is how many withdrawals BIRD has received in its session with the cloud.
func withdrawn(t *testing.T, b *lab.BIRD) int {
	t.Helper()
	out, err := b.Show("protocols all cloud")
	if err != nil {
		t.Fatal(err)
	}
	sum, lines := 0, 0
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "Import withdraws:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			sum, lines = sum+n, lines+1
		}
	}
	if lines == 0 {
		t.Fatalf("no withdrawals are told of in:\n%s", out)
	}
	return sum
}
