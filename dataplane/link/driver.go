// Package link makes the devices of a BorderGateway: its VRF, the XFRM interfaces of its tunnels, and the attachment
// interfaces' membership in the VRF, with their addresses, MTUs and sysctls; and it puts the host's routing rules in an
// order in which tenants' addresses may be the host's own.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// ErrConflict is wrapped by errors about something foreign in the way: it is left untouched.
var ErrConflict = errors.New("conflict with something not made by bordergw")

// Driver makes the devices of many gateways. Gateways are independent of each other. All methods are safe for
// concurrent use.
type Driver struct {
	kernel  netlink.Kernel
	sysctls sysctls
	log     *slog.Logger

	mu       sync.Mutex // never held while taking a gateway's own
	gateways map[string]*gateway
	names    map[string]string          // gateways by the devices they want: VRF, tunnels, members
	tables   map[uint32]string          // gateways by table
	indexes  map[int]string             // gateways by the devices they have, by index
	waiting  map[string]map[string]bool // gateways by the missing devices they wait for

	rulesMu   sync.Mutex // held while rules are looked at or changed; taken before mu
	rulesGood bool       // the rules are known to be in order

	errors saErrors
}

// gateway is what the driver knows of one BorderGateway.
type gateway struct {
	name string

	mu      sync.Mutex
	removed bool // no longer in Driver.gateways
	// desired is the set of the last round; leftovers are devices of earlier sets that are still to be removed.
	desired   Gateway
	leftovers leftovers
	// clean is true while the kernel is known to be as desired, in every respect, with this result.
	clean  bool
	result Result
	// seen is each wanted device as the last round left it, by name.
	seen map[string]netlink.Link
	// sound are those of them that are as desired, as far as is known: rounds need not look at them again.
	sound map[string]sound
}

// sound is a device that was found as it was desired.
type sound struct {
	link      netlink.Link
	tunnel    Interface // what was desired of a tunnel's
	asTunnel  InterfaceState
	asMember  MemberState
	isMember  bool
	ofGateway bool // the VRF itself
}

// leftovers are names of devices that the gateway had and does not want any more.
type leftovers struct {
	vrfs, tunnels, members map[string]bool
	tables                 map[uint32]bool
}

func newGateway(name string) *gateway {
	return &gateway{
		name: name, seen: make(map[string]netlink.Link), sound: make(map[string]sound),
		leftovers: leftovers{make(map[string]bool), make(map[string]bool), make(map[string]bool), make(map[uint32]bool)},
	}
}

// New returns a driver that has done nothing yet. kernel stays the caller's; sysctlRoot is ProcSys, or a folder like it.
func New(kernel netlink.Kernel, sysctlRoot string, log *slog.Logger) *Driver {
	return &Driver{
		kernel: kernel, sysctls: sysctls{sysctlRoot}, log: log,
		gateways: make(map[string]*gateway), names: make(map[string]string), tables: make(map[uint32]string),
		indexes: make(map[int]string), waiting: make(map[string]map[string]bool),
	}
}

// lock returns the gateway, locked.
func (d *Driver) lock(name string) *gateway {
	for {
		d.mu.Lock()
		g, ok := d.gateways[name]
		if !ok {
			g = newGateway(name)
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

// Invalidate drops what is remembered of a gateway (of all, for an empty name), and of the host's routing rules: the next
// Apply looks at everything.
func (d *Driver) Invalidate(name string) {
	d.doubtRules()
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.gateways))
	d.mu.Unlock()
	for _, g := range all {
		if name == "" || g.name == name {
			g.mu.Lock()
			g.clean = false
			clear(g.sound)
			g.mu.Unlock()
		}
	}
}

func (g Gateway) equal(o Gateway) bool {
	return g.Name == o.Name && g.VRF == o.VRF && g.Table == o.Table &&
		slices.Equal(g.Members, o.Members) && slices.Equal(g.Interfaces, o.Interfaces)
}

// Apply makes the devices of one gateway as desired: the host's routing rules (see PriorityL3mdev), the VRF, then tunnels,
// then members, and last it removes what is no longer wanted. Existing devices of ours are adopted and changed in place; an XFRM interface is recreated only for
// another if_id or underlay, a VRF only for another table. Devices that were as desired, of which nothing was heard since and
// nothing else is desired now, are not looked at again: a round that finds nothing changed since the last one asks the kernel nothing. The error is for the whole round, Result.Errors for single objects.
func (d *Driver) Apply(ctx context.Context, want Gateway) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if err := want.check(); err != nil {
		return Result{}, fmt.Errorf("gateway %q: %w", want.Name, err)
	}
	g := d.lock(want.Name)
	defer g.mu.Unlock()
	if g.clean && g.desired.equal(want) && d.trustsRules() {
		return g.result.clone(), nil
	}
	want.Members, want.Interfaces = slices.Clone(want.Members), slices.Clone(want.Interfaces)
	g.leave(want)
	if err := d.claim(want); err != nil {
		return Result{}, fmt.Errorf("gateway %s: %w", want.Name, err)
	}
	r := &round{d: d, g: g, want: want, seen: make(map[string]netlink.Link), sound: make(map[string]sound), underlays: make(map[string]netlink.Link), res: Result{
		Interfaces: make(map[string]InterfaceState), Members: make(map[string]MemberState), Errors: make(map[string]error),
	}}
	g.clean = false
	err := r.run(ctx)
	g.seen, g.sound = r.seen, r.sound
	if err != nil || len(r.res.Errors) > 0 {
		// Something is not as it was thought to be: the next round takes nothing for granted.
		clear(g.sound)
	}
	d.index(g)
	if err != nil {
		return r.res, fmt.Errorf("gateway %s: %w", want.Name, err)
	}
	g.result, g.clean = r.res, len(r.res.Errors) == 0
	return g.result.clone(), nil
}

func (r Result) clone() Result {
	r.Interfaces, r.Members, r.Errors = maps.Clone(r.Interfaces), maps.Clone(r.Members), maps.Clone(r.Errors)
	return r
}

// leave notes what the last set had and want has not.
func (g *gateway) leave(want Gateway) {
	l := g.leftovers
	if g.desired.VRF != "" {
		l.vrfs[g.desired.VRF] = true
		l.tables[g.desired.Table] = true
	}
	for _, i := range g.desired.Interfaces {
		l.tunnels[i.Name] = true
	}
	for _, m := range g.desired.Members {
		l.members[m] = true
	}
	delete(l.vrfs, want.VRF)
	delete(l.tables, want.Table)
	for _, i := range want.Interfaces {
		delete(l.tunnels, i.Name)
	}
	for _, m := range want.Members {
		delete(l.members, m)
	}
	g.desired = want
}

// claim makes the gateway the owner of its devices' names and its table.
func (d *Driver) claim(want Gateway) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if owner, taken := d.tables[want.Table]; taken && owner != want.Name {
		return fmt.Errorf("table %d belongs to gateway %s", want.Table, owner)
	}
	if owner, taken := d.names[want.VRF]; taken && owner != want.Name {
		return fmt.Errorf("device name %s belongs to gateway %s", want.VRF, owner)
	}
	// The indexes stay: of the devices that are there events may come all the time.
	d.unclaim(want.Name)
	d.tables[want.Table] = want.Name
	d.names[want.VRF] = want.Name
	for _, i := range want.Interfaces {
		if _, taken := d.names[i.Name]; !taken {
			d.names[i.Name] = want.Name
		}
	}
	for _, m := range want.Members {
		if _, taken := d.names[m]; !taken {
			d.names[m] = want.Name
		}
	}
	return nil
}

// index lets Watch find the gateway of a device.
func (d *Driver) index(g *gateway) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.indexes, func(_ int, owner string) bool { return owner == g.name })
	for _, l := range g.seen {
		d.indexes[l.Index] = g.name
	}
}

// unclaim gives up a gateway's claims to names and its table; the caller holds d.mu.
func (d *Driver) unclaim(name string) {
	maps.DeleteFunc(d.names, func(_, owner string) bool { return owner == name })
	maps.DeleteFunc(d.tables, func(_ uint32, owner string) bool { return owner == name })
	for device, gateways := range d.waiting {
		if delete(gateways, name); len(gateways) == 0 {
			delete(d.waiting, device)
		}
	}
}

// note lets Watch find the gateway of a device that a round has just made or looked at.
func (d *Driver) note(index int, gateway string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.indexes[index] = gateway
}

// owner returns the gateway that wants a device.
func (d *Driver) owner(device string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[device]
}

// await has Watch report when a missing device appears.
func (d *Driver) await(device, gateway string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting[device] == nil {
		d.waiting[device] = make(map[string]bool)
	}
	d.waiting[device][gateway] = true
}

// Remove deletes a gateway's devices, releases its members and forgets it; with the last VRF of the host the kernel's
// order of routing rules comes back. It is idempotent; what an earlier process
// left of a gateway never applied is Sweep's.
func (d *Driver) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	_, known := d.gateways[name]
	d.mu.Unlock()
	if !known {
		return nil
	}
	g := d.lock(name)
	defer g.mu.Unlock()
	g.leave(Gateway{Name: name})
	g.clean = false
	clear(g.sound)
	r := &round{d: d, g: g, want: g.desired, res: Result{Errors: make(map[string]error)}}
	if err := r.removeLeftovers(ctx); err != nil {
		return fmt.Errorf("remove gateway %s: %w", name, err)
	}
	if len(r.res.Errors) > 0 {
		return fmt.Errorf("remove gateway %s: %w", name, errors.Join(slices.Collect(maps.Values(r.res.Errors))...))
	}
	g.removed = true
	d.mu.Lock()
	delete(d.gateways, name)
	d.unclaim(name)
	maps.DeleteFunc(d.indexes, func(_ int, owner string) bool { return owner == name })
	d.mu.Unlock()
	if err := d.restoreRules(); err != nil {
		// They may stay, and the next Sweep or Remove tries again.
		d.log.Warn("order of routing rules not restored", "error", err)
	}
	return nil
}

const maxName = 15 // IFNAMSIZ - 1, include/uapi/linux/if.h

func checkName(name, prefix string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("device name %q has not 1 to %d characters", name, maxName)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n"):
		return fmt.Errorf("device name %q has characters that names cannot have", name)
	case !strings.HasPrefix(name, prefix):
		return fmt.Errorf("device name %q does not start with %q", name, prefix)
	}
	return nil
}

// check refuses what makes the whole set meaningless.
func (g Gateway) check() error {
	if g.Name == "" {
		return errors.New("name missing")
	}
	if err := checkName(g.VRF, VRFPrefix); err != nil {
		return fmt.Errorf("VRF: %w", err)
	}
	if g.Table == 0 || g.Table >= 253 && g.Table <= 255 {
		return fmt.Errorf("table %d cannot be a VRF's", g.Table)
	}
	return nil
}

func (i Interface) check() error {
	if err := checkName(i.Name, NamePrefix); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(i.Name, VRFPrefix):
		return fmt.Errorf("device name %q starts with %q, which is for VRFs", i.Name, VRFPrefix)
	case i.IfID == 0:
		return errors.New("if_id is 0")
	case i.Underlay == "":
		return errors.New("underlay missing")
	case !i.Address.IsValid():
		return errors.New("address missing")
	case i.MTU < 68:
		return fmt.Errorf("MTU %d is too small", i.MTU)
	}
	return nil
}
