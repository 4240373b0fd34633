package netlink

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Offsets in struct xfrm_userpolicy_info, struct xfrm_userpolicy_id, struct xfrm_usersa_id and struct xfrm_user_tmpl
// (include/uapi/linux/xfrm.h). The selector comes first in the first two.
const (
	policyDirection   = 160
	policyIDDirection = 60
	policyIDSize      = 64
	saIDSPI           = 16
	saIDFamily        = 20
	saIDProtocol      = 22
	saIDSize          = 24
	templateSPI       = 16

	// directionOut is XFRM_POLICY_OUT.
	directionOut = 1
)

// Policies implements [Kernel].
func (h *Handle) Policies() ([]Policy, error) {
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_GETPOLICY, unix.NLM_F_DUMP)
	messages, err := req.Execute(unix.NETLINK_XFRM, nl.XFRM_MSG_NEWPOLICY)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	found := make([]Policy, 0, len(messages))
	for _, m := range messages {
		p, relevant, err := parsePolicy(m)
		if err != nil {
			return nil, fmt.Errorf("list policies: %w", err)
		}
		if relevant {
			found = append(found, p)
		}
	}
	return found, nil
}

// parsePolicy reads a policy; false for one without if_id or template.
func parsePolicy(m []byte) (p Policy, relevant bool, err error) {
	if len(m) < nl.SizeofXfrmUserpolicyInfo {
		return Policy{}, false, fmt.Errorf("policy message of %d bytes", len(m))
	}
	copy(p.Selector[:], m)
	p.Direction = m[policyDirection]
	p.Out = p.Direction == directionOut
	attrs := attributes(m[nl.SizeofXfrmUserpolicyInfo:])
	if err := attrs.check(); err != nil {
		return Policy{}, false, fmt.Errorf("policy message: %w", err)
	}
	template := false
	for kind, value := range attrs.all() {
		switch kind {
		case nl.XFRMA_IF_ID:
			if len(value) >= 4 {
				p.IfID = binary.NativeEndian.Uint32(value)
			}
		case nl.XFRMA_TMPL:
			if len(value) >= templateSPI+4 {
				template, p.SPI = true, binary.BigEndian.Uint32(value[templateSPI:])
			}
		}
	}
	return p, template && p.IfID != 0, nil
}

// DeletePolicy implements [Kernel].
func (h *Handle) DeletePolicy(p Policy) error {
	body := make([]byte, policyIDSize)
	copy(body, p.Selector[:])
	body[policyIDDirection] = p.Direction
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_DELPOLICY, unix.NLM_F_ACK)
	req.AddRawData(body)
	req.AddData(nl.NewRtAttr(nl.XFRMA_IF_ID, nl.Uint32Attr(p.IfID)))
	if _, err := req.Execute(unix.NETLINK_XFRM, 0); err != nil {
		return fmt.Errorf("delete policy of if_id %d: %w", p.IfID, err)
	}
	return nil
}

// DeleteSA implements [Kernel].
func (h *Handle) DeleteSA(sa SA) error {
	body := make([]byte, saIDSize)
	family := uint16(unix.AF_INET6)
	if sa.Destination.Is4() {
		family = unix.AF_INET
	}
	copy(body, sa.Destination.AsSlice())
	binary.BigEndian.PutUint32(body[saIDSPI:], sa.SPI)
	binary.NativeEndian.PutUint16(body[saIDFamily:], family)
	body[saIDProtocol] = unix.IPPROTO_ESP
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_DELSA, unix.NLM_F_ACK)
	req.AddRawData(body)
	if _, err := req.Execute(unix.NETLINK_XFRM, 0); err != nil {
		return fmt.Errorf("delete SA %08x of if_id %d: %w", sa.SPI, sa.IfID, err)
	}
	return nil
}
