package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ESP is the IP protocol number of ESP.
const ESP = unix.IPPROTO_ESP

// DropMatch selects packets; what is zero matches all.
type DropMatch struct {
	Interface string // on which they arrive
	Src, Dst  string // addresses
	Protocol  uint8  // of the IP header: ESP, or unix.IPPROTO_*
}

// Drop loses packets that arrive at a host, before anything else there sees them.
type Drop struct {
	host  *Host
	table *nftables.Table
	chain *nftables.Chain
}

// Drop begins to lose the packets that match. A router loses those it would forward, so one direction of a tunnel, or
// ESP but not IKE, can be cut in the middle of the network.
func (h *Host) Drop(m DropMatch) *Drop {
	h.lab.t.Helper()
	d := &Drop{host: h}
	exprs, err := m.exprs()
	if err == nil {
		err = d.apply(exprs)
	}
	h.lab.must(err, "%s: drop %+v", h.name, m)
	return d
}

func (d *Drop) apply(match []expr.Any) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(d.host.ns)))
	if err != nil {
		return err
	}
	name := fmt.Sprintf("lab-drop-%d", d.host.drops.Add(1))
	d.table = conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: name})
	d.chain = conn.AddChain(&nftables.Chain{
		Name: "arriving", Table: d.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityFirst,
	})
	conn.AddRule(&nftables.Rule{Table: d.table, Chain: d.chain,
		Exprs: append(match, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})})
	return conn.Flush()
}

// Packets is how many packets were lost so far.
func (d *Drop) Packets() (uint64, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(d.host.ns)))
	if err != nil {
		return 0, err
	}
	rules, err := conn.GetRules(d.table, d.chain)
	if err != nil {
		return 0, err
	}
	for _, rule := range rules {
		for _, e := range rule.Exprs {
			if counter, ok := e.(*expr.Counter); ok {
				return counter.Packets, nil
			}
		}
	}
	return 0, errors.New("the rule has no counter")
}

// Remove stops losing packets and returns exactly how many were lost.
func (d *Drop) Remove() uint64 {
	d.host.lab.t.Helper()
	packets, err := d.remove()
	d.host.lab.must(err, "%s: end a drop", d.host.name)
	return packets
}

func (d *Drop) remove() (uint64, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(d.host.ns)))
	if err != nil {
		return 0, err
	}
	// Let everything pass first, so that the counter stands still when it is read.
	conn.InsertRule(&nftables.Rule{Table: d.table, Chain: d.chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
	if err := conn.Flush(); err != nil {
		return 0, err
	}
	packets, err := d.Packets()
	if err != nil {
		return 0, err
	}
	conn.DelTable(d.table)
	return packets, conn.Flush()
}

// exprs are the matching part of the rule, in the register machine of nftables.
func (m DropMatch) exprs() ([]expr.Any, error) {
	var exprs []expr.Any
	if m.Interface != "" {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, m.Interface)
		exprs = append(exprs, &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(name))
	}
	if m.Protocol != 0 {
		exprs = append(exprs, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{m.Protocol}))
	}
	for _, side := range []struct {
		address string
		v4, v6  uint32 // offsets in the IP header
	}{{m.Src, 12, 8}, {m.Dst, 16, 24}} {
		if side.address == "" {
			continue
		}
		a, err := netip.ParseAddr(side.address)
		if err != nil {
			return nil, err
		}
		family, offset := byte(unix.NFPROTO_IPV4), side.v4
		if a.Is6() {
			family, offset = unix.NFPROTO_IPV6, side.v6
		}
		exprs = append(exprs,
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{family}),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(a.BitLen() / 8)},
			equal(a.AsSlice()))
	}
	return exprs, nil
}

func equal(data []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
