package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Offsets in struct xfrm_usersa_info (include/uapi/linux/xfrm.h): the selector comes first, then xfrm_id with the destination, then
// the source. struct xfrm_stats and the family are behind the two lifetime blocks.
const (
	saDestination = 56
	saSPI         = 72
	saSource      = 80
	saErrors      = 192
	saFamily      = 212
)

// SAs implements [Kernel]. Keys are in the kernel's answer, too; they are not looked at and do not stay in memory.
func (h *Handle) SAs() ([]SA, error) {
	req := nl.NewNetlinkRequest(nl.XFRM_MSG_GETSA, unix.NLM_F_DUMP)
	messages, err := req.Execute(unix.NETLINK_XFRM, nl.XFRM_MSG_NEWSA)
	if err != nil {
		return nil, fmt.Errorf("list SAs: %w", err)
	}
	found := make([]SA, 0, len(messages))
	for _, m := range messages {
		sa, err := parseSA(m)
		clear(m)
		if err != nil {
			return nil, fmt.Errorf("list SAs: %w", err)
		}
		found = append(found, sa)
	}
	return found, nil
}

func parseSA(m []byte) (SA, error) {
	if len(m) < nl.SizeofXfrmUsersaInfo {
		return SA{}, fmt.Errorf("SA message of %d bytes", len(m))
	}
	var sa SA
	switch family := binary.NativeEndian.Uint16(m[saFamily:]); family {
	case unix.AF_INET:
		sa.Destination = netip.AddrFrom4([4]byte(m[saDestination:]))
		sa.Source = netip.AddrFrom4([4]byte(m[saSource:]))
	case unix.AF_INET6:
		sa.Destination = netip.AddrFrom16([16]byte(m[saDestination:]))
		sa.Source = netip.AddrFrom16([16]byte(m[saSource:]))
	default:
		return SA{}, fmt.Errorf("SA message of family %d", family)
	}
	sa.SPI = binary.BigEndian.Uint32(m[saSPI:])
	sa.Errors = SAErrors{
		OutsideWindow:   binary.NativeEndian.Uint32(m[saErrors:]),
		Replayed:        binary.NativeEndian.Uint32(m[saErrors+4:]),
		IntegrityFailed: binary.NativeEndian.Uint32(m[saErrors+8:]),
	}
	attrs := attributes(m[nl.SizeofXfrmUsersaInfo:])
	if err := attrs.check(); err != nil {
		return SA{}, fmt.Errorf("SA message: %w", err)
	}
	sa.Larval = true
	for kind, value := range attrs.all() {
		switch kind {
		case nl.XFRMA_IF_ID:
			if len(value) >= 4 {
				sa.IfID = binary.NativeEndian.Uint32(value)
			}
		case nl.XFRMA_ALG_CRYPT, nl.XFRMA_ALG_AEAD, nl.XFRMA_ALG_AUTH, nl.XFRMA_ALG_AUTH_TRUNC:
			sa.Larval = false
		}
	}
	return sa, nil
}
