package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/bordergw/bordergw/bgp"
)

// Speaker is the gateway's BGP speaker. Only tunnels that are up have a neighbor: a session that would start while its tunnel is not
// there only waits in timers. routing must be the selection for the same run: what is announced to the VPC is what this host can
// reach right now.
func (g *Gateway) Speaker(run Running, routing Routing) bgp.Speaker {
	s := bgp.Speaker{Gateway: g.Name, ASN: g.ASN, RouterID: g.RouterID, Device: g.VRF, Forwarding: run.Forwarding}
	refuse, protect := g.guards()
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		if !t.BGP || !t.AdminUp || !run.up(t.Name) {
			continue
		}
		spec := t.Spec.GetBgp()
		n := bgp.Neighbor{
			Name: TunnelNeighbor(t.Name), Kind: bgp.Customer, Address: t.Peer, LocalAddress: t.Inside.Addr(), PeerASN: t.CustomerASN,
			Keepalive: spec.GetKeepalive().AsDuration(), Hold: spec.GetHold().AsDuration(), Password: t.BGPPassword,
			MaxPrefixes: spec.GetMaxPrefixes(), Prepend: int(spec.GetPrepend()), IPv4: g.IPv4, IPv6: g.IPv6, Refuse: refuse, Protect: protect,
			Restarts: run.Tunnels[t.Name].BFDDowns, RestartTime: g.host.RestartTime,
		}
		if spec.Med != nil {
			med := spec.GetMed()
			n.MED = &med
		}
		if t.draining() {
			worsen(&n)
			n.Mute = t.withdrawn()
		}
		s.Neighbors = append(s.Neighbors, n)
	}
	leaving := g.leaving(run)
	for i := range g.Attachments {
		a := &g.Attachments[i]
		if !a.Peer.IsValid() || !run.Members[a.Interface] {
			continue
		}
		n := bgp.Neighbor{
			Name: AttachmentNeighbor(a.Name), Kind: bgp.Fabric, Address: a.Peer, PeerASN: a.PeerASN, Password: a.PeerPassword,
			IPv4: g.IPv4, IPv6: g.IPv6, Accept: a.Prefixes, RestartTime: g.host.RestartTime,
		}
		if leaving {
			worsen(&n)
		}
		s.Neighbors = append(s.Neighbors, n)
	}
	fabric := slices.ContainsFunc(s.Neighbors, func(n bgp.Neighbor) bool { return n.Kind == bgp.Fabric })
	s.Announcements = g.announcements(routing, fabric)
	return s
}

// guards are what customers must not announce: what is on the VPC's side, the inside addresses of tunnels, over which the sessions
// themselves run, and, but for a default route, what contains an outer address: ESP has its routes in the underlay, but the VPC would
// be told to reach the tunnel's own ends through the tunnel.
func (g *Gateway) guards() ([]bgp.Guard, []netip.Addr) {
	var refuse []bgp.Guard
	var protect []netip.Addr
	for _, a := range g.Attachments {
		for _, p := range a.Prefixes {
			refuse = append(refuse, bgp.Guard{Prefix: p, Why: bgp.RefusedOwn})
		}
		for _, hop := range []netip.Addr{a.Peer, a.NextHop} {
			if hop.IsValid() {
				refuse = append(refuse, bgp.Guard{Prefix: netip.PrefixFrom(hop, hop.BitLen()), Why: bgp.RefusedOwn})
			}
		}
	}
	for i := range g.Tunnels {
		t := &g.Tunnels[i]
		refuse = append(refuse, bgp.Guard{Prefix: t.Inside.Masked(), Why: bgp.RefusedInside})
		protect = append(protect, t.Cloud, t.Customer)
	}
	slices.SortFunc(refuse, func(a, b bgp.Guard) int {
		return cmp.Or(bgp.ComparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.Why, b.Why))
	})
	slices.SortFunc(protect, netip.Addr.Compare)
	return slices.Compact(refuse), slices.Compact(protect)
}

// announcements: to customers, attachments' prefixes and static routes into attachments, with AllowTransit also what other customers have
// announced; to the VPC, when a peer there is to hear it, static routes over a connection that has a tunnel up and what customers have
// announced. Only selected routes are among them, and none that is over the quota.
func (g *Gateway) announcements(routing Routing, fabric bool) []bgp.Announcement {
	var out []bgp.Announcement
	for prefix, chosen := range routing.selected {
		r := chosen[0].rank
		if r.hop == hopAttachment {
			if r.source != sourceEBGP {
				out = append(out, bgp.Announcement{Prefix: prefix, To: bgp.Customer})
			}
			continue
		}
		if !slices.ContainsFunc(carrying(chosen), func(m member) bool { return m.announced }) {
			continue
		}
		var path []uint32
		if r.source == sourceEBGP {
			if path = chosen[0].announcedPath(); path == nil {
				continue
			}
			if g.AllowTransit {
				out = append(out, bgp.Announcement{Prefix: prefix, To: bgp.Customer, ASPath: path})
			}
		}
		if fabric {
			out = append(out, bgp.Announcement{Prefix: prefix, To: bgp.Fabric, ASPath: path})
		}
	}
	slices.SortFunc(out, func(a, b bgp.Announcement) int {
		return cmp.Or(bgp.ComparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.To, b.To))
	})
	return out
}

// announcedPath is the AS_PATH of the first of the equal paths that carries traffic; nil when there is none.
func (c candidate) announcedPath() []uint32 {
	for _, m := range carrying([]candidate{c}) {
		if len(m.asPath) > 0 {
			return m.asPath
		}
	}
	return nil
}

// learnedPath is what others are told of a path over the tunnel. The customer's ASN is always in it, or the route would come back to
// the customer: a route found in the kernel at the start has no AS_PATH, and a route server's need not have the server's own ASN. Over a
// tunnel without BGP nothing can have been learned.
func (t *Tunnel) learnedPath(asPath []uint32) []uint32 {
	switch {
	case !t.BGP:
		return nil
	case slices.Contains(asPath, t.CustomerASN):
		return asPath
	}
	return append([]uint32{t.CustomerASN}, asPath...)
}
