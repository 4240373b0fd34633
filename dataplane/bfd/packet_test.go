package bfd

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPacket compares with packets written by hand from RFC 5880 §4.1.
func TestPacket(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		packet     control
	}{
		{"down, first", "2040031800000007000000000 00f424 0000493e0 00000000", control{
			state: codeDown, multiplier: 3, mine: 7, minTx: time.Second, minRx: 300 * time.Millisecond}},
		{"up with poll", "20e0051800000007000000090000c350 0000c350 00000000", control{
			state: codeUp, poll: true, multiplier: 5, mine: 7, yours: 9, minTx: 50 * time.Millisecond, minRx: 50 * time.Millisecond}},
		{"admin down with its diagnostic", "2712031800000007000000090000c350 0000c350 00000000", control{
			diag: diagAdminDown, state: codeAdminDown, final: true, demand: true, multiplier: 3, mine: 7, yours: 9,
			minTx: 50 * time.Millisecond, minRx: 50 * time.Millisecond}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := hex.DecodeString(strings.ReplaceAll(tt.wire, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wire, tt.packet.append(nil)); diff != "" {
				t.Error(diff)
			}
			got, err := parse(wire)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.packet, got, cmp.AllowUnexported(control{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := control{state: codeUp, multiplier: 3, mine: 7, yours: 9, minTx: time.Second, minRx: time.Second}
	for _, tt := range []struct {
		name  string
		spoil func([]byte) []byte
		want  string
	}{
		{"empty", func([]byte) []byte { return nil }, "shorter"},
		{"cut off", func(b []byte) []byte { return b[:23] }, "shorter"},
		{"version 2", func(b []byte) []byte { b[0] = 2 << 5; return b }, "version"},
		{"length too small", func(b []byte) []byte { b[3] = 23; return b }, "length"},
		{"length beyond the end", func(b []byte) []byte { b[3] = 25; return b }, "length"},
		{"authentication", func(b []byte) []byte { b[1] |= flagAuth; return b }, "authentication"},
		{"multipoint", func(b []byte) []byte { b[1] |= flagMultipart; return b }, "multipoint"},
		{"no multiplier", func(b []byte) []byte { b[2] = 0; return b }, "multiplier"},
		{"no discriminator", func(b []byte) []byte { b[7] = 0; return b }, "my discriminator"},
		{"up without ours", func(b []byte) []byte { b[11] = 0; return b }, "your discriminator"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(tt.spoil(good.append(nil)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
	if _, err := parse(append(good.append(nil), 1, 2, 3)); err != nil {
		t.Errorf("with something behind it: %v", err)
	}
}

// FuzzParse: what is taken is written back as it was, but for the echo interval and what is behind the packet.
func FuzzParse(f *testing.F) {
	f.Add(control{state: codeInit, multiplier: 3, mine: 7, yours: 9, minTx: time.Second, minRx: time.Second}.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parse(b)
		if err != nil {
			return
		}
		again, err := parse(c.append(nil))
		if err != nil || again != c {
			t.Errorf("%+v, again %+v, %v", c, again, err)
		}
		m := newMachine(time.Second, 3, 9, func() float64 { return 0.5 }, time.Unix(0, 0))
		if _, err := m.receive(c, time.Unix(1, 0)); err == nil && m.heard.IsZero() {
			t.Error("taken without a trace")
		}
	})
}
