package bfd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// port is where control packets of single-hop sessions go to (RFC 5881 §4).
	port = 3784
	// sourceMin and sourceMax bound the port they come from (RFC 5881 §4).
	sourceMin, sourceMax = 49152, 65535
	// hops is the TTL of packets that no router has passed on (RFC 5881 §5).
	hops = 255
	// internetControl is the TOS byte of class selector 6 (RFC 4594 §3.1): a full link must not end sessions.
	internetControl = 0xc0
	// sourceTries is how many source ports are tried before giving up.
	sourceTries = 16
)

// socket is the pair of UDP sockets of a session: packets arrive at one port and leave from another.
//
// Both are bound to the XFRM interface itself although it is enslaved to a VRF: packets that come in by a slave find sockets bound to
// either (udp_sk_bound_dev_eq in include/net/udp.h), and of two tunnels of one VRF none gets the other's. Neither is connected: the
// kernel's ICMP errors, which it sends itself while a tunnel has no SA, would otherwise fail the next call.
type socket struct {
	device      string
	index       int
	peer        netip.Addr
	destination unix.Sockaddr
	out         int
	in          *os.File
	raw         syscall.RawConn
	control     []byte
	interrupted atomic.Bool
}

// Listen opens the sockets of a target in the network namespace of the calling thread. It needs CAP_NET_RAW, the device, and the local
// address on that device.
func Listen(t Target) (Conn, error) {
	s := &socket{device: t.Device, peer: t.Peer, out: -1, control: make([]byte, 128)}
	in, index, err := open(t)
	if err != nil {
		return nil, err
	}
	s.index = index
	// From here on the file closes it.
	s.in = os.NewFile(uintptr(in), "bfd "+t.Device)
	if err := s.setup(in, t); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *socket) setup(in int, t Target) (err error) {
	if s.raw, err = s.in.SyscallConn(); err != nil {
		return err
	}
	level, receive := unix.IPPROTO_IP, unix.IP_RECVTTL
	if t.Local.Is6() {
		level, receive = unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT
	}
	if err := unix.SetsockoptInt(in, level, receive, 1); err != nil {
		return os.NewSyscallError("ask for the TTL", err)
	}
	if err := unix.Bind(in, sockaddr(t.Local, port)); err != nil {
		return fmt.Errorf("bind to %v port %d on device %s: %w", t.Local, port, t.Device, err)
	}
	if s.out, _, err = open(t); err != nil {
		return err
	}
	s.destination = sockaddr(t.Peer, port)
	if err := markOutgoing(s.out, t.Local.Is6()); err != nil {
		return err
	}
	for range sourceTries {
		err = unix.Bind(s.out, sockaddr(t.Local, sourceMin+rand.IntN(sourceMax-sourceMin+1)))
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("bind to %v on device %s: %w", t.Local, t.Device, err)
	}
	return nil
}

// open returns a UDP socket that belongs to the device. The device is found by name and bound by index: that tells a recreated device
// from the one that this socket serves.
func open(t Target) (fd, index int, err error) {
	family := unix.AF_INET
	if t.Local.Is6() {
		family = unix.AF_INET6
	}
	if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP); err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if index, err = interfaceIndex(fd, t.Device); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("device %s: %w", t.Device, err)
	}
	return fd, index, nil
}

// interfaceIndex asks in the network namespace of the socket fd, which need not be that of the calling thread.
func interfaceIndex(fd int, name string) (int, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}

func markOutgoing(fd int, v6 bool) error {
	level, ttl, tos := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	if v6 {
		level, ttl, tos = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	}
	if err := unix.SetsockoptInt(fd, level, ttl, hops); err != nil {
		return os.NewSyscallError("set the TTL", err)
	}
	return os.NewSyscallError("set the traffic class", unix.SetsockoptInt(fd, level, tos, internetControl))
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: port}
}

// Send implements Conn.
func (s *socket) Send(packet []byte) error {
	err := unix.Sendto(s.out, packet, unix.MSG_DONTWAIT, s.destination)
	if err == nil {
		return nil
	}
	if index, lookup := interfaceIndex(s.out, s.device); lookup != nil || index != s.index {
		return fmt.Errorf("send on %s: %w (%w)", s.device, err, ErrStale)
	}
	return fmt.Errorf("send on %s: %w", s.device, err)
}

// Receive implements Conn.
func (s *socket) Receive(buf []byte, deadline time.Time) ([]byte, error) {
	if n, ok := s.waiting(buf); ok {
		return buf[:n], nil
	}
	if err := s.in.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	if s.interrupted.Swap(false) {
		return nil, os.ErrDeadlineExceeded
	}
	var n int
	var ok bool
	if err := s.raw.Read(func(fd uintptr) bool { n, ok = s.take(int(fd), buf); return ok }); err == nil {
		return buf[:n], nil
	} else if !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, err
	}
	s.interrupted.Store(false)
	if n, ok := s.waiting(buf); ok {
		return buf[:n], nil
	}
	return nil, os.ErrDeadlineExceeded
}

// waiting returns a good packet that has arrived already, without regard to the deadline, which may have passed while this process
// could not run.
func (s *socket) waiting(buf []byte) (n int, ok bool) {
	err := s.raw.Control(func(fd uintptr) { n, ok = s.take(int(fd), buf) })
	return n, ok && err == nil
}

// take empties the queue up to the first good packet.
func (s *socket) take(fd int, buf []byte) (n int, ok bool) {
	for {
		length, controlLength, _, from, err := unix.Recvmsg(fd, buf, s.control, unix.MSG_DONTWAIT)
		if err != nil {
			return 0, false
		}
		if sender(from) == s.peer && ttl(s.control[:controlLength]) == hops {
			return length, true
		}
	}
}

func sender(from unix.Sockaddr) netip.Addr {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	}
	return netip.Addr{}
}

// ttl finds the TTL or hop limit among a packet's control messages; 0 when it is not there.
func ttl(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT
		if (v4 || v6) && len(m.Data) >= 4 {
			return int(m.Data[0]) | int(m.Data[1])<<8 | int(m.Data[2])<<16 | int(m.Data[3])<<24
		}
	}
	return 0
}

// Interrupt implements Conn.
func (s *socket) Interrupt() {
	s.interrupted.Store(true)
	_ = s.in.SetReadDeadline(time.Unix(1, 0)) // fails only when it is closed
}

// Close implements Conn.
func (s *socket) Close() error {
	err := s.in.Close()
	if s.out >= 0 {
		err = errors.Join(err, unix.Close(s.out))
	}
	return err
}
