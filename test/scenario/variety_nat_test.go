//go:build lab

package scenario

import (
	"testing"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyBehindNAT: two devices behind one NAT router, one that names itself by its private address and one by a host name. Only they
// can begin; the tunnels' customerAddress is the router's public address.
func TestVarietyBehindNAT(t *testing.T) {
	const public = "203.0.113.200"
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{SingleGateway: true})
	nat := l.Host("nat")
	nat.Forward()
	l.Wire(nat, "eth0", s.Internet, "nat", lab.WireOptions{A: []string{public + "/24"}})
	s.Internet.Enslave("nat", "edge")
	nat.Route("default", "203.0.113.254")
	for _, rule := range [][]string{
		{"add", "table", "ip", "nat"},
		{"add", "chain", "ip", "nat", "post", "{ type nat hook postrouting priority srcnat; }"},
		{"add", "rule", "ip", "nat", "post", "oifname", "eth0", "masquerade"},
	} {
		if _, err := nat.Run(append([]string{"nft"}, rule...)...); err != nil {
			t.Fatal(err)
		}
	}
	address := &device{name: "nat-address", behind: nat, natAddress: public, later: true,
		spec: "initiation: RESPOND\nremoteId: 192.168.0.2", customer: func(c *lab.CustomerTunnel) { c.Initiate = true }}
	name := &device{name: "nat-name", behind: nat, natAddress: public, later: true,
		spec: "initiation: RESPOND\nremoteId: branch-7.example.net", customer: func(c *lab.CustomerTunnel) {
			c.Initiate, c.LocalID = true, "branch-7.example.net"
		}}
	w := startVariety(t, s, address, name)
	w.Running(startup, "nat-address=DOWN:WAITING_FOR_PEER", "nat-name=DOWN:WAITING_FOR_PEER")
	address.start()
	w.Running(startup, "nat-address=UP", "nat-name=DOWN:WAITING_FOR_PEER")
	name.start()
	w.Running(startup, "nat-address=UP", "nat-name=UP")
	for _, d := range w.devices {
		d.pings()
		st := d.status()
		if n := st.Negotiated; !n.NATT || st.MTU != 1438 {
			t.Errorf("%s: NAT-T %v, MTU %d", d.name, n.NATT, st.MTU)
		}
		t.Logf("%s: %+v", d.name, st.Negotiated)
	}
	// The device comes back after a restart, from another port of the router's.
	name.charon.Stop()
	w.Running(startup, "nat-address=UP", "nat-name=DOWN:CLOSED_BY_PEER")
	name.charon.Restart()
	name.charon.Reload()
	w.Running(startup, "nat-address=UP", "nat-name=UP")
	name.pings()
	address.pings()
}
