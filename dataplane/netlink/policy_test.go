package netlink

import (
	"encoding/binary"
	"testing"

	"github.com/vishvananda/netlink/nl"
)

func policyMessage(direction byte, ifID, spi uint32) []byte {
	m := make([]byte, nl.SizeofXfrmUserpolicyInfo)
	m[0], m[policyDirection] = 9, direction
	template := make([]byte, nl.SizeofXfrmUserTmpl)
	binary.BigEndian.PutUint32(template[templateSPI:], spi)
	m = append(m, nl.NewRtAttr(nl.XFRMA_TMPL, template).Serialize()...)
	if ifID != 0 {
		m = append(m, nl.NewRtAttr(nl.XFRMA_IF_ID, nl.Uint32Attr(ifID)).Serialize()...)
	}
	return m
}

func TestParsePolicy(t *testing.T) {
	for _, test := range []struct {
		name     string
		m        []byte
		want     Policy
		relevant bool
		bad      bool
	}{
		{name: "out", m: policyMessage(1, 7, 0xc0000001), relevant: true,
			want: Policy{IfID: 7, Out: true, SPI: 0xc0000001, Selector: [56]byte{9}, Direction: 1}},
		{name: "in", m: policyMessage(0, 7, 0), relevant: true, want: Policy{IfID: 7, Selector: [56]byte{9}}},
		{name: "without if_id", m: policyMessage(1, 0, 1), want: Policy{Out: true, SPI: 1, Selector: [56]byte{9}, Direction: 1}},
		{name: "without template", m: make([]byte, nl.SizeofXfrmUserpolicyInfo)},
		{name: "short", m: make([]byte, 10), bad: true},
		{name: "broken attribute", m: append(make([]byte, nl.SizeofXfrmUserpolicyInfo), 0xff, 0xff, 1, 0), bad: true},
	} {
		got, relevant, err := parsePolicy(test.m)
		if got != test.want || relevant != test.relevant || (err != nil) != test.bad {
			t.Errorf("%s: %+v, %v, %v", test.name, got, relevant, err)
		}
	}
}

// FuzzParsePolicy: the kernel is trusted, but a newer one may send what this code has not seen.
func FuzzParsePolicy(f *testing.F) {
	f.Add(policyMessage(1, 7, 0xc0000001))
	f.Fuzz(func(t *testing.T, m []byte) {
		if p, relevant, err := parsePolicy(m); relevant && (err != nil || p.IfID == 0) {
			t.Errorf("%+v, %v", p, err)
		}
	})
}
