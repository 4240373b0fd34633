package route

import (
	"context"
	"slices"
	"time"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/netlink"
)

// resubscribeDelay keeps a subscription that cannot be made from being tried in a tight loop.
const resubscribeDelay = time.Second

// Watch reports, until ctx ends, what makes a gateway's routes differ from what the last Apply left: devices that went
// down or away (the kernel takes their nexthops, groups and routes without an event for each), foreign changes to
// objects of ours, and devices that come up for which Apply had to leave nexthops out. The driver's own writes are not
// reported. After every (re)subscription it reports one Resync for all gateways. emit may call the driver.
func (d *Driver) Watch(ctx context.Context, emit func(dataplane.Hint)) error {
	topics := netlink.Topics{Links: true, Nexthops: true, Routes: true}
	for ctx.Err() == nil {
		ready := false
		err := d.kernel.Watch(ctx, topics, func() {
			ready = true
			d.Invalidate("")
			emit(dataplane.Hint{Kind: dataplane.Resync, Reason: "watching routes"})
		}, func(e netlink.Event) {
			if hint, ok := d.event(e); ok {
				emit(hint)
			}
		})
		if err == nil {
			return nil
		}
		d.log.Warn("route events interrupted", "error", err)
		if ready {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(resubscribeDelay):
		}
	}
	return nil
}

// event decides whether an event concerns a gateway. When it does, the gateway's memory is dropped.
func (d *Driver) event(e netlink.Event) (dataplane.Hint, bool) {
	if e.Own {
		return dataplane.Hint{}, false
	}
	g, up := d.concerned(e)
	if g == nil {
		return dataplane.Hint{}, false
	}
	if up {
		return dataplane.Hint{Kind: dataplane.Changed, Gateway: g.name, Object: e.Link.Name, Reason: "device came up"}, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	reason := g.affected(e)
	if reason == "" {
		return dataplane.Hint{}, false
	}
	g.valid = false
	return dataplane.Hint{Kind: dataplane.Resync, Gateway: g.name, Object: e.Link.Name, Reason: reason}, true
}

// concerned finds the gateway of an event; up is true when it is a device waited for that now is up.
func (d *Driver) concerned(e netlink.Event) (g *gateway, up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Kind {
	case netlink.LinkNew:
		if name, ok := d.waiting[e.Link.Name]; ok && e.Link.OperUp() {
			delete(d.waiting, e.Link.Name)
			return d.gateways[name], true
		}
		return d.gateways[d.links[e.Link.Index]], false
	case netlink.LinkGone:
		return d.gateways[d.links[e.Link.Index]], false
	case netlink.NexthopNew, netlink.NexthopGone:
		return d.gateways[d.owners[e.Nexthop.ID]], false
	case netlink.RouteNew, netlink.RouteGone:
		if e.Route.Protocol == Protocol && e.Route.Metric == Metric {
			return d.gateways[d.tables[e.Route.Table]], false
		}
	}
	return nil, false
}

// affected says why an event makes what exists differ from g.have, or nothing when it does not. The caller holds g.mu.
func (g *gateway) affected(e netlink.Event) string {
	if !g.valid {
		return "" // reported already, and not listed since
	}
	id, key := e.Nexthop.ID, routeKey{e.Route.Table, e.Route.Prefix}
	nexthop, haveNexthop := g.have.nexthops[id]
	members, haveGroup := g.have.groups[id]
	have, haveRoute := g.have.routes[key]
	switch e.Kind {
	case netlink.LinkNew:
		if e.Link.OperUp() && g.links[e.Link.Name] == e.Link.Index {
			return ""
		}
		fallthrough
	case netlink.LinkGone:
		for _, n := range g.have.nexthops {
			if n.Link == e.Link.Index {
				return "device down, gone or renamed"
			}
		}
		for name, index := range g.links {
			if index == e.Link.Index && e.Link.Name != name || e.Kind == netlink.LinkGone && index == e.Link.Index {
				return "device gone or renamed"
			}
		}
	case netlink.NexthopGone:
		if haveNexthop || haveGroup {
			return "nexthop removed by another program"
		}
	case netlink.NexthopNew:
		group := slices.Sorted(slices.Values(e.Nexthop.Group))
		same := haveGroup && slices.Equal(group, members) || haveNexthop && len(group) == 0 &&
			nexthop.Link == e.Nexthop.Link && nexthop.Gateway == e.Nexthop.Gateway && nexthop.IPv6 == e.Nexthop.IPv6
		if !same {
			return "nexthop changed by another program"
		}
	case netlink.RouteGone:
		if g.expected[key] > 0 {
			g.expected[key]--
			return ""
		}
		if haveRoute {
			return "route removed by another program"
		}
	case netlink.RouteNew:
		if !haveRoute || have != (target{e.Route.Nexthop, e.Route.Type == netlink.Unreachable}) {
			return "route changed by another program"
		}
	}
	return ""
}
