package netlink

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// fibRuleInvert is FIB_RULE_INVERT of include/uapi/linux/fib_rules.h: the rule is for what does not match.
const fibRuleInvert = 0x2

// sizeofFibRuleHdr is the size of struct fib_rule_hdr, which has the layout of struct rtmsg with the action as its type.
const sizeofFibRuleHdr = unix.SizeofRtMsg

// Rules implements [Kernel].
func (h *Handle) Rules(v6 bool) ([]Rule, error) {
	var found []Rule
	err := h.dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETRULE, unix.NLM_F_DUMP)
		req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family(v6)}})
		return req
	}, unix.RTM_NEWRULE, func() { found = nil }, func(m []byte) error {
		r, err := parseRule(m)
		if err == nil && r.IPv6 == v6 {
			found = append(found, r)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list routing rules: %w", err)
	}
	return found, nil
}

// parseRule decodes struct fib_rule_hdr and its attributes. Whatever it does not know may be a condition.
func parseRule(m []byte) (Rule, error) {
	if len(m) < sizeofFibRuleHdr {
		return Rule{}, fmt.Errorf("rule message of %d bytes", len(m))
	}
	r := Rule{IPv6: m[0] == unix.AF_INET6, Table: uint32(m[4])}
	flags := binary.NativeEndian.Uint32(m[8:])
	r.Other = m[1] != 0 || m[2] != 0 || m[3] != 0 || m[7] != unix.FR_ACT_TO_TBL || flags&fibRuleInvert != 0
	attrs := attributes(m[sizeofFibRuleHdr:])
	if err := attrs.check(); err != nil {
		return Rule{}, fmt.Errorf("rule message: %w", err)
	}
	for kind, value := range attrs.all() {
		size := 4
		switch kind {
		case unix.FRA_PROTOCOL, unix.FRA_L3MDEV:
			size = 1
		case unix.FRA_PRIORITY, unix.FRA_TABLE, unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP:
		case unix.FRA_PAD:
			continue
		default:
			r.Other = true
			continue
		}
		if len(value) < size {
			return Rule{}, fmt.Errorf("rule message: attribute %d of %d bytes", kind, len(value))
		}
		switch kind {
		case unix.FRA_PROTOCOL:
			r.Protocol = value[0]
		case unix.FRA_L3MDEV:
			r.L3mdev = value[0] != 0
		case unix.FRA_PRIORITY:
			r.Priority = binary.NativeEndian.Uint32(value)
		case unix.FRA_TABLE:
			r.Table = binary.NativeEndian.Uint32(value)
		default: // the two that ignore some results; -1 is none
			r.Other = r.Other || int32(binary.NativeEndian.Uint32(value)) != -1
		}
	}
	return r, nil
}

func ruleRequest(message, flags int, r Rule) (*nl.NetlinkRequest, error) {
	if r.Other {
		return nil, fmt.Errorf("%w: rule with conditions", unix.EINVAL)
	}
	req := nl.NewNetlinkRequest(message, flags)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{
		Family: family(r.IPv6),
		Table:  unix.RT_TABLE_UNSPEC, // FRA_TABLE has all 32 bits
		Type:   unix.FR_ACT_TO_TBL,
	}})
	req.AddData(nl.NewRtAttr(unix.FRA_PRIORITY, nl.Uint32Attr(r.Priority)))
	req.AddData(nl.NewRtAttr(unix.FRA_PROTOCOL, nl.Uint8Attr(r.Protocol)))
	if r.Table != 0 {
		req.AddData(nl.NewRtAttr(unix.FRA_TABLE, nl.Uint32Attr(r.Table)))
	}
	if r.L3mdev {
		req.AddData(nl.NewRtAttr(unix.FRA_L3MDEV, nl.Uint8Attr(1)))
	}
	return req, nil
}

// AddRule implements [Kernel].
func (h *Handle) AddRule(r Rule) error {
	req, err := ruleRequest(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r)
	if err != nil {
		return err
	}
	return h.execute([]*nl.NetlinkRequest{req})[0]
}

// DeleteRule implements [Kernel].
func (h *Handle) DeleteRule(r Rule) error {
	req, err := ruleRequest(unix.RTM_DELRULE, 0, r)
	if err != nil {
		return err
	}
	return h.execute([]*nl.NetlinkRequest{req})[0]
}
