package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

const maxName = 15 // IFNAMSIZ - 1, include/uapi/linux/if.h

// pair is a way through the gateway, from the device a packet arrives on to the one it leaves by.
type pair struct{ in, out string }

// content is everything in the table that depends on gateways. The rules are always the same.
type content struct {
	// tunnels are all tunnels' devices, guarded those of gateways that do not allow transit.
	tunnels, guarded map[string]bool
	// same are the ways between devices of one connection.
	same map[pair]bool
	// mss4 and mss6 are the largest segment sizes by device.
	mss4, mss6 map[string]uint16
	// wire is what is counted of encrypted packets.
	wire map[flow]bool
	// watched are the devices whose forwarded packets are counted.
	watched map[string]bool
}

func newContent() content {
	return content{
		tunnels: make(map[string]bool), guarded: make(map[string]bool), same: make(map[pair]bool),
		mss4: make(map[string]uint16), mss6: make(map[string]uint16), wire: make(map[flow]bool),
		watched: make(map[string]bool),
	}
}

func (c content) empty() bool { return len(c.tunnels) == 0 }

func (c content) equal(o content) bool {
	return maps.Equal(c.tunnels, o.tunnels) && maps.Equal(c.guarded, o.guarded) && maps.Equal(c.same, o.same) &&
		maps.Equal(c.mss4, o.mss4) && maps.Equal(c.mss6, o.mss6) && maps.Equal(c.wire, o.wire) &&
		maps.Equal(c.watched, o.watched)
}

// add puts a gateway's tunnels in.
func (c content) add(g Gateway) {
	byConnection := make(map[string][]string)
	for _, t := range g.Tunnels {
		c.tunnels[t.Interface] = true
		if !g.AllowTransit {
			c.guarded[t.Interface] = true
		}
		byConnection[t.Connection] = append(byConnection[t.Connection], t.Interface)
		if t.MSS4 != 0 {
			c.mss4[t.Interface] = t.MSS4
		}
		if t.MSS6 != 0 {
			c.mss6[t.Interface] = t.MSS6
		}
		if t.Watched {
			c.watched[t.Interface] = true
		}
		if e, ok := t.endpoints(); ok {
			c.wire[flow{e, false}], c.wire[flow{e, true}] = true, true
		}
	}
	for _, devices := range byConnection {
		for _, in := range devices {
			for _, out := range devices {
				c.same[pair{in, out}] = true
			}
		}
	}
}

// without returns what does not concern the devices that claimed tells of. What is counted of encrypted packets has no device and
// stays.
func (c content) without(claimed func(device string) bool) content {
	keep := newContent()
	device := func(name string) bool { return !claimed(name) }
	copyIf(keep.tunnels, c.tunnels, device)
	copyIf(keep.guarded, c.guarded, device)
	copyIf(keep.same, c.same, func(p pair) bool { return device(p.in) && device(p.out) })
	copyIf(keep.mss4, c.mss4, device)
	copyIf(keep.mss6, c.mss6, device)
	copyIf(keep.wire, c.wire, func(flow) bool { return true })
	copyIf(keep.watched, c.watched, device)
	return keep
}

func copyIf[K comparable, V any](to, from map[K]V, keep func(K) bool) {
	for k, v := range from {
		if keep(k) {
			to[k] = v
		}
	}
}

func comparePairs(a, b pair) int { return cmp.Or(cmp.Compare(a.in, b.in), cmp.Compare(a.out, b.out)) }

func (g Gateway) equal(o Gateway) bool {
	return g.Name == o.Name && g.AllowTransit == o.AllowTransit && slices.Equal(g.Tunnels, o.Tunnels)
}

// check returns the gateway without the tunnels that cannot be right, and an error for each of those.
func (g Gateway) check(claimed map[string]string) (Gateway, error) {
	good := Gateway{Name: g.Name, AllowTransit: g.AllowTransit}
	if g.Name == "" {
		return good, errors.New("gateway name missing")
	}
	var errs []error
	seen := make(map[string]bool)
	for _, t := range g.Tunnels {
		owner := claimed[t.Interface]
		switch {
		case t.Interface == "" || len(t.Interface) > maxName:
			errs = append(errs, fmt.Errorf("gateway %s: interface %q has not 1 to %d characters", g.Name, t.Interface, maxName))
		case t.Connection == "":
			errs = append(errs, fmt.Errorf("gateway %s: interface %s: connection missing", g.Name, t.Interface))
		case seen[t.Interface]:
			errs = append(errs, fmt.Errorf("gateway %s: interface %s used twice", g.Name, t.Interface))
		case owner != "" && owner != g.Name:
			errs = append(errs, fmt.Errorf("gateway %s: interface %s belongs to gateway %s", g.Name, t.Interface, owner))
		default:
			seen[t.Interface] = true
			good.Tunnels = append(good.Tunnels, t)
		}
	}
	return good, errors.Join(errs...)
}
