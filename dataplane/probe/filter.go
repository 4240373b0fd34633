package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// replyFilter returns a classic BPF program that accepts echo replies from peer with this identifier. Every raw ICMP socket gets a
// copy of every ICMP message that its addresses and device fit; this one throws the foreign ones away before the process is woken.
func replyFilter(peer netip.Addr, id uint16) []unix.SockFilter {
	var p program
	if peer.Is4() {
		// Raw sockets of AF_INET filter from the IPv4 header on; its length goes into X.
		p.load(unix.BPF_W|unix.BPF_ABS, 12)
		p.require(binary.BigEndian.Uint32(peer.AsSlice()))
		p.stmt(unix.BPF_LDX|unix.BPF_B|unix.BPF_MSH, 0)
		p.load(unix.BPF_B|unix.BPF_IND, 0)
		p.require(icmpEchoReply)
		p.load(unix.BPF_H|unix.BPF_IND, 4)
		p.require(uint32(id))
		return p.end()
	}
	// Those of AF_INET6 filter from the ICMPv6 header on; the IPv6 header is found by the network offset.
	p.load(unix.BPF_B|unix.BPF_ABS, 0)
	p.require(icmpv6EchoReply)
	p.load(unix.BPF_H|unix.BPF_ABS, 4)
	p.require(uint32(id))
	for word, address := 0, peer.AsSlice(); word < 4; word++ {
		p.load(unix.BPF_W|unix.BPF_ABS, networkHeader+ipv6Source+uint32(4*word))
		p.require(binary.BigEndian.Uint32(address[4*word:]))
	}
	return p.end()
}

const (
	networkHeader = 0x1_0000_0000 - 0x100000 // SKF_NET_OFF of linux/filter.h, -0x100000 in 32 bits
	ipv6Source    = 8
)

// program is a filter in the making: every failed requirement jumps to the last instruction, which drops.
type program []unix.SockFilter

func (p *program) stmt(code uint16, k uint32) {
	*p = append(*p, unix.SockFilter{Code: code, K: k})
}

func (p *program) load(how uint16, k uint32) { p.stmt(unix.BPF_LD|how, k) }

func (p *program) require(k uint32) { p.stmt(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, k) }

func (p *program) end() []unix.SockFilter {
	p.stmt(unix.BPF_RET|unix.BPF_K, 0xffff)
	p.stmt(unix.BPF_RET|unix.BPF_K, 0)
	drop := len(*p) - 1
	for i := range *p {
		if in := &(*p)[i]; in.Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
			in.Jf = uint8(drop - i - 1)
		}
	}
	return *p
}
