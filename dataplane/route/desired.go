package route

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// checked is a desired set without the objects that cannot be right.
type checked struct {
	nexthops map[uint32]Nexthop
	groups   map[uint32][]uint32
	routes   map[routeKey]target
	// ids are all ids named, whether or not their objects are right: none of them may be taken for unwanted.
	ids map[uint32]bool
}

func newResult() Result {
	return Result{
		NexthopErrors: make(map[uint32]error),
		GroupErrors:   make(map[uint32]error),
		RouteErrors:   make(map[netip.Prefix]error),
	}
}

func (r Result) clone() Result {
	r.Nexthops, r.Groups = slices.Clone(r.Nexthops), slices.Clone(r.Groups)
	r.NexthopErrors, r.GroupErrors, r.RouteErrors = maps.Clone(r.NexthopErrors), maps.Clone(r.GroupErrors), maps.Clone(r.RouteErrors)
	return r
}

func (d Desired) equal(o Desired) bool {
	return d.Gateway == o.Gateway && d.Table == o.Table && slices.Equal(d.Nexthops, o.Nexthops) && slices.Equal(d.Routes, o.Routes) &&
		slices.EqualFunc(d.Groups, o.Groups, func(a, b Group) bool { return a.ID == b.ID && slices.Equal(a.Members, b.Members) })
}

func (d Desired) clone() Desired {
	d.Nexthops, d.Groups, d.Routes = slices.Clone(d.Nexthops), slices.Clone(d.Groups), slices.Clone(d.Routes)
	return d
}

// err joins all errors, in a stable order.
func (r Result) err() error {
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(r.NexthopErrors)) {
		errs = append(errs, r.NexthopErrors[id])
	}
	for _, id := range slices.Sorted(maps.Keys(r.GroupErrors)) {
		errs = append(errs, r.GroupErrors[id])
	}
	for _, p := range slices.SortedFunc(maps.Keys(r.RouteErrors), netip.Prefix.Compare) {
		errs = append(errs, r.RouteErrors[p])
	}
	return errors.Join(errs...)
}

// Failed is true when any object has an error.
func (r Result) Failed() bool {
	return len(r.NexthopErrors)+len(r.GroupErrors)+len(r.RouteErrors) > 0
}

// check sorts out what cannot be right, with an error for each.
func check(want Desired, res *Result) checked {
	c := checked{
		nexthops: make(map[uint32]Nexthop, len(want.Nexthops)),
		groups:   make(map[uint32][]uint32, len(want.Groups)),
		routes:   make(map[routeKey]target, len(want.Routes)),
		ids:      make(map[uint32]bool),
	}
	for _, n := range want.Nexthops {
		_, twice := c.nexthops[n.ID]
		c.ids[n.ID] = true
		if err := n.check(twice); err != nil {
			res.NexthopErrors[n.ID] = fmt.Errorf("nexthop %#x: %w", n.ID, err)
			continue
		}
		c.nexthops[n.ID] = n
	}
	for _, g := range want.Groups {
		_, twice := c.groups[g.ID]
		c.ids[g.ID] = true
		if err := g.check(twice, want.Nexthops); err != nil {
			res.GroupErrors[g.ID] = fmt.Errorf("group %#x: %w", g.ID, err)
			continue
		}
		c.groups[g.ID] = g.Members
	}
	for _, r := range want.Routes {
		key := routeKey{want.Table, r.Prefix}
		_, twice := c.routes[key]
		if err := r.check(twice, c.ids); err != nil {
			res.RouteErrors[r.Prefix] = fmt.Errorf("route %s: %w", r.Prefix, err)
			continue
		}
		c.routes[key] = target{nexthop: r.Nexthop, unreachable: r.Unreachable}
	}
	return c
}

func (n Nexthop) check(twice bool) error {
	switch {
	case twice:
		return errors.New("id used twice")
	case n.ID < NexthopBase || n.ID >= GroupBase:
		return fmt.Errorf("id not in [%#x, %#x)", NexthopBase, GroupBase)
	case n.Interface == "":
		return errors.New("interface missing")
	case n.Gateway.IsValid() && n.Gateway.Is6() != n.IPv6:
		return fmt.Errorf("gateway %s is of the other address family", n.Gateway)
	}
	return nil
}

func (g Group) check(twice bool, nexthops []Nexthop) error {
	switch {
	case twice:
		return errors.New("id used twice")
	case g.ID < GroupBase || g.ID >= IDEnd:
		return fmt.Errorf("id not in [%#x, %#x)", GroupBase, IDEnd)
	case len(g.Members) == 0:
		return errors.New("no members")
	}
	var first *Nexthop
	for i, id := range g.Members {
		if i > 0 && id <= g.Members[i-1] {
			return errors.New("members are not sorted, or one is there twice")
		}
		n := slices.IndexFunc(nexthops, func(n Nexthop) bool { return n.ID == id })
		if n < 0 {
			return fmt.Errorf("member %#x is not among the nexthops", id)
		}
		if first == nil {
			first = &nexthops[n]
		}
		if nexthops[n].IPv6 != first.IPv6 {
			return fmt.Errorf("member %#x is of the other address family", id)
		}
	}
	return nil
}

func (r Route) check(twice bool, ids map[uint32]bool) error {
	switch {
	case twice:
		return errors.New("prefix used twice")
	case !r.Prefix.IsValid() || r.Prefix != r.Prefix.Masked():
		return errors.New("prefix is not a network address")
	case r.Prefix.Addr().Is4In6():
		return errors.New("prefix is an IPv4 address written as IPv6")
	case r.Unreachable && r.Nexthop != 0:
		return fmt.Errorf("unreachable, yet with nexthop %#x", r.Nexthop)
	case !r.Unreachable && !ids[r.Nexthop]:
		return fmt.Errorf("nexthop %#x is not among the nexthops and groups", r.Nexthop)
	}
	return nil
}

// claim makes the gateway the owner of its ids and its table. Objects that another gateway owns get an error and are
// taken out of c.
func (d *Driver) claim(want Desired, c checked, res *Result) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if owner, taken := d.tables[want.Table]; taken && owner != want.Gateway {
		return fmt.Errorf("table %d belongs to gateway %s", want.Table, owner)
	}
	d.release(want.Gateway)
	if want.Table != 0 {
		d.tables[want.Table] = want.Gateway
	}
	for id := range c.ids {
		owner, taken := d.owners[id]
		if !taken {
			d.owners[id] = want.Gateway
			continue
		}
		err := fmt.Errorf("id %#x belongs to gateway %s", id, owner)
		if _, ok := c.nexthops[id]; ok {
			res.NexthopErrors[id] = err
		} else {
			res.GroupErrors[id] = err
		}
		delete(c.nexthops, id)
		delete(c.groups, id)
		delete(c.ids, id)
	}
	return nil
}
