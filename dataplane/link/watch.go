package link

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/netlink"
)

// resubscribeDelay keeps a subscription that cannot be made from being tried in a tight loop.
const resubscribeDelay = time.Second

// Watch reports, until ctx ends, when a gateway's devices are no longer as the last Apply left them, when a device that
// one waits for appears, and, for all gateways, when another program changes the routing rules whose order matters.
// Echoes of the driver's own writes are not reported. After every (re)subscription it reports one Resync for all
// gateways. emit may call the driver.
func (d *Driver) Watch(ctx context.Context, emit func(dataplane.Hint)) error {
	topics := netlink.Topics{Links: true, Addresses: true, Rules: true}
	for ctx.Err() == nil {
		ready := false
		err := d.kernel.Watch(ctx, topics, func() {
			ready = true
			d.Invalidate("")
			emit(dataplane.Hint{Kind: dataplane.Resync, Reason: "watching links"})
		}, func(e netlink.Event) {
			for _, hint := range d.event(e) {
				emit(hint)
			}
		})
		if err == nil {
			return nil
		}
		d.log.Warn("link events interrupted", "error", err)
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

// event decides which gateways an event concerns, and drops what is remembered of them.
func (d *Driver) event(e netlink.Event) []dataplane.Hint {
	if e.Kind == netlink.RuleNew || e.Kind == netlink.RuleGone {
		if !rulesChanged(e) {
			return nil
		}
		d.doubtRules()
		return []dataplane.Hint{{Kind: dataplane.Changed, Object: ObjectRules, Reason: "routing rules changed"}}
	}
	var hints []dataplane.Hint
	d.mu.Lock()
	if e.Kind == netlink.LinkNew {
		for name := range d.waiting[e.Link.Name] {
			hints = append(hints, dataplane.Hint{
				Kind: dataplane.Changed, Gateway: name, Object: e.Link.Name, Reason: "device appeared",
			})
		}
		delete(d.waiting, e.Link.Name)
	}
	g := d.gateways[d.indexes[e.Link.Index]]
	stranger := g == nil && e.Kind == netlink.LinkGone
	if stranger {
		g = d.gateways[d.names[e.Link.Name]]
	}
	d.mu.Unlock()
	if g == nil {
		return hints
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if stranger {
		delete(g.sound, e.Link.Name)
		if !g.clean { // else it was ours, deleted to be recreated
			hints = append(hints, dataplane.Hint{
				Kind: dataplane.Changed, Gateway: g.name, Object: e.Link.Name, Reason: "device in the way is gone",
			})
		}
		return hints
	}
	if object, reason := d.affected(g, e); reason != "" {
		g.clean = false
		maps.DeleteFunc(g.sound, func(_ string, s sound) bool { return s.link.Index == e.Link.Index })
		hints = append(hints, dataplane.Hint{Kind: dataplane.Changed, Gateway: g.name, Object: object, Reason: reason})
	}
	return hints
}

// affected says which object of the gateway an event is about, and why that is not as the last round left it. The caller
// holds g.mu.
func (d *Driver) affected(g *gateway, e netlink.Event) (object, reason string) {
	var was netlink.Link
	for _, l := range g.seen {
		if l.Index == e.Link.Index {
			was = l
		}
	}
	if was.Index == 0 {
		return "", ""
	}
	object = was.Name
	tunnel := slices.IndexFunc(g.desired.Interfaces, func(i Interface) bool { return i.Name == was.Name })
	if tunnel >= 0 {
		object = g.desired.Interfaces[tunnel].Tunnel
	}
	switch e.Kind {
	case netlink.AddressGone:
		if tunnel >= 0 && e.Address == g.desired.Interfaces[tunnel].Address {
			return object, "address removed"
		}
		return "", ""
	case netlink.LinkGone:
		delete(g.seen, was.Name)
		return object, "device gone"
	case netlink.LinkNew:
		if was == e.Link {
			return "", ""
		}
		// It may be the echo of a step on the way to what the last round left: only what is so now counts.
		now, err := d.kernel.Link(was.Name)
		if err == nil && was == now {
			return "", ""
		}
		if err == nil {
			g.seen[was.Name] = now
		}
		return object, "device changed"
	}
	return "", ""
}
