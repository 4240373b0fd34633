package bgp

import (
	"cmp"
	"net/netip"
	"slices"
)

// Audience is the set of kinds that a prefix is announced to.
type Audience uint8

// The members of an Audience.
const (
	ToCustomer Audience = 1 << iota
	ToFabric
)

// Originated is what the speaker says of one prefix, and to whom.
type Originated struct {
	To     Audience
	ASPath []uint32
}

// Change is what must be done to make one speaker into another. Neighbors are named once in Remove, Add or neither: one whose
// session must start afresh is in both. Everything else leaves the sessions alone.
type Change struct {
	// Restart says that the speaker itself differs and all its sessions with it; the other fields are then empty.
	Restart bool
	// Remove, and then Add, these neighbors.
	Remove, Add []Neighbor
	// Limit lists neighbors whose MaxPrefixes alone changed.
	Limit []Neighbor
	// Rejudge lists neighbors, sessions kept, of whose routes other ones are accepted now; SoftOut those that must be announced
	// everything again, under the changed policy.
	Rejudge, SoftOut []Neighbor
	// Announce has the prefixes of which something new is said; Withdraw lists those not announced any more.
	Announce map[netip.Prefix]Originated
	Withdraw []netip.Prefix
}

// Empty says that there is nothing to do.
func (c Change) Empty() bool {
	return !c.Restart && len(c.Remove)+len(c.Add)+len(c.Limit)+len(c.Rejudge)+len(c.SoftOut)+len(c.Announce)+len(c.Withdraw) == 0
}

// Diff returns what makes have into want. Both have been through [Check].
func Diff(have, want Speaker) Change {
	var c Change
	if have.Gateway != want.Gateway || have.ASN != want.ASN || have.RouterID != want.RouterID || have.Device != want.Device ||
		have.Port != want.Port || !slices.Equal(have.ListenAddresses, want.ListenAddresses) {
		c.Restart = true
		return c
	}
	old := map[string]Neighbor{}
	for _, n := range have.Neighbors {
		old[n.Name] = n
	}
	for _, n := range want.sortedNeighbors() {
		o, ok := old[n.Name]
		delete(old, n.Name)
		switch {
		case !ok:
			c.Add = append(c.Add, n)
			continue
		case !SameSession(o, n):
			c.Remove, c.Add = append(c.Remove, o), append(c.Add, n)
			continue
		}
		if o.MaxPrefixes != n.MaxPrefixes {
			c.Limit = append(c.Limit, n)
		}
		if !sameSet(o.Accept, n.Accept, ComparePrefixes) || !sameSet(o.Refuse, n.Refuse, compareGuards) || !sameSet(o.Protect, n.Protect, netip.Addr.Compare) {
			c.Rejudge = append(c.Rejudge, n)
		}
		if !samePointee(o.MED, n.MED) || o.Prepend != n.Prepend || o.Mute != n.Mute {
			c.SoftOut = append(c.SoftOut, n)
		}
	}
	for _, n := range old {
		c.Remove = append(c.Remove, n)
	}
	slices.SortFunc(c.Remove, byName)
	was, is := have.originated(), want.originated()
	for p, o := range is {
		if old := was[p]; old.To != o.To || !slices.Equal(old.ASPath, o.ASPath) {
			if c.Announce == nil {
				c.Announce = map[netip.Prefix]Originated{}
			}
			c.Announce[p] = o
		}
		delete(was, p)
	}
	for p := range was {
		c.Withdraw = append(c.Withdraw, p)
	}
	slices.SortFunc(c.Withdraw, ComparePrefixes)
	return c
}

// SameSession says that a session with a needs no restart to become one with b: they agree in all that is settled when the
// connection is made or in the OPEN messages.
func SameSession(a, b Neighbor) bool {
	return a.Kind == b.Kind && a.Address == b.Address && a.LocalAddress == b.LocalAddress && a.PeerASN == b.PeerASN &&
		a.Port == b.Port && a.Keepalive == b.Keepalive && a.Hold == b.Hold && a.Password.Equal(b.Password) &&
		a.RestartTime == b.RestartTime && a.Restarts == b.Restarts && a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6
}

// originated returns the announcements by prefix.
func (s Speaker) originated() map[netip.Prefix]Originated {
	m := make(map[netip.Prefix]Originated, len(s.Announcements))
	for _, a := range s.Announcements {
		o := m[a.Prefix]
		o.ASPath = a.ASPath
		switch a.To {
		case Customer:
			o.To |= ToCustomer
		case Fabric:
			o.To |= ToFabric
		}
		m[a.Prefix] = o
	}
	return m
}

func (s Speaker) sortedNeighbors() []Neighbor {
	l := slices.Clone(s.Neighbors)
	slices.SortStableFunc(l, byName)
	return l
}

func byName(a, b Neighbor) int { return cmp.Compare(a.Name, b.Name) }

func sameSet[T comparable](a, b []T, compare func(a, b T) int) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compare)
	slices.SortFunc(b, compare)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

func compareGuards(a, b Guard) int {
	return cmp.Or(ComparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.Why, b.Why))
}

func samePointee(a, b *uint32) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}
