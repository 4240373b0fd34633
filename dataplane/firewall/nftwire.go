package firewall

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names in the table.
const (
	chainWireIn  = "wire_in"
	chainWireOut = "wire_out"
)

// flowKind tells the four sets of counters apart: a set's addresses have one length, and an element has one counter.
type flowKind struct{ v6, out bool }

func (f flow) kind() flowKind { return flowKind{v6: f.Local.Is6(), out: f.out} }

func flowKinds() map[string]flowKind {
	return map[string]flowKind{
		"wire_in4": {}, "wire_out4": {out: true}, "wire_in6": {v6: true}, "wire_out6": {v6: true, out: true},
	}
}

// wireSets are sets of local . remote address, with a counter in each element, which a lookup that finds it counts up.
func wireSets(t *nftables.Table) map[flowKind]*nftables.Set {
	out := make(map[flowKind]*nftables.Set)
	for name, kind := range flowKinds() {
		address := nftables.TypeIPAddr
		if kind.v6 {
			address = nftables.TypeIP6Addr
		}
		out[kind] = &nftables.Set{
			Table: t, Name: name, KeyType: nftables.MustConcatSetType(address, address), Concatenation: true, Counter: true,
			KeyByteOrder: binaryutil.BigEndian,
		}
	}
	return out
}

func changeWire(c *nftables.Conn, s map[flowKind]*nftables.Set, from, to map[flow]bool) error {
	var errs []error
	for kind, set := range s {
		of := func(all map[flow]bool) map[flow]bool {
			some := maps.Clone(all)
			maps.DeleteFunc(some, func(f flow, _ bool) bool { return f.kind() != kind })
			return some
		}
		errs = append(errs, changeSet(c, set, of(from), of(to), compareFlows, func(f flow, _ bool) nftables.SetElement {
			return nftables.SetElement{Key: slices.Concat(f.Local.AsSlice(), f.Remote.AsSlice())}
		}))
	}
	return errors.Join(errs...)
}

// flowOf is the flow that an element of a set counts.
func flowOf(kind flowKind, key []byte) (flow, bool) {
	local, ok1 := netip.AddrFromSlice(key[:len(key)/2])
	remote, ok2 := netip.AddrFromSlice(key[len(key)/2:])
	f := flow{Endpoints{local, remote}, kind.out}
	return f, ok1 && ok2 && f.kind() == kind
}

func (k nft) wire() (map[flow]Counters, error) {
	c, err := k.open()
	if err != nil {
		return nil, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	out := make(map[flow]Counters)
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == TableName }) {
		return out, nil
	}
	present, err := c.GetSets(k.table())
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range present {
		kind, ours := flowKinds()[s.Name]
		if !ours {
			continue
		}
		elements, err := c.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of set %s: %w", s.Name, err)
		}
		for _, e := range elements {
			if f, ok := flowOf(kind, e.Key); ok && e.Counter != nil {
				out[f] = Counters{Packets: e.Counter.Packets, Bytes: e.Counter.Bytes}
			}
		}
	}
	return out, nil
}

// addWireRules adds the chains that count and their rules. As nft would print those for IPv4:
//
//	chain wire_in { type filter hook input priority mangle; policy accept;
//	  meta nfproto ipv4 meta l4proto esp ip daddr . ip saddr @wire_in4
//	  meta nfproto ipv4 meta l4proto udp udp dport 4500 @th,64,32 != 0 ip daddr . ip saddr @wire_in4
//	}
//	chain wire_out { type filter hook output priority mangle; policy accept;
//	  meta nfproto ipv4 meta l4proto esp ip saddr . ip daddr @wire_out4
//	  meta nfproto ipv4 meta l4proto udp udp sport 4500 @th,64,32 != 0 ip saddr . ip daddr @wire_out4
//	}
//
// A rule whose four bytes are not there, as in a keepalive, ends without counting.
func addWireRules(c *nftables.Conn, t *nftables.Table, s map[flowKind]*nftables.Set) {
	accept := nftables.ChainPolicyAccept
	for _, dir := range []struct {
		name string
		hook *nftables.ChainHook
		out  bool
	}{{chainWireIn, nftables.ChainHookInput, false}, {chainWireOut, nftables.ChainHookOutput, true}} {
		chain := c.AddChain(&nftables.Chain{
			Table: t, Name: dir.name, Type: nftables.ChainTypeFilter, Hooknum: dir.hook,
			Priority: nftables.ChainPriorityMangle, Policy: &accept,
		})
		for _, v6 := range []bool{false, true} {
			kind := flowKind{v6: v6, out: dir.out}
			for _, match := range [][]expr.Any{isESP(), isESPInUDP(dir.out)} {
				c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(family(v6), match, addresses(kind),
					[]expr.Any{lookup(s[kind])})})
			}
		}
	}
}

func equal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }

func family(v6 bool) []expr.Any {
	if v6 {
		return []expr.Any{meta(expr.MetaKeyNFPROTO, reg1), equal(unix.NFPROTO_IPV6)}
	}
	return []expr.Any{meta(expr.MetaKeyNFPROTO, reg1), equal(unix.NFPROTO_IPV4)}
}

func isESP() []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_ESP)}
}

// isESPInUDP matches the local port, since a NAT changes the other, and what is not the non-ESP marker (RFC 3948 §2.2).
func isESPInUDP(out bool) []expr.Any {
	const (
		sourcePort, destinationPort = 0, 2 // offsets in the UDP header, RFC 768
		payload                     = 8
	)
	port := uint32(destinationPort)
	if out {
		port = sourcePort
	}
	return []expr.Any{
		meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_UDP),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
		equal(binaryutil.BigEndian.PutUint16(4500)...),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: payload, Len: 4},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
	}
}

// addresses loads the local address and right behind it the remote one.
func addresses(kind flowKind) []expr.Any {
	source, destination, size, second := uint32(12), uint32(16), uint32(4), uint32(unix.NFT_REG32_01) // RFC 791 §3.1
	if kind.v6 {
		source, destination, size, second = 8, 24, 16, reg2 // RFC 8200 §3
	}
	local, remote := destination, source
	if kind.out {
		local, remote = source, destination
	}
	return []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseNetworkHeader, Offset: local, Len: size},
		&expr.Payload{DestRegister: second, Base: expr.PayloadBaseNetworkHeader, Offset: remote, Len: size},
	}
}
