package icmp

import (
	"errors"
	"testing"
)

// reply turns a request into what a raw socket reads when it is answered.
func reply(v6 bool, request []byte) []byte {
	if v6 {
		r := append([]byte(nil), request...)
		r[0] = EchoReply6
		return r
	}
	r := append(make([]byte, 24), request...)
	r[0] = 0x46 // version 4, a header of six words
	r[24] = EchoReply4
	return r
}

func TestReply(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		packet := reply(v6, Request(v6, 7, 99, 70000, 56))
		if seq, err := Reply(v6, packet, 7, 99); err != nil || seq != 70000 {
			t.Errorf("v6=%v: got %d, %v", v6, seq, err)
		}
		for name, got := range map[string]error{
			"another id":  second(Reply(v6, packet, 8, 99)),
			"another run": second(Reply(v6, packet, 7, 98)),
			"a request":   second(Reply(v6, Request(v6, 7, 99, 1, 56), 7, 99)),
			"too short":   second(Reply(v6, packet[:20], 7, 99)),
			"empty":       second(Reply(v6, nil, 7, 99)),
		} {
			if !errors.Is(got, ErrOther) {
				t.Errorf("v6=%v: %s: got %v, want ErrOther", v6, name, got)
			}
		}
		packet[len(packet)-1] ^= 1
		if _, err := Reply(v6, packet, 7, 99); err == nil {
			t.Errorf("v6=%v: changed data accepted", v6)
		}
	}
}

func second(_ uint64, err error) error { return err }

// The example of RFC 1071 section 3, whose sum is ddf2.
func TestChecksum(t *testing.T) {
	if got := Checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("got %04x", got)
	}
	request := Request(false, 1, 2, 3, 33)
	if got := Checksum(request); got != 0 {
		t.Errorf("a message with its checksum must sum to zero, got %04x", got)
	}
}

func FuzzReply(f *testing.F) {
	f.Add(true, reply(true, Request(true, 7, 99, 1, 20)))
	f.Add(false, reply(false, Request(false, 7, 99, 1, 20)))
	f.Fuzz(func(t *testing.T, v6 bool, packet []byte) { _, _ = Reply(v6, packet, 7, 99) })
}
