package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/dataplane/route"
)

// builder collects the nexthops, groups and routes of one gateway; objects that several routes share are made once.
type builder struct {
	g        *Gateway
	desired  *route.Desired
	nexthops map[string]uint32
	groups   map[string]uint32
}

// add makes one route to the union of the chosen candidates' members.
func (b *builder) add(chosen []candidate) error {
	prefix := chosen[0].prefix
	var possible []string
	var usable []uint32
	for _, c := range chosen {
		possible = append(possible, c.groupKeys()...)
	}
	for _, m := range carrying(chosen) {
		id, err := b.nexthop(m, prefix.Addr().Is6())
		if err != nil {
			return err
		}
		usable = append(usable, id)
	}
	slices.Sort(possible)
	slices.Sort(usable)
	key := "group/" + strings.Join(slices.Compact(possible), "+")
	id, err := b.group(key, slices.Compact(usable))
	if err != nil {
		return err
	}
	b.desired.Routes = append(b.desired.Routes, route.Route{Prefix: prefix, Nexthop: id})
	return nil
}

// groupKeys name those that may carry the candidate. A static route's are whatever tunnels its connection has: one that is added or removed
// changes the group, and no route.
func (c candidate) groupKeys() []string {
	if c.rank == (rank{hopConnection, sourceStatic}) {
		family := "/4"
		if c.prefix.Addr().Is6() {
			family = "/6"
		}
		return []string{"connection/" + c.target + family}
	}
	var keys []string
	for _, m := range c.members {
		keys = append(keys, m.key)
	}
	return keys
}

func (b *builder) nexthop(m member, ipv6 bool) (uint32, error) {
	if id, ok := b.nexthops[m.key]; ok {
		return id, nil
	}
	id, err := b.g.ids.Nexthop.Get(m.key)
	if err != nil {
		return 0, fmt.Errorf("nexthop %s: %w", m.key, err)
	}
	b.nexthops[m.key] = id
	b.desired.Nexthops = append(b.desired.Nexthops, route.Nexthop{ID: id, IPv6: ipv6, Interface: m.device, Gateway: m.gateway})
	return id, nil
}

func (b *builder) group(key string, members []uint32) (uint32, error) {
	if id, ok := b.groups[key]; ok {
		return id, nil
	}
	id, err := b.g.ids.Group.Get(key)
	if err != nil {
		return 0, fmt.Errorf("nexthop %s: %w", key, err)
	}
	b.groups[key] = id
	b.desired.Groups = append(b.desired.Groups, route.Group{ID: id, Members: members})
	return id, nil
}

// finish puts the objects in an order that does not depend on which route came first.
func (b *builder) finish() {
	slices.SortFunc(b.desired.Nexthops, func(x, y route.Nexthop) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(b.desired.Groups, func(x, y route.Group) int { return cmp.Compare(x.ID, y.ID) })
}

// TunnelNexthops returns the ids of a tunnel's nexthop objects, for taking it out of all groups at once. Objects that were never
// made have an id all the same; dropping those is no error.
func (g *Gateway) TunnelNexthops(tunnel string) ([]uint32, error) {
	var out []uint32
	for _, family := range []struct {
		used   bool
		suffix string
	}{{g.IPv4, "/4"}, {g.IPv6, "/6"}} {
		if !family.used {
			continue
		}
		id, err := g.ids.Nexthop.Get("tunnel/" + tunnel + family.suffix)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}
