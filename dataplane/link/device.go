package link

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// tunnel makes one XFRM interface. The address is set after the master, because enslaving takes a device that is up
// through down and so costs it its IPv6 addresses.
func (r *round) tunnel(w Interface) (InterfaceState, error) {
	state := InterfaceState{Name: w.Name}
	if err := w.check(); err != nil {
		return state, err
	}
	l, made, err := r.xfrm(w)
	if err != nil {
		return state, err
	}
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if alias := AliasTunnel + w.Tunnel; l.Alias != alias {
		note("set alias", r.d.kernel.SetAlias(l.Index, alias))
	}
	errs = append(errs, r.d.sysctls.device(w.Name, slices.Concat(forwarding(), tunnelOnly())))
	enslaved := r.vrf.Index != 0
	if !enslaved {
		note("enslave", fmt.Errorf("no VRF %s", r.want.VRF))
	} else if l.Master != r.vrf.Index {
		err := r.d.kernel.SetMaster(l.Index, r.vrf.Index)
		note("enslave", err)
		enslaved = err == nil
	}
	if l.MTU != w.MTU {
		note("set MTU", r.d.kernel.SetMTU(l.Index, w.MTU))
	}
	if made {
		note("address", r.d.kernel.AddAddress(l.Index, w.Address))
	} else {
		note("address", r.address(l.Index, w))
	}
	if l.Up != w.Up && (enslaved || !w.Up) {
		// Outside its VRF the interface would connect the tenant's prefix to the main table.
		note("set up", r.d.kernel.SetUp(l.Index, w.Up))
	}
	l, err = r.refresh(w.Name)
	state.Index, state.Exists, state.OperUp = l.Index, l.Index != 0, l.OperUp()
	return state, errors.Join(append(errs, err)...)
}

// xfrm finds or creates the XFRM interface itself, and says whether it has made it.
func (r *round) xfrm(w Interface) (l netlink.Link, made bool, err error) {
	underlay, err := r.underlay(w.Underlay)
	if err != nil {
		return netlink.Link{}, false, err
	}
	if underlay.Index == 0 {
		r.d.await(w.Underlay, r.g.name)
		return netlink.Link{}, false, fmt.Errorf("underlay %s: %w", w.Underlay, netlink.ErrNotExist)
	}
	if l, err = r.lookup(w.Name); err != nil {
		return netlink.Link{}, false, err
	}
	if l.Index != 0 {
		same := l.Kind == netlink.KindXfrm && l.IfID == w.IfID && l.Underlay == underlay.Index
		halfMade := same && l.Alias == ""
		if !ours(l) && !halfMade {
			return netlink.Link{}, false, fmt.Errorf("%w: a %s device has the name %s", ErrConflict, kind(l), l.Name)
		}
		if same && (halfMade || l.Alias == AliasTunnel+w.Tunnel) {
			return l, false, nil
		}
		if err := r.d.kernel.DeleteLink(l.Index); err != nil {
			return netlink.Link{}, false, fmt.Errorf("delete to recreate: %w", err)
		}
	}
	err = r.d.kernel.AddXfrm(w.Name, w.IfID, underlay.Index, w.MTU)
	if errors.Is(err, unix.EEXIST) {
		if err = r.freeIfID(w, err); err == nil {
			err = r.d.kernel.AddXfrm(w.Name, w.IfID, underlay.Index, w.MTU)
		}
	}
	if err != nil {
		return netlink.Link{}, false, fmt.Errorf("create: %w", err)
	}
	l, err = r.lookup(w.Name)
	return l, true, err
}

// freeIfID removes the interface that has the if_id when it is ours and nobody wants it.
func (r *round) freeIfID(w Interface, cause error) error {
	links, err := r.d.kernel.Links()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Kind == netlink.KindXfrm && l.IfID == w.IfID })
	if i < 0 {
		return cause
	}
	holder := links[i]
	if !ours(holder) {
		return fmt.Errorf("%w: if_id %#x is in use by %s", ErrConflict, w.IfID, holder.Name)
	}
	if owner := r.d.owner(holder.Name); owner != "" {
		return fmt.Errorf("if_id %#x is in use by %s of gateway %s", w.IfID, holder.Name, owner)
	}
	return r.d.kernel.DeleteLink(holder.Index)
}

// address makes the wanted address the interface's only one, but for IPv6 link-local ones.
func (r *round) address(index int, w Interface) error {
	have, err := r.d.kernel.Addresses(index)
	if err != nil {
		return err
	}
	present := false
	var stale []netlink.Address
	for _, a := range have {
		switch {
		case a.Prefix == w.Address:
			present = true
		case a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast():
		default:
			stale = append(stale, a)
		}
	}
	if !present {
		// IPv6 knows an address once, whatever its prefix length.
		for i, a := range stale {
			if a.Prefix.Addr() == w.Address.Addr() && a.Prefix.Addr().Is6() {
				if err := r.d.kernel.DeleteAddress(index, a.Prefix); err != nil {
					return fmt.Errorf("delete %s: %w", a.Prefix, err)
				}
				stale = slices.Delete(stale, i, i+1)
				break
			}
		}
		if err := r.d.kernel.AddAddress(index, w.Address); err != nil {
			return fmt.Errorf("add %s: %w", w.Address, err)
		}
	}
	var errs []error
	for _, a := range stale {
		if err := r.d.kernel.DeleteAddress(index, a.Prefix); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("delete %s: %w", a.Prefix, err))
		}
	}
	return errors.Join(errs...)
}

// member enslaves one attachment interface. Its administrative state, addresses and MTU are not ours.
func (r *round) member(name string) (MemberState, error) {
	if err := checkName(name, ""); err != nil {
		return MemberState{}, err
	}
	if owner := r.d.owner(name); owner != r.g.name {
		return MemberState{}, fmt.Errorf("is an attachment of gateway %s too", owner)
	}
	l, err := r.lookup(name)
	if err != nil {
		return MemberState{}, err
	}
	if l.Index == 0 {
		r.d.await(name, r.g.name)
		return MemberState{}, netlink.ErrNotExist
	}
	state := MemberState{Index: l.Index, Exists: true, OperUp: l.OperUp()}
	r.seen[name] = l
	switch {
	case ours(l) || oursVRF(l):
		return state, errors.New("is a device of bordergw")
	case r.vrf.Index == 0:
		return state, fmt.Errorf("no VRF %s", r.want.VRF)
	case l.Master != 0 && l.Master != r.vrf.Index:
		return state, fmt.Errorf("%w: is enslaved to %s", ErrConflict, r.d.nameOf(l.Master))
	}
	if l.Master == 0 {
		err = r.d.changeMaster(l, r.vrf.Index)
	}
	err = errors.Join(err, r.d.sysctls.device(name, forwarding()))
	l, refreshErr := r.refresh(name)
	state.Index, state.Exists, state.OperUp = l.Index, l.Index != 0, l.OperUp()
	state.Enslaved = l.Index != 0 && l.Master == r.vrf.Index
	return state, errors.Join(err, refreshErr)
}

func (d *Driver) nameOf(index int) string {
	links, err := d.kernel.Links()
	if err == nil {
		if i := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Index == index }); i >= 0 {
			return links[i].Name
		}
	}
	return fmt.Sprintf("device %d", index)
}

// changeMaster enslaves or releases a foreign device and sees to it that it keeps its addresses: the kernel takes it down
// and up on the way (drivers/net/vrf.c, cycle_netdev), which costs it its IPv6 addresses unless keep_addr_on_down is set.
func (d *Driver) changeMaster(l netlink.Link, master int) error {
	if d.sysctls.deviceIPv6(l.Name) {
		if err := d.sysctls.set("net/ipv6/conf/"+l.Name+"/keep_addr_on_down", "1"); err != nil {
			return err
		}
	}
	before, err := d.kernel.Addresses(l.Index)
	if err != nil {
		return err
	}
	if err := d.kernel.SetMaster(l.Index, master); err != nil {
		return fmt.Errorf("set master: %w", err)
	}
	after, err := d.kernel.Addresses(l.Index)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range before {
		lost := !slices.ContainsFunc(after, func(b netlink.Address) bool { return a.Prefix == b.Prefix })
		if !lost || !a.Permanent || a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := d.kernel.AddAddress(l.Index, a.Prefix); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("restore address %s: %w", a.Prefix, err))
		}
	}
	return errors.Join(errs...)
}
