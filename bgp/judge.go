package bgp

import (
	"net/netip"
	"slices"
)

// Refusal says why a path is not accepted; empty for one that is.
type Refusal string

// The reasons, in the order in which they are looked for.
const (
	// RefusedMalformed: AS 0 in the AS_PATH (RFC 7607).
	RefusedMalformed Refusal = "MALFORMED_AS_PATH"
	// RefusedLoop: our own AS in the AS_PATH (RFC 4271 §9.1.2).
	RefusedLoop Refusal = "AS_LOOP"
	// RefusedMartian: see [Guards].
	RefusedMartian Refusal = "MARTIAN"
	// RefusedOwn: what the gateway has on its VPC's side.
	RefusedOwn Refusal = "OWN_PREFIX"
	// RefusedInside: the tunnels' inside addresses, over which sessions and probes run.
	RefusedInside Refusal = "INSIDE_ADDRESS"
	// RefusedOuter: contains an address that encrypted packets travel to or from.
	RefusedOuter Refusal = "OUTER_ADDRESS"
	// RefusedUnlisted: not among what the neighbor may announce.
	RefusedUnlisted Refusal = "NOT_ALLOWED"
)

// Refusals lists the reasons.
func Refusals() []Refusal {
	return []Refusal{RefusedMalformed, RefusedLoop, RefusedMartian, RefusedOwn, RefusedInside, RefusedOuter, RefusedUnlisted}
}

// Guard is a prefix that is not accepted, nor any more specific one. A less specific one, such as a default route, is: longest match
// keeps it from taking the guarded prefix's traffic.
type Guard struct {
	Prefix netip.Prefix
	Why    Refusal
}

// Refused is a path that a neighbor announces and that is not accepted.
type Refused struct {
	Prefix netip.Prefix
	Path   Path
	Why    Refusal
}

// Judge says whether a path that n announces to a speaker with the AS number own is accepted, and if not, why.
func (n Neighbor) Judge(own uint32, prefix netip.Prefix, asPath []uint32) Refusal {
	switch {
	case slices.Contains(asPath, 0):
		return RefusedMalformed
	case slices.Contains(asPath, own):
		return RefusedLoop
	}
	if n.Kind == Customer {
		for _, g := range Guards() {
			if within(prefix, g) {
				return RefusedMartian
			}
		}
	}
	for _, g := range n.Refuse {
		if within(prefix, g.Prefix) {
			return g.Why
		}
	}
	if prefix.Bits() > 0 && slices.ContainsFunc(n.Protect, prefix.Contains) {
		return RefusedOuter
	}
	if n.Kind == Fabric && !slices.ContainsFunc(n.Accept, func(a netip.Prefix) bool { return within(prefix, a) }) {
		return RefusedUnlisted
	}
	return ""
}

// within says that p is other or a more specific prefix.
func within(p, other netip.Prefix) bool {
	return p.Bits() >= other.Bits() && other.Contains(p.Addr())
}

// Guards returns the prefixes that are never accepted from a customer, nor anything more specific: addresses that mean something
// only on a link or a host (RFC 6890), multicast, and class E. A default route is more general than each of them, so it passes.
func Guards() [10]netip.Prefix {
	v4 := func(a, b byte, bits int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b}), bits) }
	v6 := func(a, b byte, bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{a, b}), bits)
	}
	return [10]netip.Prefix{
		v4(0, 0, 8), v4(127, 0, 8), v4(169, 254, 16), v4(224, 0, 4), v4(240, 0, 4),
		netip.PrefixFrom(netip.IPv6Unspecified(), 128), netip.PrefixFrom(netip.IPv6Loopback(), 128),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96), v6(0xfe, 0x80, 10), v6(0xff, 0, 8),
	}
}
