package plan

import (
	"fmt"
	"net/netip"
	"slices"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/firewall"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// The least MTUs on which the kernel keeps the two families alive on a device (RFC 8200 §5, RFC 791). With an underlay too small for
// them ESP packets are fragmented, which is slow but works.
const (
	minIPv6MTU = 1280
	minIPv4MTU = 68
)

// MTU is the tunnel's inner MTU in bytes: what the manifest says, else what the negotiated suite leaves of the underlay's MTU, and
// before the first negotiation what the least fitting of the proposals leaves, behind a NAT.
func (g *Gateway) MTU(t *Tunnel, run Running) (int, error) {
	if t.Spec.GetMtu() != 0 {
		return int(t.Spec.GetMtu()), nil
	}
	r := run.Tunnels[t.Name]
	if suite, ok := apiv1.NegotiatedESPSuite(r.Encryption, r.Integrity); ok {
		return g.leastMTU(apiv1.InnerMTU(g.host.UnderlayMTU, suite, r.NATT, t.Cloud.Is6())), nil
	}
	mtu, err := apiv1.ProposedMTU(g.host.UnderlayMTU, t.Spec.GetEsp().GetProposals(), true, t.Cloud.Is6())
	if err != nil {
		return 0, fmt.Errorf("VPNTunnel/%s: %w", t.Name, err)
	}
	return g.leastMTU(mtu), nil
}

func (g *Gateway) leastMTU(mtu int) int {
	if g.IPv6 {
		return max(mtu, minIPv6MTU)
	}
	return max(mtu, minIPv4MTU)
}

// Link is the gateway's VRF, its attachment interfaces and its XFRM interfaces. Interfaces of tunnels that are admin DOWN stay up:
// nothing is routed to them, and their counters go on.
func (g *Gateway) Link(run Running) (link.Gateway, error) {
	out := link.Gateway{Name: g.Name, VRF: g.VRF, Table: g.Table}
	for _, a := range g.Attachments {
		if !slices.Contains(out.Members, a.Interface) {
			out.Members = append(out.Members, a.Interface)
		}
	}
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		mtu, err := g.MTU(t, run)
		if err != nil {
			return link.Gateway{}, err
		}
		out.Interfaces = append(out.Interfaces, link.Interface{Tunnel: t.Name, Name: t.Interface, IfID: t.IfID,
			Underlay: g.host.Underlay, Address: t.Inside, MTU: mtu, Up: true})
	}
	return out, nil
}

// Firewall is what keeps connections apart and segments small enough.
func (g *Gateway) Firewall(run Running) (firewall.Gateway, error) {
	out := firewall.Gateway{Name: g.Name, AllowTransit: g.AllowTransit}
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		mtu, err := g.MTU(t, run)
		if err != nil {
			return firewall.Gateway{}, err
		}
		mss4, mss6 := apiv1.MSS(mtu, false), apiv1.MSS(mtu, true)
		if own := int(t.Spec.GetMss()); own != 0 {
			mss4, mss6 = own, own
		}
		out.Tunnels = append(out.Tunnels, firewall.Tunnel{Interface: t.Interface, Connection: t.Connection,
			MSS4: uint16(mss4), MSS6: uint16(mss6), Local: t.Cloud, Remote: t.Customer, Watched: t.draining()})
	}
	return out, nil
}

// Charon is the gateway's part of charon's configuration.
func (g *Gateway) Charon() []charon.Tunnel {
	var out []charon.Tunnel
	for i := range g.Tunnels {
		out = append(out, g.charonTunnel(&g.Tunnels[i]))
	}
	return out
}

func (g *Gateway) charonTunnel(t *Tunnel) charon.Tunnel {
	spec := t.Spec
	selectors := g.selectors(t)
	out := charon.Tunnel{
		Name: t.Name, Local: t.Cloud, Remote: t.Customer, LocalID: spec.GetLocalId(), RemoteID: spec.GetRemoteId(), PSK: t.PSK,
		IfID: t.IfID, Version: int(spec.GetIke().GetVersion()), Aggressive: spec.GetIke().GetMode() == apiv1.IKEModeAggressive,
		IKEProposals: apiv1.OfferedIKEProposals(spec.GetIke()),
		ESPProposals: apiv1.OfferedESPProposals(spec.GetEsp(), spec.GetIke()),
		IKELifetime:  spec.GetIke().GetLifetime().AsDuration(), ESPLifetime: spec.GetEsp().GetLifetime().AsDuration(),
		LifetimeBytes: spec.GetEsp().GetLifetimeBytes(), LifetimePackets: spec.GetEsp().GetLifetimePackets(),
		LocalTS: selectors, RemoteTS: selectors, ReplayWindow: spec.GetReplayWindow(),
		Up: t.AdminUp, Initiate: t.Initiate(),
	}
	if spec.GetDpd().GetEnabled() {
		out.DPDInterval = spec.GetDpd().GetInterval().AsDuration()
		out.DPDTimeout = spec.GetDpd().GetTimeout().AsDuration()
	}
	return out
}

// selectors are everything of each family the gateway carries: routing decides what goes into a tunnel. IKEv1 can hold only one, that
// of the inside addresses.
func (g *Gateway) selectors(t *Tunnel) []netip.Prefix {
	v4, v6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	inside, other, both := v4, v6, g.IPv4 && g.IPv6
	if t.Inside.Addr().Is6() {
		inside, other = v6, v4
	}
	if !both || t.Spec.GetIke().GetVersion() == 1 {
		return []netip.Prefix{inside}
	}
	return []netip.Prefix{inside, other}
}

// BFD are the sessions of the tunnels that are up: one that is not has nothing to watch, and starts unarmed when it comes back.
func (g *Gateway) BFD(run Running) []bfd.Target {
	var out []bfd.Target
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		spec := t.Spec.GetBgp().GetBfd()
		if !t.BGP || !t.AdminUp || !run.up(t.Name) || !spec.GetEnabled() {
			continue
		}
		out = append(out, bfd.Target{Tunnel: t.Name, Device: t.Interface, Local: t.Inside.Addr(), Peer: t.Peer,
			Interval: spec.GetInterval().AsDuration(), Multiplier: uint8(spec.GetMultiplier())})
	}
	return out
}

// Probes are the liveness probes of the gateway's tunnels.
func (g *Gateway) Probes() []probe.Target {
	var out []probe.Target
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		p := probe.Target{Tunnel: t.Name, Device: t.Interface, Local: t.Inside.Addr(), Peer: t.Peer,
			Interval: t.Spec.GetProbe().GetInterval().AsDuration(), Failures: int(t.Spec.GetProbe().GetFailures())}
		switch mode := t.Spec.GetProbe().GetMode(); {
		case !t.AdminUp || mode == apiv1.ProbeModeOff:
			p.Mode = probe.Off
		case mode == apiv1.ProbeModeOn:
			p.Mode = probe.On
		default:
			p.Mode = probe.Auto
		}
		out = append(out, p)
	}
	return out
}
