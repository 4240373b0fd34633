package netlinktest

import (
	"net/netip"
	"sync/atomic"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Counter counts the messages with which a driver changes a kernel, a real one or a fake one.
type Counter struct {
	netlink.Kernel
	n atomic.Int64
}

// Take returns how many messages were sent since the last call.
func (c *Counter) Take() int { return int(c.n.Swap(0)) }

func (c *Counter) one(err func() error) error {
	c.n.Add(1)
	return err()
}

// AddVRF implements [netlink.Kernel].
func (c *Counter) AddVRF(name string, table uint32) error {
	return c.one(func() error { return c.Kernel.AddVRF(name, table) })
}

// AddXfrm implements [netlink.Kernel].
func (c *Counter) AddXfrm(name string, ifID uint32, underlay, mtu int) error {
	return c.one(func() error { return c.Kernel.AddXfrm(name, ifID, underlay, mtu) })
}

// DeleteLink implements [netlink.Kernel].
func (c *Counter) DeleteLink(index int) error {
	return c.one(func() error { return c.Kernel.DeleteLink(index) })
}

// SetAlias implements [netlink.Kernel].
func (c *Counter) SetAlias(index int, alias string) error {
	return c.one(func() error { return c.Kernel.SetAlias(index, alias) })
}

// SetMaster implements [netlink.Kernel].
func (c *Counter) SetMaster(index, master int) error {
	return c.one(func() error { return c.Kernel.SetMaster(index, master) })
}

// SetMTU implements [netlink.Kernel].
func (c *Counter) SetMTU(index, mtu int) error {
	return c.one(func() error { return c.Kernel.SetMTU(index, mtu) })
}

// SetUp implements [netlink.Kernel].
func (c *Counter) SetUp(index int, up bool) error {
	return c.one(func() error { return c.Kernel.SetUp(index, up) })
}

// AddAddress implements [netlink.Kernel].
func (c *Counter) AddAddress(index int, prefix netip.Prefix) error {
	return c.one(func() error { return c.Kernel.AddAddress(index, prefix) })
}

// DeleteAddress implements [netlink.Kernel].
func (c *Counter) DeleteAddress(index int, prefix netip.Prefix) error {
	return c.one(func() error { return c.Kernel.DeleteAddress(index, prefix) })
}

// AddRule implements [netlink.Kernel].
func (c *Counter) AddRule(r netlink.Rule) error {
	return c.one(func() error { return c.Kernel.AddRule(r) })
}

// DeleteRule implements [netlink.Kernel].
func (c *Counter) DeleteRule(r netlink.Rule) error {
	return c.one(func() error { return c.Kernel.DeleteRule(r) })
}

// ReplaceNexthops implements [netlink.Kernel].
func (c *Counter) ReplaceNexthops(nexthops []netlink.Nexthop) []error {
	c.n.Add(int64(len(nexthops)))
	return c.Kernel.ReplaceNexthops(nexthops)
}

// DeleteNexthops implements [netlink.Kernel].
func (c *Counter) DeleteNexthops(ids []uint32) []error {
	c.n.Add(int64(len(ids)))
	return c.Kernel.DeleteNexthops(ids)
}

// ReplaceRoutes implements [netlink.Kernel].
func (c *Counter) ReplaceRoutes(routes []netlink.Route) []error {
	c.n.Add(int64(len(routes)))
	return c.Kernel.ReplaceRoutes(routes)
}

// DeleteRoutes implements [netlink.Kernel].
func (c *Counter) DeleteRoutes(routes []netlink.Route) []error {
	c.n.Add(int64(len(routes)))
	return c.Kernel.DeleteRoutes(routes)
}
