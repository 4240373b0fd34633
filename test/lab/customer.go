package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// CustomerTunnel is the customer's end of a site-to-site tunnel: IKE with a pre-shared key, everything in the traffic
// selectors, and an XFRM interface to route into.
type CustomerTunnel struct {
	Name           string // of the connection; the child has the same
	Local, Remote  string // outer addresses
	LocalID        string // default: Local
	RemoteID       string // default: Remote
	PSK            string
	Version        int           // of IKE; default 2
	Aggressive     bool          // IKEv1 only
	Proposals      string        // of IKE; default aes256gcm16-prfsha384-ecp384
	ESPProposals   string        // default aes256gcm16-ecp384
	Initiate       bool          // the customer initiates, and again whenever the tunnel is closed
	DPDDelay       time.Duration // default 5 s
	RekeyTime      time.Duration // of the IKE SA; default 4 h
	ChildRekeyTime time.Duration // default 1 h
	ConnExtra      string        // more lines for the connection
	ChildExtra     string        // more lines for the child

	// The XFRM interface. An IfID of 0 means no interface and a policy-based tunnel.
	IfID      uint32
	Interface string // default: "xfrm" and the IfID
	Underlay  string // default: eth0
	Inside    string // address of the interface, as a prefix
	VRF       string // VRF to put the interface into; default: none
	MTU       int    // default: 1400
}

// Tunnel adds a tunnel: its interface, unless it exists, its connection and its key. A tunnel of the same name is
// replaced; what other tunnels have negotiated stays. It does not wait for negotiation.
func (c *Charon) Tunnel(t CustomerTunnel) {
	c.host.lab.t.Helper()
	if c.ownConfig {
		c.host.lab.t.Fatalf("lab: %s: Tunnel after LoadConns would drop what LoadConns loaded", c.host.name)
	}
	t = t.withDefaults()
	if t.IfID != 0 {
		c.addInterface(t)
	}
	replaced := false
	for i := range c.tunnels {
		if c.tunnels[i].Name == t.Name {
			c.tunnels[i], replaced = t, true
		}
	}
	if !replaced {
		c.tunnels = append(c.tunnels, t)
	}
	c.Reload()
}

// Reload gives charon all tunnels again, as after a restart.
func (c *Charon) Reload() {
	c.host.lab.t.Helper()
	conf := swanctlConf(c.tunnels)
	c.host.lab.recordSecretsIn(conf)
	c.host.lab.must(c.load(conf), "%s: load tunnels", c.host.name)
}

func (c *Charon) addInterface(t CustomerTunnel) {
	c.host.lab.t.Helper()
	if _, err := c.host.nl.LinkByName(t.Interface); err == nil {
		return
	}
	c.host.Xfrm(t.Interface, t.IfID, t.Underlay, t.MTU)
	if t.VRF != "" {
		c.host.Enslave(t.Interface, t.VRF)
	}
	if t.Inside != "" {
		c.host.Address(t.Interface, t.Inside)
	}
}

func (t CustomerTunnel) withDefaults() CustomerTunnel {
	t.LocalID = cmp.Or(t.LocalID, t.Local)
	t.RemoteID = cmp.Or(t.RemoteID, t.Remote)
	t.Version = cmp.Or(t.Version, 2)
	t.Proposals = cmp.Or(t.Proposals, "aes256gcm16-prfsha384-ecp384")
	t.ESPProposals = cmp.Or(t.ESPProposals, "aes256gcm16-ecp384")
	t.DPDDelay = cmp.Or(t.DPDDelay, 5*time.Second)
	t.RekeyTime = cmp.Or(t.RekeyTime, 4*time.Hour)
	t.ChildRekeyTime = cmp.Or(t.ChildRekeyTime, time.Hour)
	t.Interface = cmp.Or(t.Interface, "xfrm"+strconv.FormatUint(uint64(t.IfID), 10))
	t.Underlay = cmp.Or(t.Underlay, "eth0")
	t.MTU = cmp.Or(t.MTU, 1400)
	return t
}

// swanctlConf writes the connections and secrets of tunnels, which have their defaults. The replay window is wider than charon's own of 32
// packets: two processors of a busy emulated machine put more than that out of order.
func swanctlConf(tunnels []CustomerTunnel) string {
	var conns, secrets strings.Builder
	for _, t := range tunnels {
		action := "none"
		if t.Initiate {
			action = "start"
		}
		aggressive := ""
		if t.Aggressive {
			aggressive = "aggressive = yes"
		}
		fmt.Fprintf(&conns, `	%s {
		version = %d
		%s
		local_addrs = %s
		remote_addrs = %s
		proposals = %s
		if_id_in = %d
		if_id_out = %d
		mobike = no
		unique = never
		keyingtries = 0
		dpd_delay = %ds
		rekey_time = %ds
		%s
		local {
			auth = psk
			id = %s
		}
		remote {
			auth = psk
			id = %s
		}
		children {
			%s {
				local_ts = 0.0.0.0/0, ::/0
				remote_ts = 0.0.0.0/0, ::/0
				esp_proposals = %s
				replay_window = 1024
				rekey_time = %ds
				start_action = %s
				close_action = %s
				dpd_action = %s
				%s
			}
		}
	}
`, t.Name, t.Version, aggressive, t.Local, t.Remote, t.Proposals, t.IfID, t.IfID, seconds(t.DPDDelay), seconds(t.RekeyTime),
			t.ConnExtra, t.LocalID, t.RemoteID, t.Name, t.ESPProposals, seconds(t.ChildRekeyTime), action, action,
			restartIf(t.Initiate), t.ChildExtra)
		fmt.Fprintf(&secrets, "\tike-%s {\n\t\tid-1 = %s\n\t\tid-2 = %s\n\t\tsecret = \"%s\"\n\t}\n",
			t.Name, t.LocalID, t.RemoteID, t.PSK)
	}
	return "connections {\n" + conns.String() + "}\nsecrets {\n" + secrets.String() + "}\n"
}

func seconds(d time.Duration) int { return int(d / time.Second) }

func restartIf(initiate bool) string {
	if initiate {
		return "restart"
	}
	return "clear"
}

// InsidePeer returns the other host address of an inside prefix: of 169.254.10.2/30 it is 169.254.10.1.
func InsidePeer(inside string) (netip.Addr, error) {
	p, err := netip.ParsePrefix(inside)
	if err != nil {
		return netip.Addr{}, err
	}
	network := p.Masked().Addr()
	for a := network; p.Contains(a); a = a.Next() {
		wide := p.Addr().BitLen()-p.Bits() > 1
		if a != p.Addr() && (a != network || !wide) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no second address", inside)
}
