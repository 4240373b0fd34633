package allocate

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Half is half of a point-to-point prefix: a /31 or a /127. Two inside prefixes overlap exactly when they share a half.
type Half = netip.Prefix

// Halves returns the halves of an inside prefix: one of a /31 or /127, two of a /30 or /126, none of anything else.
func Halves(p netip.Prefix) []Half {
	full := p.Addr().BitLen() - 1
	if !p.IsValid() || p.Bits() > full || p.Bits() < full-1 {
		return nil
	}
	low := netip.PrefixFrom(p.Masked().Addr(), full)
	if p.Bits() == full {
		return []Half{low}
	}
	return []Half{low, netip.PrefixFrom(low.Addr().Next().Next(), full)}
}

// metadataService is where instances of most clouds ask about themselves; a prefix with it would be a surprise to somebody.
func metadataService() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 169, 254}) }

// ErrNoInside: every prefix of every pool is taken.
var ErrNoInside = errors.New("no inside prefix is free")

// Inside returns the first /30 (of an IPv6 pool: /126) in the pools of which no half is taken, as the cloud's address with its prefix
// length and the customer's address.
func Inside(pools []netip.Prefix, taken func(Half) bool) (cloud netip.Prefix, customer netip.Addr, err error) {
	for _, pool := range pools {
		bits := pool.Addr().BitLen() - 2
		if pool.Bits() > bits {
			continue
		}
		for base := pool.Masked().Addr(); base.IsValid() && pool.Contains(base); base = plus(base, 4) {
			p := netip.PrefixFrom(base, bits)
			if p.Contains(metadataService()) {
				continue
			}
			free := true
			for _, h := range Halves(p) {
				free = free && !taken(h)
			}
			if free {
				return netip.PrefixFrom(base.Next(), bits), plus(base, 2), nil
			}
		}
	}
	return netip.Prefix{}, netip.Addr{}, ErrNoInside
}

// plus adds a small number to an address; the result is not valid behind the last one.
func plus(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		raw := a.As4()
		v := uint64(binary.BigEndian.Uint32(raw[:])) + n
		if v > 1<<32-1 {
			return netip.Addr{}
		}
		binary.BigEndian.PutUint32(raw[:], uint32(v))
		return netip.AddrFrom4(raw)
	}
	raw := a.As16()
	low := binary.BigEndian.Uint64(raw[8:])
	if low+n < low {
		high := binary.BigEndian.Uint64(raw[:8]) + 1
		if high == 0 {
			return netip.Addr{}
		}
		binary.BigEndian.PutUint64(raw[:8], high)
	}
	binary.BigEndian.PutUint64(raw[8:], low+n)
	return netip.AddrFrom16(raw)
}
