package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Attributes of include/uapi/linux/nexthop.h that x/sys does not name.
const (
	nhaID      = 1
	nhaGroup   = 2
	nhaOIF     = 5
	nhaGateway = 6

	sizeofNhmsg        = 8
	sizeofNexthopEntry = 8
)

// nhmsg is struct nhmsg.
type nhmsg struct{ family, protocol uint8 }

// Len implements nl.NetlinkRequestData.
func (m nhmsg) Len() int { return sizeofNhmsg }

// Serialize implements nl.NetlinkRequestData.
func (m nhmsg) Serialize() []byte { return []byte{m.family, 0, m.protocol, 0, 0, 0, 0, 0} }

func family(v6 bool) uint8 {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Nexthops implements [Kernel].
func (h *Handle) Nexthops(protocol uint8) ([]Nexthop, error) {
	var found []Nexthop
	err := h.dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETNEXTHOP, unix.NLM_F_DUMP)
		req.AddData(nhmsg{})
		return req
	}, unix.RTM_NEWNEXTHOP, func() { found = nil }, func(m []byte) error {
		n, err := parseNexthop(m)
		if err == nil && n.Protocol == protocol {
			found = append(found, n)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list nexthops: %w", err)
	}
	return found, nil
}

// parseNexthop decodes struct nhmsg and its attributes.
func parseNexthop(m []byte) (Nexthop, error) {
	if len(m) < sizeofNhmsg {
		return Nexthop{}, fmt.Errorf("nexthop message of %d bytes", len(m))
	}
	n := Nexthop{Protocol: m[2], IPv6: m[0] == unix.AF_INET6}
	attrs := attributes(m[sizeofNhmsg:])
	if err := attrs.check(); err != nil {
		return Nexthop{}, fmt.Errorf("nexthop message: %w", err)
	}
	for kind, value := range attrs.all() {
		switch kind {
		case nhaID, nhaOIF:
			if len(value) < 4 {
				return Nexthop{}, fmt.Errorf("nexthop message: attribute %d of %d bytes", kind, len(value))
			}
			v := binary.NativeEndian.Uint32(value)
			if kind == nhaID {
				n.ID = v
			} else {
				n.Link = int(v)
			}
		case nhaGateway:
			gw, ok := netip.AddrFromSlice(value)
			if !ok {
				return Nexthop{}, fmt.Errorf("nexthop message: gateway of %d bytes", len(value))
			}
			n.Gateway = gw
		case nhaGroup:
			for b := value; len(b) >= sizeofNexthopEntry; b = b[sizeofNexthopEntry:] {
				n.Group = append(n.Group, binary.NativeEndian.Uint32(b))
			}
		}
	}
	return n, nil
}

// ReplaceNexthops implements [Kernel].
func (h *Handle) ReplaceNexthops(nexthops []Nexthop) []error {
	requests := make([]*nl.NetlinkRequest, len(nexthops))
	for i, n := range nexthops {
		req := nl.NewNetlinkRequest(unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
		if len(n.Group) > 0 {
			req.AddData(nhmsg{family: unix.AF_UNSPEC, protocol: n.Protocol})
		} else {
			req.AddData(nhmsg{family: family(n.IPv6), protocol: n.Protocol})
		}
		req.AddData(nl.NewRtAttr(nhaID, nl.Uint32Attr(n.ID)))
		if len(n.Group) > 0 {
			entries := make([]byte, 0, sizeofNexthopEntry*len(n.Group))
			for _, id := range n.Group {
				entries = binary.NativeEndian.AppendUint32(entries, id)
				entries = append(entries, 0, 0, 0, 0) // weight - 1, and reserved
			}
			req.AddData(nl.NewRtAttr(nhaGroup, entries))
		} else {
			if n.Gateway.IsValid() {
				req.AddData(nl.NewRtAttr(nhaGateway, n.Gateway.AsSlice()))
			}
			req.AddData(nl.NewRtAttr(nhaOIF, nl.Uint32Attr(uint32(n.Link))))
		}
		requests[i] = req
	}
	return h.execute(requests)
}

// DeleteNexthops implements [Kernel].
func (h *Handle) DeleteNexthops(ids []uint32) []error {
	requests := make([]*nl.NetlinkRequest, len(ids))
	for i, id := range ids {
		req := nl.NewNetlinkRequest(unix.RTM_DELNEXTHOP, 0)
		req.AddData(nhmsg{})
		req.AddData(nl.NewRtAttr(nhaID, nl.Uint32Attr(id)))
		requests[i] = req
	}
	return h.execute(requests)
}
