package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/internal/delta"
)

// chunk is how many objects are written between two looks at the context.
const chunk = 1024

// isGone is true for the answers to deleting what does not exist.
func isGone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) }

// Apply makes the kernel hold exactly the desired nexthops, groups and routes of one gateway. Order: nexthops, groups
// and routes are created or replaced in place, then unwanted routes, groups and nexthops deleted; no packet finds a gap.
// It writes nothing when nothing differs. Result has the errors of single objects; the error is for the whole round.
func (d *Driver) Apply(ctx context.Context, want Desired) (Result, error) {
	switch {
	case want.Gateway == "":
		return newResult(), errors.New("gateway name missing")
	case want.Table == 0:
		return newResult(), fmt.Errorf("gateway %s: table missing", want.Gateway)
	}
	g := d.lock(want.Gateway)
	defer g.mu.Unlock()
	return d.apply(ctx, g, want)
}

// round is one Apply.
type round struct {
	d    *Driver
	g    *gateway
	want checked
	res  *Result
}

// apply runs one round; the caller holds g.mu.
func (d *Driver) apply(ctx context.Context, g *gateway, want Desired) (Result, error) {
	res := newResult()
	if err := ctx.Err(); err != nil {
		return res, err
	}
	if g.valid && g.settled && g.applied.equal(want) {
		return g.result.clone(), nil
	}
	g.settled = false
	r := &round{d: d, g: g, want: check(want, &res), res: &res}
	if err := d.claim(want, r.want, &res); err != nil {
		return res, fmt.Errorf("gateway %s: %w", want.Gateway, err)
	}
	if !g.valid {
		if err := r.load(want.Table); err != nil {
			return res, fmt.Errorf("gateway %s: %w", want.Gateway, err)
		}
	}
	g.table = want.Table
	for _, step := range []func(context.Context) error{
		r.putNexthops, r.putGroups, r.putRoutes, r.deleteRoutes, r.deleteGroups, r.deleteNexthops,
	} {
		if err := step(ctx); err != nil {
			return res, fmt.Errorf("gateway %s: %w", want.Gateway, err)
		}
	}
	res.Nexthops = append(res.Nexthops, sortedKeys(g.have.nexthops)...)
	for _, id := range sortedKeys(g.have.groups) {
		res.Groups = append(res.Groups, Group{ID: id, Members: slices.Clone(g.have.groups[id])})
	}
	res.Routes = len(g.have.routes)
	g.settled = g.valid && !res.Failed()
	g.applied, g.result = want.clone(), res.clone()
	return res, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// link returns a device's index. Watch is told that the gateway uses it.
func (r *round) link(name string) (int, error) {
	index, known := r.g.links[name]
	if !known {
		l, err := r.d.kernel.Link(name)
		if err != nil {
			return 0, err
		}
		index = l.Index
		r.g.links[name] = index
	}
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	r.d.links[index] = r.g.name
	return index, nil
}

// await has Watch report when the device comes up.
func (d *Driver) await(name, gateway string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting[name] = gateway
}

// failed notes that a write had an unexpected answer: what exists is not known any more.
func (r *round) failed() { r.g.valid = false }

// putNexthops creates and replaces single nexthops.
func (r *round) putNexthops(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var batch []netlink.Nexthop
	for _, id := range sortedKeys(r.want.nexthops) {
		w := r.want.nexthops[id]
		have, exists := r.g.have.nexthops[id]
		link, err := r.link(w.Interface)
		if err != nil {
			r.res.NexthopErrors[id] = fmt.Errorf("nexthop %#x: interface %w", id, err)
			r.d.await(w.Interface, r.g.name)
			continue
		}
		n := netlink.Nexthop{ID: id, Protocol: Protocol, IPv6: w.IPv6, Link: link, Gateway: w.Gateway}
		if exists && have.IPv6 == n.IPv6 && have.Link == n.Link && have.Gateway == n.Gateway {
			continue
		}
		if exists && have.IPv6 != n.IPv6 {
			// Routes keep their family, so the kernel would refuse the replacement while one uses the nexthop.
			if err := r.d.kernel.DeleteNexthops([]uint32{id})[0]; err != nil && !isGone(err) {
				r.failed()
				r.res.NexthopErrors[id] = fmt.Errorf("nexthop %#x: delete: %w", id, err)
				continue
			}
			r.g.removeNexthop(id)
		}
		batch = append(batch, n)
	}
	for i, err := range r.d.kernel.ReplaceNexthops(batch) {
		n := batch[i]
		if err != nil {
			r.failed()
			r.res.NexthopErrors[n.ID] = fmt.Errorf("nexthop %#x on %s: %w", n.ID, r.want.nexthops[n.ID].Interface, err)
			r.d.await(r.want.nexthops[n.ID].Interface, r.g.name)
			continue
		}
		r.g.have.nexthops[n.ID] = n
	}
	return nil
}

// putGroups creates and replaces groups, with the members that exist.
func (r *round) putGroups(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wanted := make(map[uint32][]uint32, len(r.want.groups))
	for _, id := range sortedKeys(r.want.groups) {
		var members []uint32
		for _, m := range r.want.groups[id] {
			if _, ok := r.g.have.nexthops[m]; ok {
				members = append(members, m)
			} else {
				r.res.GroupErrors[id] = fmt.Errorf("group %#x: member %#x is not installed", id, m)
			}
		}
		if len(members) > 0 {
			wanted[id] = members
		}
	}
	changes := delta.Diff(r.g.have.groups, wanted, slices.Equal, cmp.Compare)
	var batch []netlink.Nexthop
	for _, id := range slices.Concat(changes.Add, changes.Change) {
		batch = append(batch, netlink.Nexthop{ID: id, Protocol: Protocol, Group: wanted[id]})
	}
	for i, err := range r.d.kernel.ReplaceNexthops(batch) {
		n := batch[i]
		if err != nil {
			r.failed()
			r.res.GroupErrors[n.ID] = fmt.Errorf("group %#x: %w", n.ID, err)
			continue
		}
		r.g.have.groups[n.ID] = n.Group
	}
	return nil
}

func compareKeys(a, b routeKey) int {
	return cmp.Or(cmp.Compare(a.table, b.table), a.prefix.Compare(b.prefix))
}

// putRoutes creates and replaces routes whose nexthop is installed.
func (r *round) putRoutes(ctx context.Context) error {
	changes := delta.Diff(r.g.have.routes, r.want.routes, func(h, w target) bool { return h == w }, compareKeys)
	var batch []netlink.Route
	for _, key := range slices.Concat(changes.Add, changes.Change) {
		t := r.want.routes[key]
		_, nexthop := r.g.have.nexthops[t.nexthop]
		_, group := r.g.have.groups[t.nexthop]
		if !t.unreachable && !nexthop && !group {
			r.res.RouteErrors[key.prefix] = fmt.Errorf("route %s: nexthop %#x is not installed", key.prefix, t.nexthop)
			continue
		}
		batch = append(batch, key.route(t))
	}
	return r.writeRoutes(ctx, batch, r.d.kernel.ReplaceRoutes, func(rt netlink.Route, err error) {
		key := routeKey{rt.Table, rt.Prefix}
		if err != nil {
			r.failed()
			r.res.RouteErrors[rt.Prefix] = fmt.Errorf("route %s: %w", rt.Prefix, err)
			return
		}
		r.g.have.routes[key] = r.want.routes[key]
	})
}

func (k routeKey) route(t target) netlink.Route {
	rt := netlink.Route{
		Table: k.table, Prefix: k.prefix, Metric: Metric, Protocol: Protocol, Type: netlink.Unicast, Nexthop: t.nexthop,
	}
	if t.unreachable {
		rt.Type = netlink.Unreachable
	}
	return rt
}

func (r *round) writeRoutes(ctx context.Context, batch []netlink.Route, write func([]netlink.Route) []error, done func(netlink.Route, error)) error {
	for part := range slices.Chunk(batch, chunk) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, err := range write(part) {
			done(part[i], err)
		}
	}
	return nil
}

func (r *round) deleteRoutes(ctx context.Context) error {
	changes := delta.Diff(r.g.have.routes, r.want.routes, func(_, _ target) bool { return true }, compareKeys)
	var batch []netlink.Route
	for _, key := range changes.Remove {
		batch = append(batch, key.route(r.g.have.routes[key]))
	}
	return r.writeRoutes(ctx, batch, r.d.kernel.DeleteRoutes, func(rt netlink.Route, err error) {
		if err != nil && !isGone(err) {
			r.failed()
			r.res.RouteErrors[rt.Prefix] = fmt.Errorf("delete route %s: %w", rt.Prefix, err)
			return
		}
		delete(r.g.have.routes, routeKey{rt.Table, rt.Prefix})
	})
}

func (r *round) deleteGroups(ctx context.Context) error {
	return r.deleteObjects(ctx, sortedKeys(r.g.have.groups), r.res.GroupErrors)
}

func (r *round) deleteNexthops(ctx context.Context) error {
	return r.deleteObjects(ctx, sortedKeys(r.g.have.nexthops), r.res.NexthopErrors)
}

// deleteObjects deletes those nexthop objects that are not desired. Desired ones that are wrong stay as they are.
func (r *round) deleteObjects(ctx context.Context, ids []uint32, errs map[uint32]error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id uint32) bool { return r.want.ids[id] })
	for i, err := range r.d.kernel.DeleteNexthops(ids) {
		if err != nil && !isGone(err) {
			r.failed()
			errs[ids[i]] = fmt.Errorf("delete nexthop %#x: %w", ids[i], err)
			continue
		}
		r.g.removeNexthop(ids[i])
	}
	return nil
}
