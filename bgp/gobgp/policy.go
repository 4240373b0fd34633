package gobgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"

	"github.com/bordergw/bordergw/bgp"
)

// Names of the two policies assigned to the global table. GoBGP ignores policies of single neighbors unless these are route-server
// clients, so every statement names its neighbors in a set.
const (
	importPolicy = "import"
	exportPolicy = "export"
)

// LOCAL_PREF says inside the speaker who is to hear of a route that we originate. It does not leave: it is not sent on eBGP, and export
// policy overwrites it on iBGP. Zero cannot be matched.
const (
	prefLocal     = 200 // plus a bgp.Audience
	prefDefault   = 100 // what an iBGP neighbor sees
	localAudience = int(bgp.ToCustomer | bgp.ToFabric)
)

// policies returns the whole import and export policy of a speaker, for SetPolicies, which replaces them atomically. What no
// statement accepts is refused by the assignments' default action.
func policies(s bgp.Speaker) *api.SetPoliciesRequest {
	b := builder{}
	b.importStatements()
	b.exportStatements(s)
	return &api.SetPoliciesRequest{
		DefinedSets: b.sets,
		Policies: []*api.Policy{
			{Name: importPolicy, Statements: b.imports},
			{Name: exportPolicy, Statements: b.exports},
		},
	}
}

type builder struct {
	sets             []*api.DefinedSet
	imports, exports []*api.Statement
}

// importStatements let in what we originate ourselves, which import policy judges too, and nothing that neighbors announce. The view hears of
// that before policy and judges it ([bgp.Neighbor.Judge]), which can say why. So GoBGP has nothing to choose from and nothing to pass on, and
// a large table costs it no more than keeping it.
func (b *builder) importStatements() {
	b.accept(&api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, &api.Actions{})
}

// exportStatements announce what we originate for each side. Nothing else is accepted: GoBGP passes on no learned route by itself.
func (b *builder) exportStatements(s bgp.Speaker) {
	for _, side := range []struct {
		kind     bgp.Kind
		audience bgp.Audience
	}{{bgp.Customer, bgp.ToCustomer}, {bgp.Fabric, bgp.ToFabric}} {
		speaking := slices.DeleteFunc(ofKind(s.Neighbors, side.kind), func(n bgp.Neighbor) bool { return n.Mute })
		for i, group := range groups(speaking, exportKey(s)) {
			neighbors := b.neighborSet(fmt.Sprintf("%s-export-%d", side.kind, i), group)
			for a := 1; a <= localAudience; a++ {
				if bgp.Audience(a)&side.audience == 0 {
					continue
				}
				conditions := func() *api.Conditions {
					return &api.Conditions{
						NeighborSet: neighbors,
						RouteType:   api.Conditions_ROUTE_TYPE_LOCAL,
						LocalPrefEq: &api.LocalPrefEq{Value: uint32(prefLocal + a)},
					}
				}
				if hop := nextHop6(group[0]); hop.IsValid() {
					six, actions := conditions(), exported(s, group[0])
					six.AfiSafiIn = []*api.Family{{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}}
					actions.Nexthop = &api.NexthopAction{Address: hop.String()}
					b.export(six, actions)
				}
				b.export(conditions(), exported(s, group[0]))
			}
		}
	}
}

func exportKey(s bgp.Speaker) func(bgp.Neighbor) string {
	return func(n bgp.Neighbor) string {
		med := "-"
		if n.MED != nil {
			med = fmt.Sprint(*n.MED)
		}
		return fmt.Sprint(n.PeerASN == s.ASN, med, n.Prepend, nextHop6(n))
	}
}

// nextHop6 is the next hop of IPv6 routes over a tunnel whose inside addresses are IPv4: the link-local address fe80:: with our IPv4
// address at its end. GoBGP would send the IPv4-mapped address, which BIRD and FRR do not take. A tunnel has two ends and no neighbor
// discovery, so whoever has this next hop sends into the tunnel, and nobody needs to have the address. It is invalid where it is not needed,
// and toward the VPC, where a next hop must be somebody's.
func nextHop6(n bgp.Neighbor) netip.Addr {
	if n.Kind != bgp.Customer || !n.IPv6 || !n.LocalAddress.Is4() {
		return netip.Addr{}
	}
	a, v4 := [16]byte{0xfe, 0x80}, n.LocalAddress.As4()
	copy(a[12:], v4[:])
	return netip.AddrFrom16(a)
}

func exported(s bgp.Speaker, n bgp.Neighbor) *api.Actions {
	a := &api.Actions{}
	if n.MED != nil {
		a.Med = &api.MedAction{Type: api.MedAction_TYPE_REPLACE, Value: int64(*n.MED)}
	}
	switch internal := n.PeerASN == s.ASN; {
	case internal:
		a.LocalPref = &api.LocalPrefAction{Value: prefDefault}
	case n.Prepend > 0:
		a.AsPrepend = &api.AsPrependAction{Asn: s.ASN, Repeat: uint32(n.Prepend)}
	}
	return a
}

func (b *builder) accept(c *api.Conditions, a *api.Actions) {
	a.RouteAction = api.RouteAction_ROUTE_ACTION_ACCEPT
	b.imports = append(b.imports, statement(importPolicy, len(b.imports), c, a))
}

func (b *builder) export(c *api.Conditions, a *api.Actions) {
	a.RouteAction = api.RouteAction_ROUTE_ACTION_ACCEPT
	b.exports = append(b.exports, statement(exportPolicy, len(b.exports), c, a))
}

func statement(policy string, i int, c *api.Conditions, a *api.Actions) *api.Statement {
	return &api.Statement{Name: fmt.Sprintf("%s-%d", policy, i), Conditions: c, Actions: a}
}

// neighborSet defines a set of at least one neighbor: GoBGP takes an empty one for everybody.
func (b *builder) neighborSet(name string, neighbors []bgp.Neighbor) *api.MatchSet {
	set := &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name}
	for _, n := range neighbors {
		a := n.Address.WithZone("")
		set.List = append(set.List, netip.PrefixFrom(a, a.BitLen()).String())
	}
	b.sets = append(b.sets, set)
	return &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: name}
}

func ofKind(neighbors []bgp.Neighbor, kind bgp.Kind) []bgp.Neighbor {
	var l []bgp.Neighbor
	for _, n := range neighbors {
		if n.Kind == kind {
			l = append(l, n)
		}
	}
	return l
}

// groups puts neighbors with the same key together, so that statements do not multiply with tunnels. Its order is stable.
func groups(neighbors []bgp.Neighbor, key func(bgp.Neighbor) string) [][]bgp.Neighbor {
	byKey := map[string][]bgp.Neighbor{}
	for _, n := range neighbors {
		byKey[key(n)] = append(byKey[key(n)], n)
	}
	var l [][]bgp.Neighbor
	for _, g := range byKey {
		l = append(l, g)
	}
	slices.SortFunc(l, func(a, b []bgp.Neighbor) int { return cmp.Compare(a[0].Name, b[0].Name) })
	return l
}
