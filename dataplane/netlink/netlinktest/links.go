package netlinktest

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

const maxName = 15 // IFNAMSIZ - 1

// AddDevice adds a device of the machine, up and running, as a driver or an administrator would.
func (k *Kernel) AddDevice(name string, addresses ...netip.Prefix) netlink.Link {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := view{k: k}
	d, err := v.add(netlink.Link{Name: name, MTU: 1500, Up: true, Running: true})
	if err != nil {
		panic(fmt.Sprintf("device %s: %v", name, err)) // the test is wrong
	}
	for _, p := range addresses {
		d.addresses = append(d.addresses, netlink.Address{Prefix: p, Permanent: true})
	}
	return d.Link
}

// SetRunning plugs a device's cable in or out.
func (k *Kernel) SetRunning(name string, running bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := view{k: k}
	for _, d := range k.devices {
		if d.Name == name {
			d.Running = running
			if !running {
				v.flush(d)
			}
			v.emit(netlink.Event{Kind: netlink.LinkNew, Link: d.Link})
		}
	}
}

// add is register_netdevice; the caller holds the lock.
func (v view) add(l netlink.Link) (*device, error) {
	if l.Name == "" || len(l.Name) > maxName {
		return nil, fmt.Errorf("%w: name %q", unix.EINVAL, l.Name)
	}
	for _, d := range v.k.devices {
		if d.Name == l.Name {
			return nil, unix.EEXIST
		}
	}
	v.k.nextIndex++
	l.Index = v.k.nextIndex
	d := &device{Link: l}
	v.k.devices[l.Index] = d
	for _, f := range []string{"ipv4", "ipv6"} {
		defaults := filepath.Join(v.k.sysctls, "net", f, "conf", "default")
		entries, err := os.ReadDir(defaults)
		if err != nil {
			panic(err) // the test's own temporary folder
		}
		for _, e := range entries {
			p := filepath.Join("net", f, "conf")
			v.k.writeSysctl(filepath.Join(p, l.Name, e.Name()), v.k.Sysctl(filepath.Join(p, "default", e.Name())))
		}
	}
	v.emit(netlink.Event{Kind: netlink.LinkNew, Link: l})
	return d, nil
}

// device returns the device with that index; the caller holds the lock.
func (v view) device(index int) (*device, error) {
	d, ok := v.k.devices[index]
	if !ok {
		return nil, unix.ENODEV
	}
	return d, nil
}

// change runs one write on a device.
func (v view) change(index int, what string, apply func(*device) error) error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	name := fmt.Sprint(index)
	if d, ok := v.k.devices[index]; ok {
		name = d.Name
	}
	effect, failure := v.write("link %s: %s", name, what)
	if !effect {
		return failure
	}
	d, err := v.device(index)
	if err != nil {
		return err
	}
	if err := apply(d); err != nil {
		return err
	}
	return failure
}

// Links implements [netlink.Kernel].
func (v view) Links() ([]netlink.Link, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	var list []netlink.Link
	for _, d := range v.k.devices {
		list = append(list, d.Link)
	}
	slices.SortFunc(list, func(a, b netlink.Link) int { return cmp.Compare(a.Index, b.Index) })
	return interrupted(v, list)
}

// Link implements [netlink.Kernel].
func (v view) Link(name string) (netlink.Link, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	for _, d := range v.k.devices {
		if d.Name == name {
			return d.Link, nil
		}
	}
	return netlink.Link{}, fmt.Errorf("%s: %w", name, netlink.ErrNotExist)
}

// AddVRF implements [netlink.Kernel].
func (v view) AddVRF(name string, table uint32) error {
	return v.create("vrf "+name, netlink.Link{Name: name, Kind: netlink.KindVRF, Table: table, MTU: 65575}, func() error {
		if table == 0 {
			return unix.EINVAL
		}
		return nil
	})
}

// AddXfrm implements [netlink.Kernel].
func (v view) AddXfrm(name string, ifID uint32, underlay, mtu int) error {
	l := netlink.Link{Name: name, Kind: netlink.KindXfrm, IfID: ifID, Underlay: underlay, MTU: mtu}
	return v.create("xfrm "+name, l, func() error {
		if ifID == 0 || mtu < 68 {
			return unix.EINVAL
		}
		if _, err := v.device(underlay); err != nil {
			return err
		}
		for _, d := range v.k.devices {
			if d.Kind == netlink.KindXfrm && d.IfID == ifID {
				return unix.EEXIST
			}
		}
		return nil
	})
}

func (v view) create(what string, l netlink.Link, check func() error) error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	effect, failure := v.write("add %s", what)
	if !effect {
		return failure
	}
	if err := check(); err != nil {
		return err
	}
	if _, err := v.add(l); err != nil {
		return err
	}
	if l.Kind == netlink.KindVRF {
		v.vrfRules()
	}
	return failure
}

// DeleteLink implements [netlink.Kernel].
func (v view) DeleteLink(index int) error {
	return v.change(index, "delete", func(d *device) error {
		v.flush(d)
		delete(v.k.devices, index)
		for _, f := range []string{"ipv4", "ipv6"} {
			if err := os.RemoveAll(filepath.Join(v.k.sysctls, "net", f, "conf", d.Name)); err != nil {
				panic(err) // the test's own temporary folder
			}
		}
		for _, slave := range v.k.devices {
			if slave.Master == index {
				slave.Master = 0
				v.cycle(slave)
			}
			if slave.Underlay == index && slave.Kind == netlink.KindXfrm {
				slave.Underlay = 0
			}
		}
		v.emit(netlink.Event{Kind: netlink.LinkGone, Link: d.Link})
		return nil
	})
}

// SetAlias implements [netlink.Kernel].
func (v view) SetAlias(index int, alias string) error {
	return v.change(index, "alias "+alias, func(d *device) error {
		if len(alias) > 255 {
			return unix.EINVAL
		}
		d.Alias = alias
		v.emit(netlink.Event{Kind: netlink.LinkNew, Link: d.Link})
		return nil
	})
}

// SetMaster implements [netlink.Kernel].
func (v view) SetMaster(index, master int) error {
	return v.change(index, fmt.Sprintf("master %d", master), func(d *device) error {
		if master != 0 {
			m, err := v.device(master)
			if err != nil {
				return err
			}
			if m.Kind != netlink.KindVRF {
				return unix.EOPNOTSUPP
			}
			if d.Kind == netlink.KindVRF {
				return unix.EINVAL
			}
		}
		if d.Master == master {
			return nil
		}
		d.Master = master
		v.cycle(d)
		v.emit(netlink.Event{Kind: netlink.LinkNew, Link: d.Link})
		return nil
	})
}

// cycle is vrf.c's cycle_netdev: down and up again, with an event for both.
func (v view) cycle(d *device) {
	if !d.Up {
		return
	}
	v.flush(d)
	down := d.Link
	down.Up, down.Running = false, false
	v.emit(netlink.Event{Kind: netlink.LinkNew, Link: down})
	v.emit(netlink.Event{Kind: netlink.LinkNew, Link: d.Link})
}

// SetMTU implements [netlink.Kernel].
func (v view) SetMTU(index, mtu int) error {
	return v.change(index, fmt.Sprintf("mtu %d", mtu), func(d *device) error {
		if mtu < 68 {
			return unix.EINVAL
		}
		d.MTU = mtu
		v.emit(netlink.Event{Kind: netlink.LinkNew, Link: d.Link})
		return nil
	})
}

// SetUp implements [netlink.Kernel].
func (v view) SetUp(index int, up bool) error {
	return v.change(index, fmt.Sprintf("up %v", up), func(d *device) error {
		if d.Up && !up {
			v.flush(d)
		}
		if d.Kind != "" {
			d.Running = up
		}
		if d.Up != up {
			d.Up = up
			v.emit(netlink.Event{Kind: netlink.LinkNew, Link: d.Link})
		}
		return nil
	})
}

// flush is what a device that goes down takes with it: its nexthops, silently, and its IPv6 addresses.
func (v view) flush(d *device) {
	kernel := view{k: v.k} // nobody's request
	for id, n := range v.k.nexthops {
		if len(n.Group) == 0 && n.Link == d.Index {
			kernel.removeNexthop(id, false)
		}
	}
	if v.k.Sysctl("net/ipv6/conf/"+d.Name+"/keep_addr_on_down") == "1" {
		return
	}
	d.addresses = slices.DeleteFunc(d.addresses, func(a netlink.Address) bool {
		if a.Prefix.Addr().Is4() {
			return false
		}
		kernel.emit(netlink.Event{Kind: netlink.AddressGone, Link: netlink.Link{Index: d.Index}, Address: a.Prefix})
		return true
	})
}

// Addresses implements [netlink.Kernel].
func (v view) Addresses(index int) ([]netlink.Address, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	d, err := v.device(index)
	if err != nil {
		return nil, err
	}
	return interrupted(v, slices.Clone(d.addresses))
}

// AddAddress implements [netlink.Kernel].
func (v view) AddAddress(index int, prefix netip.Prefix) error {
	return v.change(index, "add address "+prefix.String(), func(d *device) error {
		if !prefix.IsValid() {
			return unix.EINVAL
		}
		a := netlink.Address{Prefix: prefix, Permanent: true}
		if slices.Contains(d.addresses, a) {
			return unix.EEXIST
		}
		d.addresses = append(d.addresses, a)
		v.emit(netlink.Event{Kind: netlink.AddressNew, Link: netlink.Link{Index: index}, Address: prefix})
		return nil
	})
}

// DeleteAddress implements [netlink.Kernel].
func (v view) DeleteAddress(index int, prefix netip.Prefix) error {
	return v.change(index, "delete address "+prefix.String(), func(d *device) error {
		i := slices.IndexFunc(d.addresses, func(a netlink.Address) bool { return a.Prefix == prefix })
		if i < 0 {
			return unix.EADDRNOTAVAIL
		}
		d.addresses = slices.Delete(d.addresses, i, i+1)
		v.emit(netlink.Event{Kind: netlink.AddressGone, Link: netlink.Link{Index: index}, Address: prefix})
		return nil
	})
}
