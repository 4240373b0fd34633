package netlink

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// eventBuffer holds bursts: one event of a route takes about a kilobyte of it.
const eventBuffer = 16 << 20

// Watch implements [Kernel]. It watches the calling thread's network namespace.
func (h *Handle) Watch(ctx context.Context, topics Topics, ready func(), emit func(Event)) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, groups(topics)...)
	if err != nil {
		return fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	stop := context.AfterFunc(ctx, s.Close)
	defer func() {
		if stop() {
			s.Close()
		}
	}()
	if err := setReceiveBuffer(s, eventBuffer); err != nil {
		return fmt.Errorf("set rtnetlink event buffer: %w", err)
	}
	ready()
	for {
		messages, from, err := s.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("%w: %w", ErrEventsLost, err)
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range messages {
			e, known, err := h.event(m)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrEventsLost, err)
			}
			if known {
				emit(e)
			}
		}
	}
}

func groups(t Topics) []uint {
	var g []uint
	if t.Links {
		g = append(g, unix.RTNLGRP_LINK)
	}
	if t.Addresses {
		g = append(g, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	}
	if t.Nexthops {
		g = append(g, unix.RTNLGRP_NEXTHOP)
	}
	if t.Routes {
		g = append(g, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	}
	if t.Rules {
		g = append(g, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	}
	return g
}

// event decodes one notification. Those of other message types are not known.
func (h *Handle) event(m syscall.NetlinkMessage) (Event, bool, error) {
	kind := eventKind(m.Header.Type)
	if kind == 0 {
		return Event{}, false, nil
	}
	e := Event{Kind: kind, Own: m.Header.Pid == h.port}
	var err error
	switch kind {
	case LinkNew, LinkGone:
		if len(m.Data) < unix.SizeofIfInfomsg {
			return Event{}, false, fmt.Errorf("link message of %d bytes", len(m.Data))
		}
		if m.Data[0] != unix.AF_UNSPEC {
			// A bridge or IPv6 message about a link, which stays.
			return Event{}, false, nil
		}
		var l netlink.Link
		if l, err = netlink.LinkDeserialize((*unix.NlMsghdr)(nil), m.Data); err == nil {
			e.Link = fromLibrary(l)
		}
	case AddressNew, AddressGone:
		var a Address
		e.Link.Index, a, err = parseAddress(m.Data)
		e.Address = a.Prefix
	case NexthopNew, NexthopGone:
		e.Nexthop, err = parseNexthop(m.Data)
	case RouteNew, RouteGone:
		e.Route, err = parseRoute(m.Data)
	case RuleNew, RuleGone:
		e.Rule, err = parseRule(m.Data)
	}
	return e, err == nil, err
}

func eventKind(message uint16) EventKind {
	switch message {
	case unix.RTM_NEWLINK:
		return LinkNew
	case unix.RTM_DELLINK:
		return LinkGone
	case unix.RTM_NEWADDR:
		return AddressNew
	case unix.RTM_DELADDR:
		return AddressGone
	case unix.RTM_NEWNEXTHOP:
		return NexthopNew
	case unix.RTM_DELNEXTHOP:
		return NexthopGone
	case unix.RTM_NEWROUTE:
		return RouteNew
	case unix.RTM_DELROUTE:
		return RouteGone
	case unix.RTM_NEWRULE:
		return RuleNew
	case unix.RTM_DELRULE:
		return RuleGone
	}
	return 0
}
