// Package icmp reads and writes ICMP echo messages (RFC 792, RFC 4443) that carry a 64-bit sequence number.
package icmp

import (
	"encoding/binary"
	"errors"
)

// Message types.
const (
	EchoRequest4 = 8
	EchoReply4   = 0
	EchoRequest6 = 128
	EchoReply6   = 129
)

// HeaderLen is the length of an echo message without data.
const HeaderLen = 8

// MinData is the least data that Request needs for its own numbers.
const MinData = 16

// ErrOther is returned for messages that are no replies to the requests in question.
var ErrOther = errors.New("not a reply to these requests")

// Request returns an echo request with dataLen bytes of data. The 16-bit sequence number on the wire is the low part of
// seq; run and seq are in the data. For IPv6 the kernel fills in the checksum.
func Request(v6 bool, id uint16, run, seq uint64, dataLen int) []byte {
	b := make([]byte, HeaderLen+max(dataLen, MinData))
	b[0] = EchoRequest4
	if v6 {
		b[0] = EchoRequest6
	}
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	binary.BigEndian.PutUint64(b[HeaderLen:], run)
	binary.BigEndian.PutUint64(b[HeaderLen+8:], seq)
	for i := HeaderLen + MinData; i < len(b); i++ {
		b[i] = byte(i)
	}
	if !v6 {
		binary.BigEndian.PutUint16(b[2:], Checksum(b))
	}
	return b
}

// Reply returns the sequence number of a reply to a request of this run, or ErrOther. packet is what a raw socket
// reads: for IPv4 it begins with the IP header, for IPv6 with the ICMP header.
func Reply(v6 bool, packet []byte, id uint16, run uint64) (seq uint64, err error) {
	kind := byte(EchoReply6)
	if !v6 {
		kind = EchoReply4
		if len(packet) < 20 || len(packet) < int(packet[0]&0xf)*4 {
			return 0, ErrOther
		}
		packet = packet[int(packet[0]&0xf)*4:]
	}
	if len(packet) < HeaderLen+MinData || packet[0] != kind || packet[1] != 0 {
		return 0, ErrOther
	}
	seq = binary.BigEndian.Uint64(packet[HeaderLen+8:])
	switch {
	case binary.BigEndian.Uint16(packet[4:]) != id, binary.BigEndian.Uint64(packet[HeaderLen:]) != run,
		binary.BigEndian.Uint16(packet[6:]) != uint16(seq):
		return 0, ErrOther
	}
	for i := HeaderLen + MinData; i < len(packet); i++ {
		if packet[i] != byte(i) {
			return 0, errors.New("the reply's data differs from the request's")
		}
	}
	return seq, nil
}

// Checksum is the Internet checksum (RFC 1071) of b.
func Checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
