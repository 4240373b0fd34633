package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/internal/delta"
)

// Names in the table.
const (
	setTunnels      = "tunnels"
	setGuarded      = "guarded"
	setSame         = "same_connection"
	mapMSS4         = "mss4"
	mapMSS6         = "mss6"
	setForwardedIn  = "forwarded_in"
	setForwardedOut = "forwarded_out"
	counterDrops    = "transit_dropped"
	chainForward    = "forward"
	chainMSS        = "mss"
	ifnameSize      = unix.IFNAMSIZ
	elementsAtOnce  = 500 // a list of elements is one attribute, and those have at most 64 KiB
)

// rulesMark is the first rule's comment. Raise the number whenever the rules change: the table is then replaced.
const (
	rulesMark = "bordergw rules 3"
	ruleCount = 17
)

// metaSDIFName is NFT_META_SDIFNAME (include/uapi/linux/netfilter/nf_tables.h): the name of the device that a packet
// arrived on when that is enslaved to a VRF. The forward hook sees the VRF as iifname, yet the member as oifname.
const metaSDIFName = expr.MetaKey(34)

// transactionBuffer is the size of the socket buffers: a transaction is one datagram, and every message of it is answered.
const transactionBuffer = 16 << 20

// nft is the kernel's nftables in the network namespace of the calling thread.
type nft struct{}

func (nft) open() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		if err := c.SetWriteBuffer(transactionBuffer); err != nil {
			return err
		}
		return c.SetReadBuffer(transactionBuffer)
	}))
}

func (nft) table() *nftables.Table {
	return &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}
}

// sets are the table's sets and maps.
type sets struct {
	tunnels, guarded, same, mss4, mss6 *nftables.Set
	wire                               map[flowKind]*nftables.Set
	// in and out count what is forwarded from and to watched devices.
	in, out *nftables.Set
}

func newSets(t *nftables.Table) sets {
	devices := func(name string) *nftables.Set {
		return &nftables.Set{Table: t, Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
	}
	sizes := func(name string) *nftables.Set {
		s := devices(name)
		s.IsMap, s.DataType = true, nftables.TypeInetService // two bytes in network order, which is what a port is
		return s
	}
	same := devices(setSame)
	same.KeyType = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIFName)
	same.Concatenation = true
	counting := func(name string) *nftables.Set {
		s := devices(name)
		s.Counter = true
		return s
	}
	return sets{devices(setTunnels), devices(setGuarded), same, sizes(mapMSS4), sizes(mapMSS6), wireSets(t), counting(setForwardedIn),
		counting(setForwardedOut)}
}

func ifname(name string) []byte {
	b := make([]byte, ifnameSize)
	copy(b, name)
	return b
}

func fromIfname(b []byte) string {
	name, _, _ := bytes.Cut(b, []byte{0})
	return string(name)
}

func (k nft) replace(want table) error {
	c, err := k.open()
	if err != nil {
		return err
	}
	t := k.table()
	c.AddTable(t) // so that there is one to delete
	c.DelTable(t)
	c.AddTable(t)
	c.AddObj(&nftables.CounterObj{Table: t, Name: counterDrops, Packets: want.dropped.Packets, Bytes: want.dropped.Bytes})
	s := newSets(t)
	all := slices.AppendSeq([]*nftables.Set{s.tunnels, s.guarded, s.same, s.mss4, s.mss6, s.in, s.out}, maps.Values(s.wire))
	for _, set := range all {
		if err := c.AddSet(set, nil); err != nil {
			return fmt.Errorf("set %s: %w", set.Name, err)
		}
	}
	if err := change(c, s, newContent(), want.content); err != nil {
		return err
	}
	addRules(c, t, s)
	addWireRules(c, t, s.wire)
	return c.Flush()
}

func (k nft) update(from, to content) error {
	c, err := k.open()
	if err != nil {
		return err
	}
	if err := change(c, newSets(k.table()), from, to); err != nil {
		return err
	}
	return c.Flush()
}

// change adds to a transaction what turns one content into another.
func change(c *nftables.Conn, s sets, from, to content) error {
	return errors.Join(
		changeSet(c, s.tunnels, from.tunnels, to.tunnels, strings.Compare, deviceElement),
		changeSet(c, s.guarded, from.guarded, to.guarded, strings.Compare, deviceElement),
		changeSet(c, s.same, from.same, to.same, comparePairs, func(p pair, _ bool) nftables.SetElement {
			return nftables.SetElement{Key: slices.Concat(ifname(p.in), ifname(p.out))}
		}),
		changeSet(c, s.mss4, from.mss4, to.mss4, strings.Compare, sizeElement),
		changeSet(c, s.mss6, from.mss6, to.mss6, strings.Compare, sizeElement),
		changeWire(c, s.wire, from.wire, to.wire),
		changeSet(c, s.in, from.watched, to.watched, strings.Compare, deviceElement),
		changeSet(c, s.out, from.watched, to.watched, strings.Compare, deviceElement),
	)
}

func deviceElement(name string, _ bool) nftables.SetElement {
	return nftables.SetElement{Key: ifname(name)}
}

func sizeElement(name string, size uint16) nftables.SetElement {
	return nftables.SetElement{Key: ifname(name), Val: binaryutil.BigEndian.PutUint16(size)}
}

// changeSet deletes before it adds: an element's value can only change that way. Inside a transaction that is no gap.
func changeSet[K, V comparable](
	c *nftables.Conn, set *nftables.Set, from, to map[K]V, compare func(a, b K) int, element func(K, V) nftables.SetElement,
) error {
	changes := delta.Diff(from, to, func(a, b V) bool { return a == b }, compare)
	var stale, fresh []nftables.SetElement
	for _, k := range slices.Concat(changes.Remove, changes.Change) {
		stale = append(stale, element(k, from[k]))
	}
	for _, k := range slices.Concat(changes.Change, changes.Add) {
		fresh = append(fresh, element(k, to[k]))
	}
	for part := range slices.Chunk(stale, elementsAtOnce) {
		if err := c.SetDeleteElements(set, part); err != nil {
			return fmt.Errorf("delete elements of set %s: %w", set.Name, err)
		}
	}
	for part := range slices.Chunk(fresh, elementsAtOnce) {
		if err := c.SetAddElements(set, part); err != nil {
			return fmt.Errorf("add elements to set %s: %w", set.Name, err)
		}
	}
	return nil
}

// Registers of 16 bytes; a key over two of them is one of 32 bytes.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG_2
)

func meta(key expr.MetaKey, register uint32) expr.Any {
	return &expr.Meta{Key: key, Register: register}
}

func lookup(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: reg1, SetName: s.Name, SetID: s.ID}
}

// addRules adds the chains and their rules. As nft would print them:
//
//	chain mss { type filter hook forward priority mangle; policy accept;
//	  meta nfproto ipv4 tcp flags & (syn | rst) == syn tcp option maxseg size set meta oifname map @mss4
//	  … meta sdifname map @mss4, and both again for ipv6 and @mss6
//	  meta sdifname @forwarded_in
//	  meta oifname @forwarded_out
//	}
//	chain forward { type filter hook forward priority filter; policy accept;
//	  meta sdifname . meta oifname @same_connection accept
//	  meta sdifname @guarded meta oifname @tunnels counter name "transit_dropped" drop
//	  meta sdifname @tunnels meta oifname @guarded counter name "transit_dropped" drop
//	}
//
// The kernel only ever lowers the segment size of a packet (net/netfilter/nft_exthdr.c, nft_exthdr_tcp_set_eval).
func addRules(c *nftables.Conn, t *nftables.Table, s sets) {
	accept := nftables.ChainPolicyAccept
	chain := func(name string, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{
			Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: priority, Policy: &accept,
		})
	}
	mss := chain(chainMSS, nftables.ChainPriorityMangle)
	for _, f := range []struct {
		family byte
		sizes  *nftables.Set
	}{{unix.NFPROTO_IPV4, s.mss4}, {unix.NFPROTO_IPV6, s.mss6}} {
		for _, device := range []expr.MetaKey{expr.MetaKeyOIFNAME, metaSDIFName} {
			c.AddRule(&nftables.Rule{Table: t, Chain: mss, Exprs: clamp(f.family, device, f.sizes)})
		}
	}
	for _, x := range []struct {
		device expr.MetaKey
		set    *nftables.Set
	}{{metaSDIFName, s.in}, {expr.MetaKeyOIFNAME, s.out}} {
		c.AddRule(&nftables.Rule{Table: t, Chain: mss, Exprs: []expr.Any{meta(x.device, reg1), lookup(x.set)}})
	}
	forward := chain(chainForward, nftables.ChainPriorityFilter)
	c.AddRule(&nftables.Rule{
		Table: t, Chain: forward, UserData: userdata.AppendString(nil, userdata.TypeComment, rulesMark),
		Exprs: []expr.Any{
			meta(metaSDIFName, reg1), meta(expr.MetaKeyOIFNAME, reg2), lookup(s.same),
			&expr.Verdict{Kind: expr.VerdictAccept},
		},
	})
	for _, x := range []struct{ in, out *nftables.Set }{{s.guarded, s.tunnels}, {s.tunnels, s.guarded}} {
		c.AddRule(&nftables.Rule{Table: t, Chain: forward, Exprs: []expr.Any{
			meta(metaSDIFName, reg1), lookup(x.in),
			meta(expr.MetaKeyOIFNAME, reg1), lookup(x.out),
			&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: counterDrops},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
}

// clamp lowers the maximum segment size in SYN packets of one family to what the map says of a device.
func clamp(family byte, device expr.MetaKey, sizes *nftables.Set) []expr.Any {
	const (
		flagsOffset = 13 // of the TCP header, RFC 9293 §3.1
		syn, rst    = 1 << 1, 1 << 2
		optionMSS   = 2 // RFC 9293 §3.2
	)
	toSize := lookup(sizes).(*expr.Lookup)
	toSize.DestRegister, toSize.IsDestRegSet = reg1, true
	return []expr.Any{
		meta(expr.MetaKeyNFPROTO, reg1), equal(family),
		meta(expr.MetaKeyL4PROTO, reg1), equal(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: flagsOffset, Len: 1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 1, Mask: []byte{syn | rst}, Xor: []byte{0}},
		equal(syn),
		meta(device, reg1), toSize,
		&expr.Exthdr{SourceRegister: reg1, Op: expr.ExthdrOpTcpopt, Type: optionMSS, Offset: 2, Len: 2},
	}
}

func (k nft) remove() error {
	c, err := k.open()
	if err != nil {
		return err
	}
	t := k.table()
	c.AddTable(t)
	c.DelTable(t)
	return c.Flush()
}
