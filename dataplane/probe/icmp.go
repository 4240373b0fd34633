package probe

import (
	"encoding/binary"
	"errors"
)

// ICMP types of RFC 792 and RFC 4443 §4.
const (
	icmpEchoReply     = 0
	icmpEchoRequest   = 8
	icmpv6EchoRequest = 128
	icmpv6EchoReply   = 129
)

// An echo message, 32 bytes: type, code, checksum, identifier, sequence number (8 bytes together), then as data the
// magic, the token of the sender and the whole sequence number, of which the header's is the lower half-word.
const (
	messageLen = 32
	magic      = "bordergw"
)

// putRequest writes the echo request into b. The checksum of ICMPv6, which covers a pseudo-header with addresses, is left
// to the kernel (RFC 3542 §3.1).
func putRequest(b *[messageLen]byte, v6 bool, id uint16, token, seq uint64) {
	*b = [messageLen]byte{0: icmpEchoRequest}
	if v6 {
		b[0] = icmpv6EchoRequest
	}
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	copy(b[8:], magic)
	binary.BigEndian.PutUint64(b[16:], token)
	binary.BigEndian.PutUint64(b[24:], seq)
	if !v6 {
		binary.BigEndian.PutUint16(b[2:], checksum(b[:]))
	}
}

// parseReply returns the sequence number of an echo reply to a request with this id and token; false for anything else.
// The kernel has verified an ICMPv6 checksum before; for ICMP, raw sockets get messages before it does (net/ipv4/icmp.c).
func parseReply(b []byte, v6 bool, id uint16, token uint64) (seq uint64, ok bool) {
	kind := byte(icmpEchoReply)
	if v6 {
		kind = icmpv6EchoReply
	}
	if len(b) != messageLen || b[0] != kind || b[1] != 0 || string(b[8:16]) != magic {
		return 0, false
	}
	if binary.BigEndian.Uint16(b[4:]) != id || binary.BigEndian.Uint64(b[16:]) != token {
		return 0, false
	}
	if !v6 && checksum(b) != 0 {
		return 0, false
	}
	seq = binary.BigEndian.Uint64(b[24:])
	return seq, uint16(seq) == binary.BigEndian.Uint16(b[6:])
}

// checksum is that of RFC 1071 over b, whose length is even. Over a message that holds its right checksum it is 0.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

var errShortPacket = errors.New("not a whole IPv4 header")

// ipv4Payload returns what follows the IPv4 header, which raw sockets of AF_INET deliver (raw(7)).
func ipv4Payload(packet []byte) ([]byte, error) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return nil, errShortPacket
	}
	header := int(packet[0]&0xf) * 4
	if header < 20 || header > len(packet) {
		return nil, errShortPacket
	}
	return packet[header:], nil
}
