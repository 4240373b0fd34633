package probe

import (
	"bytes"
	"encoding/hex"
	"testing"
)

func request(v6 bool, id uint16, token, seq uint64) []byte {
	var b [messageLen]byte
	putRequest(&b, v6, id, token, seq)
	return b[:]
}

func TestRequest(t *testing.T) {
	for _, tc := range []struct {
		name string
		v6   bool
		want string
	}{
		// The checksum is 0xffff minus the sum of the other fifteen words modulo 0xffff (RFC 1071), computed apart from the code.
		{"ICMP", false, "0800" + "33f5" + "1234" + "0002" + "626f726465726777" + "0102030405060708" + "0000000000010002"},
		{"ICMPv6", true, "8000" + "0000" + "1234" + "0002" + "626f726465726777" + "0102030405060708" + "0000000000010002"},
	} {
		if got := hex.EncodeToString(request(tc.v6, 0x1234, 0x0102030405060708, 0x10002)); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestParseReply(t *testing.T) {
	const id, token, seq = 0x1234, 0xfeedface, 0x1_ffff
	flip := func(i int) func([]byte) []byte {
		return func(b []byte) []byte { b[i] ^= 1; return b }
	}
	for _, tc := range []struct {
		name   string
		v6     bool
		mangle func([]byte) []byte
		ok     bool
	}{
		{"ICMP", false, nil, true},
		{"ICMPv6", true, nil, true},
		{"request", false, func(b []byte) []byte { return request(false, id, token, seq) }, false},
		{"type", true, flip(0), false},
		{"code", true, flip(1), false},
		{"checksum", false, flip(2), false},
		{"id", true, flip(5), false},
		{"sequence number unlike the data's", true, flip(7), false},
		{"magic", true, flip(8), false},
		{"token", true, flip(23), false},
		{"cut", true, func(b []byte) []byte { return b[:messageLen-1] }, false},
		{"longer", true, func(b []byte) []byte { return append(b, 0) }, false},
		{"empty", false, func([]byte) []byte { return nil }, false},
		{"of the other family", true, func([]byte) []byte { return replyTo(request(false, id, token, seq)) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := replyTo(request(tc.v6, id, token, seq))
			if tc.mangle != nil {
				b = tc.mangle(b)
			}
			got, ok := parseReply(b, tc.v6, id, token)
			if ok != tc.ok || ok && got != seq {
				t.Errorf("%x: %#x, %v", b, got, ok)
			}
		})
	}
}

// FuzzParseReply: what is accepted is exactly the reply to our own request with that sequence number.
func FuzzParseReply(f *testing.F) {
	const id, token = 0xbeef, 0x0123456789abcdef
	for _, v6 := range []bool{false, true} {
		f.Add(replyTo(request(v6, id, token, 7)), v6)
		f.Add(request(v6, id, token, 7), v6)
	}
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		seq, ok := parseReply(b, v6, id, token)
		if !ok {
			return
		}
		want := replyTo(request(v6, id, token, seq))
		// ICMPv6's checksum is the kernel's to check. ICMP's may be written in two ways where it is zero.
		rightSum := v6 || checksum(b) == 0
		if !rightSum || !bytes.Equal(b[:2], want[:2]) || !bytes.Equal(b[4:], want[4:]) {
			t.Errorf("accepted %x, want %x", b, want)
		}
	})
}

// FuzzIPv4Payload: the payload is a tail of the packet behind at least 20 bytes.
func FuzzIPv4Payload(f *testing.F) {
	header := append([]byte{0x45}, make([]byte, 19)...)
	f.Add(append(header, "payload"...))
	f.Add(append([]byte{0x46}, make([]byte, 23)...))
	f.Add(append([]byte{0x4f}, make([]byte, 19)...))
	f.Add([]byte{0x60})
	f.Fuzz(func(t *testing.T, packet []byte) {
		payload, err := ipv4Payload(packet)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(packet, payload) || len(packet)-len(payload) != int(packet[0]&15)*4 || len(packet)-len(payload) < 20 {
			t.Errorf("payload %x of %x", payload, packet)
		}
	})
}
