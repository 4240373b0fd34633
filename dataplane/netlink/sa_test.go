package netlink

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func saMessage(family uint16, src, dst []byte, ifID uint32) []byte {
	m := make([]byte, nl.SizeofXfrmUsersaInfo)
	copy(m[saDestination:], dst)
	copy(m[saSource:], src)
	binary.BigEndian.PutUint32(m[saSPI:], 0xc0000001)
	for i, n := range []uint32{1, 2, 3} {
		binary.NativeEndian.PutUint32(m[saErrors+4*i:], n)
	}
	binary.NativeEndian.PutUint16(m[saFamily:], family)
	return append(m, nl.NewRtAttr(nl.XFRMA_IF_ID, nl.Uint32Attr(ifID)).Serialize()...)
}

func TestParseSA(t *testing.T) {
	spi, errors := uint32(0xc0000001), SAErrors{OutsideWindow: 1, Replayed: 2, IntegrityFailed: 3}
	v6 := netip.MustParseAddr("2001:db8::1").As16()
	for _, test := range []struct {
		name string
		m    []byte
		want SA
		bad  bool
	}{
		{name: "IPv4", m: saMessage(unix.AF_INET, []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}, 7),
			want: SA{IfID: 7, Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("192.0.2.2"), SPI: spi, Larval: true, Errors: errors}},
		{name: "with keys", m: append(saMessage(unix.AF_INET, []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}, 7), nl.NewRtAttr(nl.XFRMA_ALG_AEAD, make([]byte, 8)).Serialize()...),
			want: SA{IfID: 7, Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("192.0.2.2"), SPI: spi, Errors: errors}},
		{name: "IPv6", m: saMessage(unix.AF_INET6, v6[:], v6[:], 8), want: SA{IfID: 8, Source: netip.AddrFrom16(v6), Destination: netip.AddrFrom16(v6), SPI: spi, Larval: true, Errors: errors}},
		{name: "short", m: make([]byte, 10), bad: true},
		{name: "no family", m: saMessage(0, nil, nil, 1), bad: true},
		{name: "broken attribute", m: append(make([]byte, nl.SizeofXfrmUsersaInfo), 0xff, 0xff, 0), bad: true},
	} {
		got, err := parseSA(test.m)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

// FuzzParseSA: the kernel is trusted, but a newer one may send what this code has not seen.
func FuzzParseSA(f *testing.F) {
	f.Add(saMessage(unix.AF_INET, []byte{192, 0, 2, 1}, []byte{192, 0, 2, 2}, 7))
	f.Fuzz(func(t *testing.T, m []byte) {
		if sa, err := parseSA(m); err == nil && (!sa.Source.IsValid() || !sa.Destination.IsValid()) {
			t.Errorf("no addresses: %+v", sa)
		}
	})
}
