package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// rtaNexthopID is RTA_NH_ID of include/uapi/linux/rtnetlink.h, which x/sys does not name.
const rtaNexthopID = 30

// Routes implements [Kernel].
func (h *Handle) Routes(table uint32, protocol uint8) ([]Route, error) {
	var all []Route
	for _, v6 := range []bool{false, true} {
		var found []Route
		err := h.dump(func() *nl.NetlinkRequest {
			req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
			req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family(v6), Protocol: protocol}})
			if table != 0 {
				req.AddData(nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(table)))
			}
			return req
		}, unix.RTM_NEWROUTE, func() { found = nil }, func(m []byte) error {
			r, err := parseRoute(m)
			if err == nil && r.Protocol == protocol {
				found = append(found, r)
			}
			return err
		})
		if errors.Is(err, unix.ENOENT) {
			continue // no such table
		}
		if err != nil {
			return nil, fmt.Errorf("list routes of table %d: %w", table, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseRoute decodes struct rtmsg and its attributes.
func parseRoute(m []byte) (Route, error) {
	if len(m) < unix.SizeofRtMsg {
		return Route{}, fmt.Errorf("route message of %d bytes", len(m))
	}
	r := Route{Table: uint32(m[4]), Protocol: m[5], Type: m[7]}
	destination := netip.IPv4Unspecified()
	if m[0] == unix.AF_INET6 {
		destination = netip.IPv6Unspecified()
	}
	attrs := attributes(m[unix.SizeofRtMsg:])
	if err := attrs.check(); err != nil {
		return Route{}, fmt.Errorf("route message: %w", err)
	}
	for kind, value := range attrs.all() {
		switch kind {
		case unix.RTA_DST:
			ip, ok := netip.AddrFromSlice(value)
			if !ok {
				return Route{}, fmt.Errorf("route message: destination of %d bytes", len(value))
			}
			destination = ip
		case unix.RTA_TABLE, unix.RTA_PRIORITY, rtaNexthopID:
			if len(value) < 4 {
				return Route{}, fmt.Errorf("route message: attribute %d of %d bytes", kind, len(value))
			}
			v := binary.NativeEndian.Uint32(value)
			switch kind {
			case unix.RTA_TABLE:
				r.Table = v
			case unix.RTA_PRIORITY:
				r.Metric = v
			default:
				r.Nexthop = v
			}
		}
	}
	r.Prefix = netip.PrefixFrom(destination, int(m[1]))
	return r, nil
}

func routeRequest(message, flags int, r Route) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(message, flags)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{
		Family:   family(r.Prefix.Addr().Is6()),
		Dst_len:  uint8(r.Prefix.Bits()),
		Table:    unix.RT_TABLE_UNSPEC, // RTA_TABLE has all 32 bits
		Protocol: r.Protocol,
		Type:     r.Type,
	}})
	req.AddData(nl.NewRtAttr(unix.RTA_DST, r.Prefix.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(r.Table)))
	req.AddData(nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.Metric)))
	return req
}

// ReplaceRoutes implements [Kernel].
func (h *Handle) ReplaceRoutes(routes []Route) []error {
	requests := make([]*nl.NetlinkRequest, len(routes))
	for i, r := range routes {
		requests[i] = routeRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, r)
		if r.Nexthop != 0 {
			requests[i].AddData(nl.NewRtAttr(rtaNexthopID, nl.Uint32Attr(r.Nexthop)))
		}
	}
	return h.execute(requests)
}

// DeleteRoutes implements [Kernel].
func (h *Handle) DeleteRoutes(routes []Route) []error {
	requests := make([]*nl.NetlinkRequest, len(routes))
	for i, r := range routes {
		requests[i] = routeRequest(unix.RTM_DELROUTE, 0, r)
	}
	return h.execute(requests)
}
