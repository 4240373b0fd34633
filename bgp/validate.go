package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Limits of the protocol and of the kernel.
const (
	minHold        = 3 * time.Second     // RFC 4271 §4.2
	maxHold        = 65535 * time.Second // two octets in OPEN
	maxRestartTime = 4095 * time.Second  // twelve bits, RFC 4724 §3
	maxPrepend     = 255                 // one path segment, RFC 4271 §4.3
)

// Check returns s without the neighbors and announcements that cannot work, and an error for each of these by neighbor name or
// prefix. The error is not nil when the speaker itself cannot work. Neighbors come back sorted by name, prefixes masked.
func Check(s Speaker) (Speaker, map[string]error, error) {
	switch {
	case s.Gateway == "":
		return s, nil, errors.New("gateway: empty name")
	case s.ASN == 0:
		return s, nil, errors.New("asn: 0 is reserved (RFC 7607)")
	case !s.RouterID.Is4() || s.RouterID.IsUnspecified():
		return s, nil, fmt.Errorf("routerID: %v is not an IPv4 address other than 0.0.0.0", s.RouterID)
	}
	bad := map[string]error{}
	names, addresses := map[string]bool{}, map[netip.Addr]string{}
	var neighbors []Neighbor
	for _, n := range s.sortedNeighbors() {
		err := checkNeighbor(s, n)
		if other, taken := addresses[n.Address]; err == nil && taken {
			err = fmt.Errorf("address: %v is already that of %s", n.Address, other)
		}
		if err == nil && names[n.Name] {
			err = errors.New("name: used twice")
		}
		if err != nil {
			bad[n.Name] = err
			continue
		}
		names[n.Name], addresses[n.Address] = true, n.Name
		neighbors = append(neighbors, n)
	}
	var announcements []Announcement
	paths := make(map[netip.Prefix][]uint32, len(s.Announcements))
	for _, a := range s.Announcements {
		if err := checkAnnouncement(a, paths); err != nil {
			bad[a.Prefix.String()] = err
			continue
		}
		a.Prefix = a.Prefix.Masked()
		paths[a.Prefix] = a.ASPath
		announcements = append(announcements, a)
	}
	s.Neighbors, s.Announcements = neighbors, announcements
	return s, bad, nil
}

// checkAnnouncement checks a against the AS_PATHs of those before it.
func checkAnnouncement(a Announcement, before map[netip.Prefix][]uint32) error {
	if !a.Prefix.IsValid() {
		return errors.New("prefix: invalid")
	}
	path, twice := before[a.Prefix.Masked()]
	switch {
	case a.To != Customer && a.To != Fabric:
		return fmt.Errorf("to: unknown kind %d", int(a.To))
	case slices.Contains(a.ASPath, 0):
		return errors.New("asPath: 0 is reserved (RFC 7607)")
	case twice && !slices.Equal(path, a.ASPath):
		return fmt.Errorf("asPath: %v is not the %v announced to others", a.ASPath, path)
	}
	return nil
}

func checkNeighbor(s Speaker, n Neighbor) error {
	switch {
	case n.Name == "":
		return errors.New("name: empty")
	case n.Kind != Customer && n.Kind != Fabric:
		return fmt.Errorf("kind: unknown kind %d", int(n.Kind))
	case !n.Address.IsValid() || n.Address.IsUnspecified() || n.Address.IsMulticast():
		return fmt.Errorf("address: %v is not a host's", n.Address)
	case !n.LocalAddress.IsValid() && n.Kind == Fabric:
		return checkSession(s, n)
	case !n.LocalAddress.IsValid() || n.LocalAddress.IsUnspecified() || n.LocalAddress.Is4() != n.Address.Is4():
		return fmt.Errorf("localAddress: %v is not a host's of the same family as %v", n.LocalAddress, n.Address)
	case n.Address == n.LocalAddress:
		return fmt.Errorf("address: %v is our own", n.Address)
	}
	return checkSession(s, n)
}

// checkSession checks what does not depend on the ends' addresses.
func checkSession(s Speaker, n Neighbor) error {
	switch {
	case n.PeerASN == 0:
		return errors.New("peerASN: 0 is reserved (RFC 7607)")
	case n.Kind == Customer && n.PeerASN == s.ASN:
		return fmt.Errorf("peerASN: %d is the border's own, and a customer's session is eBGP", n.PeerASN)
	case n.Hold != 0 && (n.Hold < minHold || n.Hold > maxHold):
		return fmt.Errorf("hold: %v is not between %v and %v", n.Hold, minHold, maxHold)
	case n.Keepalive < 0 || n.Keepalive != 0 && n.Keepalive < time.Second:
		return fmt.Errorf("keepalive: %v is less than a second", n.Keepalive)
	case n.Hold != 0 && n.Keepalive > n.Hold:
		return fmt.Errorf("keepalive: %v is longer than hold %v", n.Keepalive, n.Hold)
	case n.RestartTime < 0 || n.RestartTime > maxRestartTime || n.RestartTime != 0 && n.RestartTime < time.Second:
		return fmt.Errorf("restartTime: %v is not between 1s and %v", n.RestartTime, maxRestartTime)
	case n.Prepend < 0 || n.Prepend > maxPrepend:
		return fmt.Errorf("prepend: %d is not between 0 and %d", n.Prepend, maxPrepend)
	case !n.IPv4 && !n.IPv6:
		return errors.New("ipv4, ipv6: no address family")
	}
	for _, p := range n.Accept {
		if !p.IsValid() {
			return errors.New("accept: invalid prefix")
		}
	}
	for _, g := range n.Refuse {
		if !g.Prefix.IsValid() || g.Why == "" {
			return errors.New("refuse: invalid prefix or no reason")
		}
	}
	return nil
}
