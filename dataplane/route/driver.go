// Package route installs nexthop objects, nexthop groups and the routes that point at them: one nexthop per tunnel, one
// group per set of equal paths. A tunnel that fails leaves every route with one netlink message, however many there are.
package route

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Driver installs the routes of many gateways. Gateways are independent: rounds of different ones run side by side. All
// methods are safe for concurrent use.
type Driver struct {
	kernel netlink.Kernel
	log    *slog.Logger

	mu       sync.Mutex // never held while taking a gateway's own
	gateways map[string]*gateway
	owners   map[uint32]string // nexthop and group ids claimed by desired sets
	tables   map[uint32]string // tables claimed by desired sets
	links    map[int]string    // devices in use, by index
	waiting  map[string]string // devices whose nexthops could not be made, by name
}

// gateway is what the driver knows of one BorderGateway.
type gateway struct {
	name string

	mu      sync.Mutex
	removed bool // no longer in Driver.gateways
	table   uint32
	// valid is true while have and links are known to be what exists; otherwise the next round lists.
	valid bool
	have  state
	// settled is true while have is known to be exactly what applied, the desired set of the last round, says; result came of it.
	settled bool
	applied Desired
	result  Result
	links   map[string]int // indexes of the devices in use, by name
	// expected counts IPv6 routes that went with a nexthop we deleted: the kernel reports each as nobody's doing.
	expected map[routeKey]int
}

// routeKey is a route's identity; the metric is always ours.
type routeKey struct {
	table  uint32
	prefix netip.Prefix
}

// state is what exists, or is believed to exist, of one gateway.
type state struct {
	nexthops map[uint32]netlink.Nexthop
	groups   map[uint32][]uint32
	routes   map[routeKey]target
}

// target is where a route leads.
type target struct {
	nexthop     uint32
	unreachable bool
}

func newState() state {
	return state{
		nexthops: make(map[uint32]netlink.Nexthop),
		groups:   make(map[uint32][]uint32),
		routes:   make(map[routeKey]target),
	}
}

// removeNexthop does to the state what the kernel does when a nexthop or group goes: nexthops leave their groups, and
// groups left empty and routes without nexthop go too (net/ipv4/nexthop.c, remove_nexthop). Events of IPv6 routes will
// come after it, possibly when the route exists again.
func (g *gateway) removeNexthop(id uint32) {
	s := &g.have
	g.settled = false
	gone := map[uint32]bool{id: true}
	delete(s.nexthops, id)
	delete(s.groups, id)
	for groupID, members := range s.groups {
		i := slices.Index(members, id)
		if i < 0 {
			continue
		}
		if rest := slices.Delete(slices.Clone(members), i, i+1); len(rest) > 0 {
			s.groups[groupID] = rest
			continue
		}
		delete(s.groups, groupID)
		gone[groupID] = true
	}
	maps.DeleteFunc(s.routes, func(key routeKey, t target) bool {
		if gone[t.nexthop] && key.prefix.Addr().Is6() {
			g.expected[key]++
		}
		return gone[t.nexthop]
	})
}

// New returns a driver that has done nothing yet. kernel stays the caller's.
func New(kernel netlink.Kernel, log *slog.Logger) *Driver {
	return &Driver{
		kernel: kernel, log: log,
		gateways: make(map[string]*gateway),
		owners:   make(map[uint32]string), tables: make(map[uint32]string),
		links: make(map[int]string), waiting: make(map[string]string),
	}
}

// lock returns the gateway, locked.
func (d *Driver) lock(name string) *gateway {
	for {
		d.mu.Lock()
		g, ok := d.gateways[name]
		if !ok {
			g = &gateway{name: name, have: newState(), links: make(map[string]int), expected: make(map[routeKey]int)}
			d.gateways[name] = g
		}
		d.mu.Unlock()
		g.mu.Lock()
		if !g.removed {
			return g
		}
		g.mu.Unlock() // Remove was faster
	}
}

// Invalidate drops what is remembered of a gateway (of all, for an empty name): the next Apply lists. The periodic
// resync calls it, against events that the kernel lost without saying so.
func (d *Driver) Invalidate(name string) {
	for _, g := range d.snapshot() {
		if name == "" || g.name == name {
			g.mu.Lock()
			g.valid = false
			g.mu.Unlock()
		}
	}
}

func (d *Driver) snapshot() []*gateway {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.gateways))
}

// DropNexthop takes one tunnel out of every route of a gateway with a single netlink message. The nexthop leaves its
// groups; groups that had no other member disappear with their routes. The next Apply finds all this done. An id that
// does not exist is no error.
func (d *Driver) DropNexthop(ctx context.Context, gatewayName string, id uint32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if id < NexthopBase || id >= GroupBase {
		return fmt.Errorf("nexthop %#x: not in the range of nexthop ids", id)
	}
	d.mu.Lock()
	owner, owned := d.owners[id]
	d.mu.Unlock()
	if owned && owner != gatewayName {
		return fmt.Errorf("nexthop %#x: belongs to gateway %s", id, owner)
	}
	g := d.lock(gatewayName)
	defer g.mu.Unlock()
	if _, exists := g.have.nexthops[id]; g.valid && !exists {
		return nil
	}
	if err := d.kernel.DeleteNexthops([]uint32{id})[0]; err != nil && !isGone(err) {
		g.valid = false
		return fmt.Errorf("delete nexthop %#x of gateway %s: %w", id, gatewayName, err)
	}
	g.removeNexthop(id)
	return nil
}

// Remove removes everything of a gateway and forgets it. It is idempotent.
func (d *Driver) Remove(ctx context.Context, gatewayName string) error {
	d.mu.Lock()
	_, known := d.gateways[gatewayName]
	d.mu.Unlock()
	if !known {
		return nil // what an earlier process left is Sweep's
	}
	g := d.lock(gatewayName)
	defer g.mu.Unlock()
	result, err := d.apply(ctx, g, Desired{Gateway: gatewayName, Table: g.table})
	if err == nil {
		err = result.err()
	}
	if err != nil {
		return fmt.Errorf("remove routes of gateway %s: %w", gatewayName, err)
	}
	g.removed = true
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.gateways, gatewayName)
	d.release(gatewayName)
	return nil
}

// release gives up a gateway's claims; the caller holds d.mu.
func (d *Driver) release(name string) {
	maps.DeleteFunc(d.owners, func(_ uint32, owner string) bool { return owner == name })
	maps.DeleteFunc(d.tables, func(_ uint32, owner string) bool { return owner == name })
	maps.DeleteFunc(d.links, func(_ int, owner string) bool { return owner == name })
	maps.DeleteFunc(d.waiting, func(_ string, owner string) bool { return owner == name })
}
