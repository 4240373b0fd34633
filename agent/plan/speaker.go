package plan

import (
	"net/netip"
	"slices"

	"github.com/bordergw/bordergw/bgp"
)

// Speaker is the gateway's BGP speaker. Only tunnels that are up have a neighbor: a session that would start while its tunnel is not
// there only waits in timers. routing must be the selection for the same run: what is announced to the VPC is what this host can
// reach right now.
func (g *Gateway) Speaker(run Running, routing Routing) bgp.Speaker {
	s := bgp.Speaker{Gateway: g.Name, ASN: g.ASN, RouterID: g.RouterID, Device: g.VRF, AllowTransit: g.AllowTransit}
	own := g.attachmentPrefixes()
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		if !t.BGP || !t.AdminUp || !run.up(t.Name) {
			continue
		}
		spec := t.Spec.GetBgp()
		n := bgp.Neighbor{
			Name: TunnelNeighbor(t.Name), Kind: bgp.Customer, Address: t.Peer, LocalAddress: t.Inside.Addr(), PeerASN: t.CustomerASN,
			Keepalive: spec.GetKeepalive().AsDuration(), Hold: spec.GetHold().AsDuration(), Password: t.BGPPassword,
			MaxPrefixes: spec.GetMaxPrefixes(), Prepend: int(spec.GetPrepend()), IPv4: g.IPv4, IPv6: g.IPv6, Refuse: own,
		}
		if spec.Med != nil {
			med := spec.GetMed()
			n.MED = &med
		}
		s.Neighbors = append(s.Neighbors, n)
	}
	for i := range g.Attachments {
		a := &g.Attachments[i]
		if !a.Peer.IsValid() || !run.Members[a.Interface] {
			continue
		}
		s.Neighbors = append(s.Neighbors, bgp.Neighbor{
			Name: AttachmentNeighbor(a.Name), Kind: bgp.Fabric, Address: a.Peer, PeerASN: a.PeerASN, Password: a.PeerPassword,
			IPv4: g.IPv4, IPv6: g.IPv6, Accept: a.Prefixes,
		})
	}
	s.Announcements = g.announcements(routing)
	return s
}

func (g *Gateway) attachmentPrefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, a := range g.Attachments {
		out = append(out, a.Prefixes...)
	}
	slices.SortFunc(out, bgp.ComparePrefixes)
	return slices.Compact(out)
}

// announcements: to customers, attachments' prefixes and static routes into attachments; to the VPC, static routes over a connection
// that has a tunnel up. Learned routes are passed on by the speaker itself.
func (g *Gateway) announcements(routing Routing) []bgp.Announcement {
	var out []bgp.Announcement
	for prefix, chosen := range routing.selected {
		switch r := chosen[0].rank; {
		case r.hop == hopAttachment && r.source != sourceEBGP:
			out = append(out, bgp.Announcement{Prefix: prefix, To: bgp.Customer})
		case r.hop == hopConnection && r.source == sourceStatic:
			out = append(out, bgp.Announcement{Prefix: prefix, To: bgp.Fabric})
		}
	}
	slices.SortFunc(out, func(a, b bgp.Announcement) int { return bgp.ComparePrefixes(a.Prefix, b.Prefix) })
	return out
}
