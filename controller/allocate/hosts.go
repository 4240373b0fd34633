// Package allocate chooses what a resource leaves open: cloud addresses, inside prefixes, keys. It is pure; that a choice is still free when
// it is written is the caller's transaction's business.
package allocate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Candidate is one cloud address that a connection could have.
type Candidate struct {
	Host, Zone string
	Address    netip.Addr
	// Load of the address, in connections.
	Load int
	// Met: the customer has a connection on another address of the host. Its tunnels would need remote identities or keys that tell
	// them apart, or the same key.
	Met bool
}

// addressesPerConnection is how many are allocated: each on a host of its own.
const addressesPerConnection = 2

// Addresses chooses two addresses of one family on different hosts, in different zones where there are several, from the hosts with the
// least load. Hosts that the customer meets again are the last choice. The error says what is missing.
func Addresses(candidates []Candidate, ipv6 bool) ([]netip.Addr, error) {
	load, best := map[string]int{}, map[string]Candidate{}
	for _, c := range candidates {
		load[c.Host] += c.Load
		if c.Address.Is6() != ipv6 {
			continue
		}
		if b, ok := best[c.Host]; !ok || cmp.Or(cmp.Compare(c.Load, b.Load), c.Address.Compare(b.Address)) < 0 {
			best[c.Host] = c
		}
	}
	hosts := make([]Candidate, 0, len(best))
	for _, c := range best {
		hosts = append(hosts, c)
	}
	if len(hosts) < addressesPerConnection {
		family := "IPv4"
		if ipv6 {
			family = "IPv6"
		}
		return nil, fmt.Errorf("%d gateway hosts with a free %s address are needed, there are %d", addressesPerConnection, family, len(hosts))
	}
	if unmet := slices.DeleteFunc(slices.Clone(hosts), func(c Candidate) bool { return c.Met }); len(unmet) >= addressesPerConnection {
		hosts = unmet
	}
	slices.SortFunc(hosts, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(load[a.Host], load[b.Host]), cmp.Compare(a.Host, b.Host))
	})
	first, second := hosts[0], hosts[1]
	if i := slices.IndexFunc(hosts, func(c Candidate) bool { return c.Zone != first.Zone }); i > 0 {
		second = hosts[i]
	}
	return []netip.Addr{first.Address, second.Address}, nil
}
