package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// The routes every VRF's table has, so that a lookup that finds nothing ends there instead of going on in the main table
// (Documentation/networking/vrf.rst). Their metric is larger than any other.
const (
	GuardMetric   = 4278198272
	GuardProtocol = 201
)

// round is one Apply.
type round struct {
	d    *Driver
	g    *gateway
	want Gateway
	vrf  netlink.Link // Index 0 while there is none
	seen map[string]netlink.Link
	// sound are the devices that were found, or are known, to be as desired.
	sound map[string]sound
	// underlays are those of the tunnels, by name, as they were when the first of them was looked at.
	underlays map[string]netlink.Link
	res       Result
}

func (r *round) run(ctx context.Context) error {
	err := r.d.ensureRules()
	if errors.Is(err, netlink.ErrInterrupted) {
		return err
	}
	if err != nil {
		r.res.Errors[ObjectRules] = fmt.Errorf("routing rules: %w", err)
	}
	vrf, err := r.soundVRF()
	if errors.Is(err, netlink.ErrInterrupted) {
		return err
	}
	if err != nil {
		r.res.Errors[ObjectVRF] = fmt.Errorf("VRF %s: %w", r.want.VRF, err)
	}
	r.vrf, r.res.VRFIndex = vrf, vrf.Index
	names := make(map[string]bool)
	for _, i := range r.want.Interfaces {
		if err := ctx.Err(); err != nil {
			return err
		}
		state, err := InterfaceState{Name: i.Name}, error(nil)
		switch owner := r.d.owner(i.Name); {
		case names[i.Name]:
			err = fmt.Errorf("device name %s used twice", i.Name)
		case owner != r.g.name:
			err = fmt.Errorf("device name %s belongs to gateway %s", i.Name, owner)
		default:
			names[i.Name] = true
			state, err = r.soundTunnel(i)
		}
		r.res.Interfaces[i.Tunnel] = state
		if err != nil {
			r.res.Errors[ObjectTunnel+i.Tunnel] = fmt.Errorf("tunnel %s: %w", i.Tunnel, err)
		}
	}
	for _, name := range r.want.Members {
		if err := ctx.Err(); err != nil {
			return err
		}
		state, err := r.soundMember(name)
		r.res.Members[name] = state
		if err != nil {
			r.res.Errors[ObjectMember+name] = fmt.Errorf("attachment interface %s: %w", name, err)
		}
	}
	return r.removeLeftovers(ctx)
}

// lookup returns a device; Index is 0 when there is none.
func (r *round) lookup(name string) (netlink.Link, error) {
	l, err := r.d.kernel.Link(name)
	if errors.Is(err, netlink.ErrNotExist) {
		return netlink.Link{}, nil
	}
	return l, err
}

// refresh reads a device again after changes and remembers it.
func (r *round) refresh(name string) (netlink.Link, error) {
	l, err := r.lookup(name)
	if err == nil {
		r.seen[name] = l
		if l.Index != 0 {
			r.d.note(l.Index, r.g.name)
		}
	}
	return l, err
}

// ensureVRF makes the VRF, its guard routes and its sysctls. It returns the device even when something of it is wrong.
func (r *round) ensureVRF() (netlink.Link, error) {
	l, err := r.lookup(r.want.VRF)
	if err != nil {
		return netlink.Link{}, err
	}
	alias := AliasGateway + r.want.Name
	if l.Index != 0 {
		halfMade := l.Alias == "" && l.Table == r.want.Table
		if l.Kind != netlink.KindVRF || !strings.HasPrefix(l.Alias, AliasGateway) && !halfMade {
			return netlink.Link{}, fmt.Errorf("%w: a %s device has that name", ErrConflict, kind(l))
		}
		if l.Table != r.want.Table || l.Alias != alias && !halfMade {
			// Another table, or another gateway's with its members: neither can be kept.
			if err := r.d.kernel.DeleteLink(l.Index); err != nil {
				return netlink.Link{}, fmt.Errorf("delete to recreate: %w", err)
			}
			l = netlink.Link{}
		}
	}
	if l.Index == 0 {
		if err := r.d.kernel.AddVRF(r.want.VRF, r.want.Table); err != nil {
			return netlink.Link{}, fmt.Errorf("create: %w", err)
		}
		if l, err = r.lookup(r.want.VRF); err != nil {
			return netlink.Link{}, err
		}
	}
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if l.Alias != alias {
		note("set alias", r.d.kernel.SetAlias(l.Index, alias))
	}
	note("guard routes", r.guard())
	errs = append(errs, r.d.sysctls.device(r.want.VRF, forwarding()))
	if !l.Up {
		note("set up", r.d.kernel.SetUp(l.Index, true))
	}
	l, err = r.refresh(r.want.VRF)
	return l, errors.Join(append(errs, err)...)
}

func kind(l netlink.Link) string {
	if l.Kind == "" {
		return "physical"
	}
	return l.Kind
}

func guardRoutes(table uint32, v6 bool) []netlink.Route {
	prefixes := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if v6 {
		prefixes = append(prefixes, netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	var routes []netlink.Route
	for _, p := range prefixes {
		routes = append(routes, netlink.Route{
			Table: table, Prefix: p, Metric: GuardMetric, Protocol: GuardProtocol, Type: netlink.Unreachable,
		})
	}
	return routes
}

// guard makes the guard routes that are missing.
func (r *round) guard() error {
	have, err := r.d.kernel.Routes(r.want.Table, GuardProtocol)
	if err != nil {
		return err
	}
	missing := guardRoutes(r.want.Table, r.d.sysctls.ipv6())
	missing = slices.DeleteFunc(missing, func(w netlink.Route) bool { return slices.Contains(have, w) })
	return errors.Join(r.d.kernel.ReplaceRoutes(missing)...)
}

// ours tells whether a device is an XFRM interface that bordergw made.
func ours(l netlink.Link) bool {
	return l.Kind == netlink.KindXfrm && strings.HasPrefix(l.Name, NamePrefix) && strings.HasPrefix(l.Alias, AliasTunnel)
}

func oursVRF(l netlink.Link) bool {
	return l.Kind == netlink.KindVRF && strings.HasPrefix(l.Name, VRFPrefix) && strings.HasPrefix(l.Alias, AliasGateway)
}

// removeLeftovers removes what earlier sets of the gateway had: tunnels, then membership, then VRFs with their guards.
// What fails stays noted for the next round.
func (r *round) removeLeftovers(ctx context.Context) error {
	l := r.g.leftovers
	vrfIndexes := map[int]bool{r.vrf.Index: true}
	for name := range l.vrfs {
		v, err := r.lookup(name)
		if err != nil {
			return err
		}
		vrfIndexes[v.Index] = true
	}
	delete(vrfIndexes, 0)
	each := func(names map[string]bool, object string, remove func(netlink.Link) error) error {
		for name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			link, err := r.lookup(name)
			if err == nil && link.Index != 0 {
				err = remove(link)
			}
			if errors.Is(err, unix.ENODEV) {
				// Somebody was faster, or so it seems.
				if link, lookupErr := r.lookup(name); lookupErr == nil && link.Index == 0 {
					err = nil
				}
			}
			if err != nil {
				r.res.Errors[object+name] = fmt.Errorf("remove %s: %w", name, err)
				continue
			}
			delete(names, name)
		}
		return nil
	}
	owned := func(name string) bool { // by another gateway, meanwhile
		owner := r.d.owner(name)
		return owner != "" && owner != r.g.name
	}
	return errors.Join(
		each(l.tunnels, ObjectTunnel, func(link netlink.Link) error {
			if !ours(link) || owned(link.Name) {
				return nil
			}
			return r.d.kernel.DeleteLink(link.Index)
		}),
		each(l.members, ObjectMember, func(link netlink.Link) error {
			if !vrfIndexes[link.Master] {
				return nil
			}
			return r.d.changeMaster(link, 0)
		}),
		each(l.vrfs, ObjectVRF+"/", func(link netlink.Link) error {
			if !oursVRF(link) || owned(link.Name) {
				return nil
			}
			return r.d.kernel.DeleteLink(link.Index)
		}),
		r.removeGuards(),
	)
}

// removeGuards removes the guard routes of tables that are no longer used: they do not go with the VRF.
func (r *round) removeGuards() error {
	for table := range r.g.leftovers.tables {
		r.d.mu.Lock()
		owner := r.d.tables[table]
		r.d.mu.Unlock()
		if owner != "" && owner != r.g.name {
			delete(r.g.leftovers.tables, table)
			continue
		}
		if err := r.d.deleteRoutes(guardRoutes(table, r.d.sysctls.ipv6())); err != nil {
			r.res.Errors[ObjectVRF] = fmt.Errorf("guard routes of table %d: %w", table, err)
			continue
		}
		delete(r.g.leftovers.tables, table)
	}
	return nil
}

// deleteRoutes deletes routes; those that do not exist are fine.
func (d *Driver) deleteRoutes(routes []netlink.Route) error {
	var errs []error
	for _, err := range d.kernel.DeleteRoutes(routes) {
		if !errors.Is(err, unix.ESRCH) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
