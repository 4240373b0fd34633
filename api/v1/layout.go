package apiv1

import "net/netip"

// Pair is the two outer ends of one tunnel.
type Pair struct {
	Cloud, Customer netip.Addr
}

// DefaultLayout proposes the tunnels of a new connection. One or two customer addresses: the first cloud address leads to the
// first, the second to the second or only one. Three or four: the first cloud address leads to the first and second, the second
// cloud address to the third and fourth. With a single cloud address all tunnels begin there.
func DefaultLayout(cloud, customer []netip.Addr) []Pair {
	if len(cloud) == 0 || len(customer) == 0 {
		return nil
	}
	if len(cloud) == 1 {
		var out []Pair
		for _, c := range customer {
			out = append(out, Pair{cloud[0], c})
		}
		return out
	}
	if len(customer) <= 2 {
		return []Pair{{cloud[0], customer[0]}, {cloud[1], customer[len(customer)-1]}}
	}
	var out []Pair
	for i, c := range customer {
		out = append(out, Pair{cloud[min(i/2, 1)], c})
	}
	return out
}
