package route

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Existing is everything of ours in the kernel, whoever wants it.
type Existing struct {
	Nexthops []ExistingNexthop
	Groups   []Group
	// Routes counts our routes by table.
	Routes map[uint32]int
}

// ExistingNexthop is a nexthop object of ours. Its Interface is empty when the device cannot be found.
type ExistingNexthop struct {
	Nexthop
	LinkIndex int
}

// List reads back what is ours, so that a process without memory can keep the ids that are in use.
func (d *Driver) List(ctx context.Context) (Existing, error) {
	if err := ctx.Err(); err != nil {
		return Existing{}, err
	}
	nexthops, routes, err := d.listAll()
	if err != nil {
		return Existing{}, err
	}
	links, err := d.kernel.Links()
	if err != nil {
		return Existing{}, err
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	found := Existing{Routes: make(map[uint32]int)}
	for _, n := range nexthops {
		if len(n.Group) > 0 {
			found.Groups = append(found.Groups, Group{ID: n.ID, Members: slices.Sorted(slices.Values(n.Group))})
			continue
		}
		found.Nexthops = append(found.Nexthops, ExistingNexthop{
			Nexthop:   Nexthop{ID: n.ID, IPv6: n.IPv6, Interface: names[n.Link], Gateway: n.Gateway},
			LinkIndex: n.Link,
		})
	}
	for _, r := range routes {
		found.Routes[r.Table]++
	}
	return found, nil
}

// ExistingRoute is a route of ours and where it leads.
type ExistingRoute struct {
	Prefix netip.Prefix
	// Interfaces are the devices of its nexthops, sorted; none for an unreachable route.
	Interfaces []string
}

// Existing reads back our routes in one table, sorted by prefix, as an earlier process may have left them.
func (d *Driver) Existing(ctx context.Context, table uint32) ([]ExistingRoute, error) {
	found, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	if found.Routes[table] == 0 {
		return nil, nil
	}
	routes, err := d.kernel.Routes(table, Protocol)
	if err != nil {
		return nil, err
	}
	devices := make(map[uint32][]string)
	for _, n := range found.Nexthops {
		if n.Interface != "" {
			devices[n.ID] = []string{n.Interface}
		}
	}
	for _, g := range found.Groups {
		for _, id := range g.Members {
			devices[g.ID] = append(devices[g.ID], devices[id]...)
		}
		slices.Sort(devices[g.ID])
		devices[g.ID] = slices.Compact(devices[g.ID])
	}
	var out []ExistingRoute
	for _, r := range routes {
		if r.Metric == Metric {
			out = append(out, ExistingRoute{Prefix: r.Prefix, Interfaces: slices.Clone(devices[r.Nexthop])})
		}
	}
	slices.SortFunc(out, func(a, b ExistingRoute) int { return a.Prefix.Compare(b.Prefix) })
	return out, nil
}

// listAll returns all nexthop objects and routes that carry our marks.
func (d *Driver) listAll() ([]netlink.Nexthop, []netlink.Route, error) {
	nexthops, err := d.kernel.Nexthops(Protocol)
	if err != nil {
		return nil, nil, err
	}
	routes, err := d.kernel.Routes(0, Protocol)
	if err != nil {
		return nil, nil, err
	}
	nexthops = slices.DeleteFunc(nexthops, func(n netlink.Nexthop) bool { return n.ID < NexthopBase || n.ID >= IDEnd })
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return r.Metric != Metric })
	return nexthops, routes, nil
}

// Sweep removes our routes in tables that no gateway has applied, and our nexthop objects that none has named. What a
// route of an applied gateway still uses stays, even when that gateway's round failed.
func (d *Driver) Sweep(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	nexthops, routes, err := d.listAll()
	if err != nil {
		return fmt.Errorf("sweep routes: %w", err)
	}
	staleRoutes, stale := d.unwanted(nexthops, routes)
	var errs []error
	for i, err := range d.kernel.DeleteRoutes(staleRoutes) {
		if err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("sweep route %s of table %d: %w", staleRoutes[i].Prefix, staleRoutes[i].Table, err))
		}
	}
	for i, err := range d.kernel.DeleteNexthops(stale) {
		if err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("sweep nexthop %#x: %w", stale[i], err))
		}
	}
	if len(staleRoutes)+len(stale) > 0 {
		d.Invalidate("") // should a gateway have claimed something meanwhile
		d.log.Info("swept routes and nexthops nobody wants", "routes", len(staleRoutes), "nexthops", len(stale))
	}
	return errors.Join(errs...)
}

// unwanted returns what to sweep, groups before their members.
func (d *Driver) unwanted(nexthops []netlink.Nexthop, routes []netlink.Route) (staleRoutes []netlink.Route, stale []uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	used := make(map[uint32]bool)
	for _, r := range routes {
		if _, wanted := d.tables[r.Table]; wanted {
			used[r.Nexthop] = true
		} else {
			staleRoutes = append(staleRoutes, r)
		}
	}
	var singles []uint32
	for _, n := range nexthops {
		if _, wanted := d.owners[n.ID]; wanted || used[n.ID] {
			for _, member := range n.Group {
				used[member] = true
			}
		}
	}
	for _, n := range nexthops {
		if _, wanted := d.owners[n.ID]; wanted || used[n.ID] {
			continue
		}
		if len(n.Group) > 0 {
			stale = append(stale, n.ID)
		} else {
			singles = append(singles, n.ID)
		}
	}
	return staleRoutes, append(stale, singles...)
}
