package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/route"
)

// rank orders candidates for one destination: the kind of next hop first, then the source; lower wins. Longest prefix match comes
// before and is the kernel's, AS_PATH length comes after and is bgp.Best's.
type rank struct{ hop, source int }

const (
	hopAttachment    = 100
	hopConnection    = 140
	sourceStatic     = 100
	sourceAttachment = 120
	sourceEBGP       = 150
)

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.hop, o.hop), cmp.Compare(r.source, o.source))
}

// member is one possible next hop of a candidate.
type member struct {
	// key identifies the nexthop object among those of the host.
	key     string
	device  string
	gateway netip.Addr
	tunnel  string
	usable  bool
	// standby members carry packets only where no other can; announced says that neighbors still hear of them.
	standby, announced bool
	// asPath is what others are told of a learned path.
	asPath []uint32
}

func (m member) same(o member) bool { return m.key == o.key }

type candidate struct {
	prefix  netip.Prefix
	rank    rank
	target  string
	asPath  []uint32
	members []member
	// over is set when the candidate is left out because of the quota.
	over bool
}

func (c candidate) usable() bool {
	return !c.over && slices.ContainsFunc(c.members, func(m member) bool { return m.usable })
}

// active says that the candidate has a member that is no standby.
func (c candidate) active() bool {
	return !c.over && slices.ContainsFunc(c.members, func(m member) bool { return m.usable && !m.standby })
}

// Routing is what the gateway's table should hold, in the form of the driver and in that of the API.
type Routing struct {
	Desired route.Desired
	// Routes lists every candidate, the hidden and the unusable ones too, by prefix and rank.
	Routes []*apiv1.Route
	// Learned counts routes learned from customers, those over the quota too.
	Learned int
	// OverQuota counts learned routes that were left out because of MaxBGPRoutes.
	OverQuota int

	selected map[netip.Prefix][]candidate
}

// Routing selects a route for each destination. Every route points at a nexthop group: a tunnel that goes down is taken out of the
// groups by one message, however many routes there are. A group is named after those that may be in it, not after those that are up,
// so that a tunnel that comes or goes changes a group and no route.
func (g *Gateway) Routing(run Running) (Routing, error) {
	candidates, learned, over := g.candidates(run)
	out := Routing{
		Desired:   route.Desired{Gateway: g.Name, Table: g.Table},
		Learned:   learned,
		OverQuota: over,
		selected:  map[netip.Prefix][]candidate{},
	}
	b := builder{g: g, desired: &out.Desired, nexthops: map[string]uint32{}, groups: map[string]uint32{}}
	for start := 0; start < len(candidates); {
		end := start + 1
		for end < len(candidates) && candidates[end].prefix == candidates[start].prefix {
			end++
		}
		same := candidates[start:end]
		start = end
		chosen := choose(same)
		if len(chosen) > 0 {
			if err := b.add(chosen); err != nil {
				return Routing{}, err
			}
			out.selected[same[0].prefix] = chosen
		}
		for i := range same {
			out.Routes = append(out.Routes, g.view(same[i], chosen))
		}
	}
	b.finish()
	return out, nil
}

// choose returns the best usable candidates, all of one rank, out of those for one prefix sorted by rank. Those that have nothing but
// tunnels that are being drained are the last resort.
func choose(same []candidate) []candidate {
	if out := best(same, candidate.active); len(out) > 0 {
		return out
	}
	return best(same, candidate.usable)
}

func best(same []candidate, fit func(candidate) bool) []candidate {
	var out []candidate
	for _, c := range same {
		if !fit(c) {
			continue
		}
		if len(out) > 0 && out[0].rank.compare(c.rank) != 0 {
			break
		}
		out = append(out, c)
	}
	return out
}

// carrying returns those of the chosen candidates' members that a packet may take: no standby as long as there is another.
func carrying(chosen []candidate) []member {
	var active, standby []member
	for _, c := range chosen {
		for _, m := range c.members {
			switch {
			case m.usable && m.standby:
				standby = append(standby, m)
			case m.usable:
				active = append(active, m)
			}
		}
	}
	if len(active) > 0 {
		return active
	}
	return standby
}

// candidates returns all possible routes sorted by prefix, rank and target, how many customers have announced, and how many of these
// exceed the quota.
func (g *Gateway) candidates(run Running) (out []candidate, fromCustomers, over int) {
	var learned []candidate
	for i := range g.Attachments {
		a := &g.Attachments[i]
		for _, p := range a.Prefixes {
			out = append(out, candidate{prefix: p, rank: rank{hopAttachment, sourceAttachment}, target: a.Name,
				members: []member{g.attachmentMember(a, p, a.NextHop, run)}})
		}
	}
	for _, s := range g.Static {
		if s.Attachment != "" {
			if a := g.attachment(s.Attachment); a != nil {
				out = append(out, candidate{prefix: s.Prefix, rank: rank{hopAttachment, sourceStatic}, target: a.Name,
					members: []member{g.attachmentMember(a, s.Prefix, a.NextHop, run)}})
			}
			continue
		}
		c := candidate{prefix: s.Prefix, rank: rank{hopConnection, sourceStatic}, target: s.Connection}
		for i := range g.Tunnels {
			if t := &g.Tunnels[i]; t.Connection == s.Connection {
				c.members = append(c.members, tunnelMember(t, s.Prefix, run))
			}
		}
		out = append(out, c)
	}
	learned, fromCustomers, over = g.learned(run)
	out = append(out, learned...)
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(bgp.ComparePrefixes(a.prefix, b.prefix), a.rank.compare(b.rank), cmp.Compare(a.target, b.target))
	})
	return out, fromCustomers, over
}

func (g *Gateway) learned(run Running) (out []candidate, fromCustomers, over int) {
	for _, l := range run.Learned {
		c := candidate{prefix: l.Prefix}
		var targets []string
		for _, p := range l.Paths {
			name := p.Neighbor[strings.IndexByte(p.Neighbor, '/')+1:]
			if len(c.members) == 0 {
				c.asPath = p.ASPath
			}
			if p.Kind == bgp.Fabric {
				if a := g.attachment(name); a != nil {
					c.rank = rank{hopAttachment, sourceEBGP}
					// The peer itself is the next hop: it is on-link, whatever NEXT_HOP it sends.
					c.members = append(c.members, g.attachmentMember(a, l.Prefix, a.Peer, run))
					targets = append(targets, name)
				}
			} else if t := g.tunnel(name); t != nil {
				c.rank = rank{hopConnection, sourceEBGP}
				m := tunnelMember(t, l.Prefix, run)
				m.asPath = t.learnedPath(p.ASPath)
				c.members = append(c.members, m)
				targets = append(targets, t.Connection)
			}
		}
		if len(c.members) == 0 {
			continue
		}
		if c.rank.hop == hopConnection {
			if fromCustomers++; g.MaxBGPRoutes > 0 && fromCustomers > g.MaxBGPRoutes {
				c.over = true
				over++
			}
		}
		slices.Sort(targets)
		c.target = strings.Join(slices.Compact(targets), ",")
		out = append(out, c)
	}
	return out, fromCustomers, over
}

func tunnelMember(t *Tunnel, prefix netip.Prefix, run Running) member {
	return member{key: nexthopKey("tunnel", t.Name, netip.Addr{}, prefix), device: t.Interface, tunnel: t.Name,
		usable: t.AdminUp && run.Carries(t.Name), standby: t.draining(), announced: !t.withdrawn()}
}

func (g *Gateway) attachmentMember(a *Attachment, prefix netip.Prefix, hop netip.Addr, run Running) member {
	if hop.IsValid() && hop.Is4() != prefix.Addr().Is4() {
		hop = netip.Addr{}
	}
	return member{key: nexthopKey("attachment", g.Name+"/"+a.Name, hop, prefix), device: a.Interface, gateway: hop,
		usable: run.Members[a.Interface], announced: true}
}

func nexthopKey(kind, name string, hop netip.Addr, prefix netip.Prefix) string {
	key := kind + "/" + name
	if hop.IsValid() {
		key += "/" + hop.String()
	}
	if prefix.Addr().Is4() {
		return key + "/4"
	}
	return key + "/6"
}

// view is a candidate as the API shows it.
func (g *Gateway) view(c candidate, chosen []candidate) *apiv1.Route {
	out := &apiv1.Route{
		Gateway: g.Name, Prefix: c.prefix.String(), Type: apiv1.RouteTypeConnection, Source: apiv1.RouteSourceBGP,
		Target: c.target, AsPath: c.asPath, Host: g.host.Name,
	}
	if c.rank.hop == hopAttachment {
		out.Type = apiv1.RouteTypeAttachment
	}
	switch c.rank.source {
	case sourceStatic:
		out.Source = apiv1.RouteSourceStatic
	case sourceAttachment:
		out.Source = apiv1.RouteSourceAttachment
	}
	carriers := carrying(chosen)
	for _, m := range c.members {
		if m.usable && (len(chosen) == 0 || chosen[0].rank.compare(c.rank) != 0 || slices.ContainsFunc(carriers, m.same)) {
			hop := &apiv1.NextHop{Tunnel: m.tunnel, Interface: m.device}
			if m.gateway.IsValid() {
				hop.Address = m.gateway.String()
			}
			out.NextHops = append(out.NextHops, hop)
		}
	}
	switch {
	case c.over:
		out.Message = fmt.Sprintf("left out: the gateway's quota is %d BGP routes", g.MaxBGPRoutes)
	case !c.usable() && c.rank.hop == hopConnection:
		out.Message = "no tunnel is UP"
	case !c.usable():
		out.Message = "the attachment's interface is not up"
	case chosen[0].rank.compare(c.rank) != 0:
		out.Message = "hidden by the route to " + strings.ToLower(chosenType(chosen[0])) + " " + chosen[0].target
	case !c.active() && chosen[0].active():
		out.Message = "its tunnels are being drained"
	default:
		out.Installed = true
	}
	return out
}

func chosenType(c candidate) string {
	if c.rank.hop == hopAttachment {
		return apiv1.RouteTypeAttachment
	}
	return apiv1.RouteTypeConnection
}
