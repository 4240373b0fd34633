package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/firewall"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// Plan is everything that the drivers are given for one gateway.
type Plan struct {
	Gateway  *Gateway
	Link     link.Gateway
	Firewall firewall.Gateway
	Routing  Routing
	Speaker  bgp.Speaker
	Charon   []charon.Tunnel
	Probes   []probe.Target
	BFD      []bfd.Target
}

// For computes the whole plan of a gateway from what is true now.
func (g *Gateway) For(run Running) (Plan, error) {
	links, err := g.Link(run)
	if err != nil {
		return Plan{}, err
	}
	fw, err := g.Firewall(run)
	if err != nil {
		return Plan{}, err
	}
	routing, err := g.Routing(run)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Gateway: g, Link: links, Firewall: fw, Routing: routing, Speaker: g.Speaker(run, routing),
		Charon: g.Charon(), Probes: g.Probes(), BFD: g.BFD(run)}, nil
}

// Text is the plan for people: one object a line, in the order of the drivers, without secrets. Equal plans have equal texts.
func (p Plan) Text() string {
	var b strings.Builder
	g := p.Gateway
	fmt.Fprintf(&b, "gateway %s vrf %s table %d\n", g.Name, p.Link.VRF, p.Link.Table)
	for _, m := range p.Link.Members {
		fmt.Fprintf(&b, "  member %s\n", m)
	}
	for _, i := range p.Link.Interfaces {
		fmt.Fprintf(&b, "  interface %s tunnel %s if_id %#x dev %s address %s mtu %d\n", i.Name, i.Tunnel, i.IfID, i.Underlay, i.Address, i.MTU)
	}
	for _, t := range p.Charon {
		writeCharon(&b, t)
	}
	for _, t := range p.Probes {
		fmt.Fprintf(&b, "  probe %s %s %s > %s every %s, failing after %d\n", t.Tunnel, t.Mode, t.Local, t.Peer, t.Interval, t.Failures)
	}
	for _, t := range p.BFD {
		fmt.Fprintf(&b, "  bfd %s %s > %s every %s, down after %d\n", t.Tunnel, t.Local, t.Peer, t.Interval, t.Multiplier)
	}
	for _, t := range p.Firewall.Tunnels {
		fmt.Fprintf(&b, "  firewall %s connection %s mss %d/%d\n", t.Interface, t.Connection, t.MSS4, t.MSS6)
	}
	if p.Firewall.AllowTransit {
		b.WriteString("  firewall transit between connections allowed\n")
	}
	d := p.Routing.Desired
	for _, n := range d.Nexthops {
		fmt.Fprintf(&b, "  nexthop %#x dev %s", n.ID, n.Interface)
		if n.Gateway.IsValid() {
			fmt.Fprintf(&b, " via %s", n.Gateway)
		}
		b.WriteByte('\n')
	}
	for _, group := range d.Groups {
		fmt.Fprintf(&b, "  group %#x members %#x\n", group.ID, group.Members)
	}
	for _, r := range d.Routes {
		fmt.Fprintf(&b, "  route %s nexthop %#x\n", r.Prefix, r.Nexthop)
	}
	writeSpeaker(&b, p.Speaker)
	return b.String()
}

func writeCharon(b *strings.Builder, t charon.Tunnel) {
	mode := ""
	if t.Aggressive {
		mode = " aggressive"
	}
	fmt.Fprintf(b, "  connection %s%s %s[%s] > %s[%s] ikev%d%s if_id %#x\n", charon.Prefix, t.Name, t.Local, t.LocalID, t.Remote,
		t.RemoteID, t.Version, mode, t.IfID)
	fmt.Fprintf(b, "    ike %s lifetime %s\n", strings.Join(t.IKEProposals, ","), t.IKELifetime)
	fmt.Fprintf(b, "    esp %s lifetime %s", strings.Join(t.ESPProposals, ","), t.ESPLifetime)
	if t.LifetimeBytes != 0 {
		fmt.Fprintf(b, " bytes %d", t.LifetimeBytes)
	}
	if t.LifetimePackets != 0 {
		fmt.Fprintf(b, " packets %d", t.LifetimePackets)
	}
	fmt.Fprintf(b, " replay window %d\n", t.ReplayWindow)
	fmt.Fprintf(b, "    selectors %v dpd %s up %v initiate %v\n", t.LocalTS, offOr(t.DPDInterval), t.Up, t.Initiate)
}

func writeSpeaker(b *strings.Builder, s bgp.Speaker) {
	if len(s.Neighbors) == 0 {
		return
	}
	fmt.Fprintf(b, "  speaker asn %d router-id %s device %s\n", s.ASN, s.RouterID, s.Device)
	for _, n := range s.Neighbors {
		fmt.Fprintf(b, "    neighbor %s %s %s asn %d", n.Name, n.Kind, n.Address, n.PeerASN)
		if n.Hold != 0 {
			fmt.Fprintf(b, " timers %s/%s", n.Keepalive, n.Hold)
		}
		if n.MaxPrefixes != 0 {
			fmt.Fprintf(b, " max-prefixes %d", n.MaxPrefixes)
		}
		if n.MED != nil {
			fmt.Fprintf(b, " med %d", *n.MED)
		}
		if n.Prepend != 0 {
			fmt.Fprintf(b, " prepend %d", n.Prepend)
		}
		if n.Mute {
			b.WriteString(" mute")
		}
		if n.Password.IsSet() {
			b.WriteString(" md5")
		}
		b.WriteByte('\n')
	}
	for _, a := range s.Announcements {
		fmt.Fprintf(b, "    announce %s to %s", a.Prefix, a.To)
		if len(a.ASPath) > 0 {
			fmt.Fprintf(b, " path %v", a.ASPath)
		}
		b.WriteByte('\n')
	}
}

func offOr(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	return d.String()
}
