//go:build lab

package scenario

import (
	"strings"
	"testing"

	"github.com/bordergw/bordergw/test/lab"
)

// TestThreeReasons: scenario 8. A wrong key, no common proposal and a silent peer give three different reasons, each with a sentence.
func TestThreeReasons(t *testing.T) {
	tests := []struct {
		name     string
		customer func(*lab.CustomerTunnel)
		silent   bool
		reason   string
	}{
		{name: "wrong key", reason: "AUTHENTICATION_FAILED", customer: func(c *lab.CustomerTunnel) { c.PSK = "not-the-key-of-this-tunnel" }},
		{name: "wrong proposal", reason: "NO_PROPOSAL_CHOSEN",
			customer: func(c *lab.CustomerTunnel) { c.Proposals = "aes256-sha512-modp4096" }},
		{name: "silent peer", reason: "PEER_UNREACHABLE", silent: true},
	}
	// One world for all: the second tunnel is well all the time and must stay so.
	w := New(t, Options{Routing: "STATIC", SingleGateway: true})
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := lab.CustomerTunnel{Name: "cloud", Local: lab.Customer1, Remote: lab.GatewayA, PSK: PSK1, IfID: 1, Inside: Inside1Customer + "/30"}
			if test.customer != nil {
				test.customer(&c)
			}
			w.Charon1.Tunnel(c)
			if test.silent {
				w.Wire1.Cut()
				defer w.Wire1.Restore()
			}
			if w.Charon1.Installed("cloud") == nil {
				if err := w.Charon1.Terminate("cloud"); err != nil {
					t.Fatal(err)
				}
			}
			w.Running(2*startup, Tunnel1+"=DOWN:"+test.reason, Tunnel2+"=UP")
			out, err := w.Ctl("describe", "tunnel", Tunnel1)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", out)
			if !strings.Contains(out, test.reason) {
				t.Errorf("the description does not name the reason:\n%s", out)
			}
			holdsNoKey(t, "describe tunnel", out)
			if strings.Contains(out, "not-the-key-of-this-tunnel") {
				t.Error("the description shows a key")
			}
		})
	}
	// All three heal without help.
	w.Charon1.Tunnel(lab.CustomerTunnel{Name: "cloud", Local: lab.Customer1, Remote: lab.GatewayA, PSK: PSK1, IfID: 1,
		Inside: Inside1Customer + "/30"})
	w.Running(2*startup, Tunnel1+"=UP", Tunnel2+"=UP")
}

// TestHostTrouble: what is wrong with the host is told as such: somebody else's interface in a tunnel's place, and a charon that was
// stopped. Both heal without help as soon as the cause is gone.
func TestHostTrouble(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true})
	w.BothUp()
	tunnels, err := w.Tunnels()
	if err != nil {
		t.Fatal(err)
	}
	name := tunnels[Tunnel1].InterfaceName
	// The customer is not told: his SAs stand.
	w.CustomerVia(lab.CustomerLAN2)
	w.AgentA.Stop()
	for _, cmd := range []string{"ip link del " + name, "ip link add " + name + " type dummy"} {
		w.must(w.GatewayA.Run(strings.Fields(cmd)...))
	}
	w.AgentA.Start()
	w.Running(startup, Tunnel1+"=DOWN:INTERFACE_CONFLICT", Tunnel2+"=UP")
	w.TrafficBothWays()
	w.must(w.GatewayA.Run("ip", "link", "del", name))
	w.BothUp()
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	w.TrafficBothWays()

	w.CharonA.Stop()
	w.Running(startup, Tunnel1+"=DOWN:CHARON_UNAVAILABLE", Tunnel2+"=DOWN:CHARON_UNAVAILABLE")
	w.CharonA.Restart()
	w.BothUp()
	w.TrafficBothWays()
}
