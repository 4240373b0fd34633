package route

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// load lists what exists of this gateway: its table's routes, and of the nexthop objects those it wants or once made.
func (r *round) load(table uint32) error {
	nexthops, err := r.d.kernel.Nexthops(Protocol)
	if err != nil {
		return err
	}
	r.g.links = make(map[string]int)
	have, err := r.adopt(nexthops)
	if err != nil {
		return err
	}
	tables := []uint32{table, r.g.table}
	slices.Sort(tables)
	for _, t := range slices.Compact(tables) {
		if t == 0 {
			continue // to the kernel that would be every table
		}
		routes, err := r.d.kernel.Routes(t, Protocol)
		if err != nil {
			return err
		}
		for _, rt := range routes {
			if rt.Metric == Metric {
				have.routes[routeKey{rt.Table, rt.Prefix}] = target{rt.Nexthop, rt.Type == netlink.Unreachable}
			}
		}
	}
	r.g.have, r.g.valid = have, true
	r.g.expected = make(map[routeKey]int)
	return nil
}

// adopt sorts out which of the listed nexthop objects are this gateway's. An object that the driver does not remember
// may carry an id that meant another tunnel to an earlier process, perhaps another tenant's, with routes that still lead
// to it. Changing it in place would send their packets through this gateway's tunnels, so it is kept only when it
// already is what is wanted, and deleted otherwise: packets that find no route are lost, but never misrouted.
func (r *round) adopt(listed []netlink.Nexthop) (state, error) {
	have := newState()
	slices.SortFunc(listed, func(a, b netlink.Nexthop) int { return cmp.Compare(len(a.Group), len(b.Group)) }) // members first
	var strangers []uint32
	for _, n := range listed {
		if n.ID < NexthopBase || n.ID >= IDEnd {
			continue
		}
		_, nexthop := r.g.have.nexthops[n.ID]
		_, group := r.g.have.groups[n.ID]
		remembered := nexthop || group
		switch {
		case !remembered && !r.want.ids[n.ID]:
		case !remembered && !r.matches(n, have):
			strangers = append(strangers, n.ID)
		case len(n.Group) > 0:
			slices.Sort(n.Group)
			have.groups[n.ID] = n.Group
		default:
			have.nexthops[n.ID] = n
		}
	}
	for i, err := range r.d.kernel.DeleteNexthops(strangers) {
		if err != nil && !isGone(err) {
			return state{}, fmt.Errorf("delete nexthop %#x, whose id is wanted for another: %w", strangers[i], err)
		}
	}
	for id, members := range have.groups {
		have.groups[id] = slices.DeleteFunc(members, func(m uint32) bool { return slices.Contains(strangers, m) })
		if len(have.groups[id]) == 0 {
			delete(have.groups, id)
		}
	}
	return have, nil
}

// matches tells whether an object is as wanted, for a group: whether all its members are this gateway's.
func (r *round) matches(n netlink.Nexthop, have state) bool {
	if len(n.Group) > 0 {
		return !slices.ContainsFunc(n.Group, func(id uint32) bool { _, ok := have.nexthops[id]; return !ok })
	}
	w, ok := r.want.nexthops[n.ID]
	if !ok {
		return false
	}
	link, err := r.link(w.Interface)
	return err == nil && link == n.Link && w.IPv6 == n.IPv6 && w.Gateway == n.Gateway
}
