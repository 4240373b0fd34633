package apiv1

import (
	"fmt"
	"net/netip"
	"strings"
)

// maxHostAddresses bounds the cloud addresses of one host.
const maxHostAddresses = 256

// AdmitGatewayHost checks what can be told from a GatewayHost alone.
func AdmitGatewayHost(h *GatewayHost) []*Finding {
	c := &checker{}
	s, spec := c.at(KindGatewayHost, h.GetName()), h.GetSpec()
	if name := h.GetName(); name == "" || len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		s.fail("name", "must be 1 to 253 printable characters without blanks and slashes")
	}
	s.description(spec.GetDescription())
	if zone := spec.GetZone(); len(zone) > 63 || strings.ContainsFunc(zone, func(r rune) bool { return r <= ' ' || r > '~' }) {
		s.fail("spec.zone", "must be at most 63 printable characters without blanks")
	}
	if n := len(spec.GetAddresses()); n > maxHostAddresses {
		s.fail("spec.addresses", "are too many: at most %d, there are %d", maxHostAddresses, n)
	}
	seen := map[netip.Addr]string{}
	for i, text := range spec.GetAddresses() {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		if a, ok := s.outerAddr(field, text); ok {
			onceKey(s, seen, a, field)
		}
	}
	return c.out
}
