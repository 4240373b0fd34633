package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Links implements [Kernel].
func (h *Handle) Links() ([]Link, error) {
	for range dumpAttempts {
		list, err := h.links.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		links := make([]Link, 0, len(list))
		for _, l := range list {
			links = append(links, fromLibrary(l))
		}
		return links, nil
	}
	return nil, fmt.Errorf("list links: %w", ErrInterrupted)
}

// Link implements [Kernel].
func (h *Handle) Link(name string) (Link, error) {
	l, err := h.links.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return Link{}, fmt.Errorf("%s: %w", name, ErrNotExist)
	}
	if err != nil {
		return Link{}, fmt.Errorf("get link %s: %w", name, err)
	}
	link := fromLibrary(l)
	if link.Name != name {
		// The kernel also finds links by an alternative name; to us that is another link.
		return Link{}, fmt.Errorf("%s: %w", name, ErrNotExist)
	}
	return link, nil
}

func fromLibrary(l netlink.Link) Link {
	a := l.Attrs()
	link := Link{
		Index: a.Index, Name: a.Name, Alias: a.Alias, Kind: l.Type(), Master: a.MasterIndex, MTU: a.MTU,
		Up: a.RawFlags&unix.IFF_UP != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0,
	}
	switch l := l.(type) {
	case *netlink.Vrf:
		link.Table = l.Table
	case *netlink.Xfrmi:
		link.Kind = KindXfrm
		link.Underlay, link.IfID = l.ParentIndex, l.Ifid
	}
	return link
}

// AddVRF implements [Kernel].
func (h *Handle) AddVRF(name string, table uint32) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return h.links.LinkAdd(&netlink.Vrf{LinkAttrs: attrs, Table: table})
}

// AddXfrm implements [Kernel].
func (h *Handle) AddXfrm(name string, ifID uint32, underlay, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.MTU = name, underlay, mtu
	return h.links.LinkAdd(&netlink.Xfrmi{LinkAttrs: attrs, Ifid: ifID})
}

// byIndex names a link to the library, which then looks nothing up.
func byIndex(index int) netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// DeleteLink implements [Kernel].
func (h *Handle) DeleteLink(index int) error { return h.links.LinkDel(byIndex(index)) }

// SetAlias implements [Kernel].
func (h *Handle) SetAlias(index int, alias string) error {
	return h.links.LinkSetAlias(byIndex(index), alias)
}

// SetMaster implements [Kernel].
func (h *Handle) SetMaster(index, master int) error {
	return h.links.LinkSetMasterByIndex(byIndex(index), master)
}

// SetMTU implements [Kernel].
func (h *Handle) SetMTU(index, mtu int) error { return h.links.LinkSetMTU(byIndex(index), mtu) }

// SetUp implements [Kernel].
func (h *Handle) SetUp(index int, up bool) error {
	if up {
		return h.links.LinkSetUp(byIndex(index))
	}
	return h.links.LinkSetDown(byIndex(index))
}

// Addresses implements [Kernel]. The kernel filters by link: the cost does not grow with the number of links.
func (h *Handle) Addresses(index int) ([]Address, error) {
	var all []Address
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		var found []Address
		err := h.dump(func() *nl.NetlinkRequest {
			req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
			msg := nl.NewIfAddrmsg(family)
			msg.Index = uint32(index)
			req.AddData(msg)
			return req
		}, unix.RTM_NEWADDR, func() { found = nil }, func(m []byte) error {
			i, a, err := parseAddress(m)
			if err == nil && i == index {
				found = append(found, a)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list addresses of link %d: %w", index, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseAddress decodes struct ifaddrmsg and its attributes.
func parseAddress(m []byte) (int, Address, error) {
	if len(m) < unix.SizeofIfAddrmsg {
		return 0, Address{}, fmt.Errorf("address message of %d bytes", len(m))
	}
	msg := nl.DeserializeIfAddrmsg(m)
	attrs := attributes(m[unix.SizeofIfAddrmsg:])
	if err := attrs.check(); err != nil {
		return 0, Address{}, fmt.Errorf("address message: %w", err)
	}
	// IFA_LOCAL is the own address; on point-to-point links IFA_ADDRESS is the peer's.
	value, ok := attrs.get(unix.IFA_LOCAL)
	if !ok {
		value, _ = attrs.get(unix.IFA_ADDRESS)
	}
	ip, ok := netip.AddrFromSlice(value)
	if !ok {
		return 0, Address{}, fmt.Errorf("address message: address of %d bytes", len(value))
	}
	flags := uint32(msg.Flags)
	if f, ok := attrs.get(unix.IFA_FLAGS); ok && len(f) >= 4 {
		flags = binary.NativeEndian.Uint32(f)
	}
	return int(msg.Index), Address{
		Prefix:    netip.PrefixFrom(ip, int(msg.Prefixlen)),
		Permanent: flags&unix.IFA_F_PERMANENT != 0,
	}, nil
}

func toLibrary(prefix netip.Prefix) *netlink.Addr {
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP:   prefix.Addr().AsSlice(),
		Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
	}}
	if prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

// AddAddress implements [Kernel].
func (h *Handle) AddAddress(index int, prefix netip.Prefix) error {
	return h.links.AddrAdd(byIndex(index), toLibrary(prefix))
}

// DeleteAddress implements [Kernel].
func (h *Handle) DeleteAddress(index int, prefix netip.Prefix) error {
	return h.links.AddrDel(byIndex(index), toLibrary(prefix))
}
