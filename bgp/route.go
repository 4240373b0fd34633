package bgp

import (
	"cmp"
	"net/netip"
	"slices"
)

// Path is one neighbor's way to a prefix.
type Path struct {
	// Neighbor is the neighbor's name: the traffic goes to its tunnel or attachment, whatever NextHop says.
	Neighbor string
	Kind     Kind
	// NextHop is what the neighbor sent.
	NextHop netip.Addr
	// ASPath is the AS_PATH flattened: sequences in order, the members of a set one after the other.
	ASPath []uint32
	// Length is the AS_PATH's length for comparison: a set counts as one (RFC 4271 §9.1.2.2 a), confederation segments as none
	// (RFC 5065 §5.3).
	Length int
}

// Learned is a prefix with its complete ECMP set: the accepted paths that are equally good, sorted by neighbor.
type Learned struct {
	Prefix netip.Prefix
	Paths  []Path
}

// Equal says whether the two are the same.
func (l Learned) Equal(o Learned) bool {
	return l.Prefix == o.Prefix && slices.EqualFunc(l.Paths, o.Paths, func(a, b Path) bool {
		return a.Neighbor == b.Neighbor && a.Kind == b.Kind && a.NextHop == b.NextHop && a.Length == b.Length && slices.Equal(a.ASPath, b.ASPath)
	})
}

// Best returns the ECMP set among paths to one prefix: those with the shortest AS_PATH, sorted by neighbor. Nothing else is
// compared. LOCAL_PREF, ORIGIN, MED, router IDs and age, which a customer or chance decides, neither choose between tunnels nor
// break an ECMP set.
func Best(paths []Path) []Path {
	if len(paths) == 0 {
		return nil
	}
	shortest := paths[0].Length
	for _, p := range paths[1:] {
		shortest = min(shortest, p.Length)
	}
	best := make([]Path, 0, len(paths))
	for _, p := range paths {
		if p.Length == shortest {
			best = append(best, p)
		}
	}
	slices.SortFunc(best, func(a, b Path) int { return cmp.Compare(a.Neighbor, b.Neighbor) })
	return best
}

// ComparePrefixes orders prefixes by address, then from less to more specific; IPv4 comes first.
func ComparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
