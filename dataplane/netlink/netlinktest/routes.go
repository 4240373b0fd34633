package netlinktest

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Nexthops implements [netlink.Kernel].
func (v view) Nexthops(protocol uint8) ([]netlink.Nexthop, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	var list []netlink.Nexthop
	for _, n := range v.k.nexthops {
		if n.Protocol == protocol {
			n.Group = slices.Clone(n.Group)
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b netlink.Nexthop) int { return cmp.Compare(a.ID, b.ID) })
	return interrupted(v, list)
}

// ReplaceNexthops implements [netlink.Kernel].
func (v view) ReplaceNexthops(nexthops []netlink.Nexthop) []error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	errs := make([]error, len(nexthops))
	for i, n := range nexthops {
		effect, failure := v.write("replace nexthop %#x", n.ID)
		if errs[i] = failure; !effect {
			continue
		}
		if err := v.checkNexthop(n); err != nil {
			errs[i] = err
			continue
		}
		n.Group = slices.Clone(n.Group)
		v.k.nexthops[n.ID] = n
		v.emit(netlink.Event{Kind: netlink.NexthopNew, Nexthop: n})
	}
	return errs
}

func (v view) checkNexthop(n netlink.Nexthop) error {
	if n.ID == 0 {
		return fmt.Errorf("%w: nexthop id 0", unix.EINVAL)
	}
	if old, ok := v.k.nexthops[n.ID]; ok && (len(old.Group) > 0) != (len(n.Group) > 0) {
		return fmt.Errorf("%w: nexthop %#x is of the other type", unix.EINVAL, n.ID)
	}
	if len(n.Group) > 0 {
		for _, id := range n.Group {
			if member, ok := v.k.nexthops[id]; !ok || len(member.Group) > 0 {
				return fmt.Errorf("%w: invalid nexthop id %#x", unix.EINVAL, id)
			}
		}
		return nil
	}
	d, ok := v.k.devices[n.Link]
	if !ok {
		return fmt.Errorf("%w: invalid device index", unix.EINVAL)
	}
	if !d.OperUp() {
		return unix.ENETDOWN
	}
	if !n.Gateway.IsValid() {
		return nil
	}
	if n.Gateway.Is6() != n.IPv6 {
		return unix.EINVAL
	}
	for _, a := range d.addresses {
		if a.Prefix.Masked().Contains(n.Gateway) {
			return nil
		}
	}
	return fmt.Errorf("%w: nexthop has invalid gateway", unix.EHOSTUNREACH)
}

// DeleteNexthops implements [netlink.Kernel].
func (v view) DeleteNexthops(ids []uint32) []error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	errs := make([]error, len(ids))
	for i, id := range ids {
		effect, failure := v.write("delete nexthop %#x", id)
		if errs[i] = failure; !effect {
			continue
		}
		if _, ok := v.k.nexthops[id]; !ok {
			errs[i] = unix.ENOENT
			continue
		}
		v.removeNexthop(id, true)
	}
	return errs
}

// removeNexthop is net/ipv4/nexthop.c's remove_nexthop: routes of the nexthop go, it leaves its groups, and a group left
// empty is removed the same way. IPv4 routes go without an event; IPv6 routes with one that is nobody's.
func (v view) removeNexthop(id uint32, notify bool) {
	k := v.k
	n := k.nexthops[id]
	delete(k.nexthops, id)
	if notify {
		v.emit(netlink.Event{Kind: netlink.NexthopGone, Nexthop: n})
	}
	for key, r := range k.routes {
		if r.Nexthop != id {
			continue
		}
		delete(k.routes, key)
		if r.Prefix.Addr().Is6() {
			view{k: k}.emit(netlink.Event{Kind: netlink.RouteGone, Route: r})
		}
	}
	for groupID, g := range k.nexthops {
		i := slices.Index(g.Group, id)
		if i < 0 {
			continue
		}
		if len(g.Group) == 1 {
			v.removeNexthop(groupID, notify)
			continue
		}
		g.Group = slices.Delete(slices.Clone(g.Group), i, i+1)
		k.nexthops[groupID] = g
		if notify {
			v.emit(netlink.Event{Kind: netlink.NexthopNew, Nexthop: g})
		}
	}
}

// Routes implements [netlink.Kernel].
func (v view) Routes(table uint32, protocol uint8) ([]netlink.Route, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	var list []netlink.Route
	for _, r := range v.k.routes {
		if r.Protocol == protocol && (table == 0 || table == r.Table) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b netlink.Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), a.Prefix.Compare(b.Prefix), cmp.Compare(a.Metric, b.Metric))
	})
	return interrupted(v, list)
}

// ReplaceRoutes implements [netlink.Kernel].
func (v view) ReplaceRoutes(routes []netlink.Route) []error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	errs := make([]error, len(routes))
	for i, r := range routes {
		effect, failure := v.write("replace route %d %s", r.Table, r.Prefix)
		if errs[i] = failure; !effect {
			continue
		}
		if err := v.checkRoute(r); err != nil {
			errs[i] = err
			continue
		}
		v.k.routes[routeKey{r.Table, r.Prefix, r.Metric}] = r
		v.emit(netlink.Event{Kind: netlink.RouteNew, Route: r})
	}
	return errs
}

func (v view) checkRoute(r netlink.Route) error {
	if r.Table == 0 || !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked() {
		return unix.EINVAL
	}
	if r.Type == netlink.Unreachable && r.Nexthop == 0 {
		return nil
	}
	n, ok := v.k.nexthops[r.Nexthop]
	if !ok || r.Type != netlink.Unicast {
		return fmt.Errorf("%w: nexthop id does not exist", unix.EINVAL)
	}
	singles := []netlink.Nexthop{n}
	if len(n.Group) > 0 {
		singles = nil
		for _, id := range n.Group {
			singles = append(singles, v.k.nexthops[id])
		}
	}
	for _, s := range singles {
		if r.Prefix.Addr().Is6() && !s.IPv6 {
			return fmt.Errorf("%w: IPv6 routes can not use an IPv4 nexthop", unix.EINVAL)
		}
	}
	return nil
}

// DeleteRoutes implements [netlink.Kernel].
func (v view) DeleteRoutes(routes []netlink.Route) []error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	errs := make([]error, len(routes))
	for i, r := range routes {
		effect, failure := v.write("delete route %d %s", r.Table, r.Prefix)
		if errs[i] = failure; !effect {
			continue
		}
		key := routeKey{r.Table, r.Prefix, r.Metric}
		if have, ok := v.k.routes[key]; !ok || have.Protocol != r.Protocol {
			errs[i] = unix.ESRCH
			continue
		}
		delete(v.k.routes, key)
		v.emit(netlink.Event{Kind: netlink.RouteGone, Route: r})
	}
	return errs
}
