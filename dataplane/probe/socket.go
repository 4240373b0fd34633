package probe

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a raw ICMP socket bound to a device and to the local address.
//
// The device is the XFRM interface itself although it is enslaved to a VRF. Outward, a socket bound to a slave has its
// route looked up in the VRF's table (l3mdev_update_flow) with the slave as the only device allowed. Inward, the packet
// belongs to the VRF device by then, but it remembers the slave as sdif, and the kernel gives it to sockets bound to either
// (inet_bound_dev_eq, inet6 alike). So of two tunnels of one VRF none gets the other's answers.
//
// It is not connected: a connected one would fail the next call with every ICMP error that comes back, and the kernel
// answers with such errors itself as long as a tunnel has no SA.
type socket struct {
	device string
	index  int
	file   *os.File
	raw    syscall.RawConn
	v6     bool

	// Arguments and result of transmit, which is made once so that Send allocates nothing.
	peer     unix.Sockaddr
	message  []byte
	sendErr  error
	transmit func(fd uintptr) bool
}

// Listen opens the raw socket of a target in the network namespace of the calling thread. It needs CAP_NET_RAW, the device, and the
// local address on that device or on another of the same VRF.
func Listen(t Target) (Conn, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if t.Local.Is6() {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{device: t.Device, v6: t.Local.Is6()}
	if err := s.setup(fd, t); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	s.file = os.NewFile(uintptr(fd), "icmp "+t.Device)
	if s.raw, err = s.file.SyscallConn(); err != nil {
		_ = s.file.Close()
		return nil, err
	}
	s.transmit = func(fd uintptr) bool {
		s.sendErr = unix.Sendto(int(fd), s.message, unix.MSG_DONTWAIT, s.peer)
		return true
	}
	return s, nil
}

func (s *socket) setup(fd int, t Target) error {
	// First of all, because a socket without filter, device and address gets the whole host's ICMP.
	program := replyFilter(t.Peer, identifier(t.Tunnel))
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return os.NewSyscallError("attach filter", err)
	}
	if s.index, err = interfaceIndex(fd, s.device); err != nil {
		return fmt.Errorf("device %s: %w", s.device, err)
	}
	// By index, not by name: the index is what tells a recreated device from the one that this socket serves.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, s.index); err != nil {
		return fmt.Errorf("bind to device %s: %w", s.device, err)
	}
	var local unix.Sockaddr
	if s.v6 {
		l, p := &unix.SockaddrInet6{Addr: t.Local.As16()}, &unix.SockaddrInet6{Addr: t.Peer.As16()}
		if t.Local.IsLinkLocalUnicast() {
			l.ZoneId = uint32(s.index)
		}
		if t.Peer.IsLinkLocalUnicast() {
			p.ZoneId = uint32(s.index)
		}
		local, s.peer = l, p
	} else {
		local, s.peer = &unix.SockaddrInet4{Addr: t.Local.As4()}, &unix.SockaddrInet4{Addr: t.Peer.As4()}
	}
	if err := unix.Bind(fd, local); err != nil {
		return fmt.Errorf("bind to %v on device %s: %w", t.Local, s.device, err)
	}
	return nil
}

// Send implements Conn. Whatever the kernel answers while the device is down, its queue is full, or no SA or policy fits
// is returned as it is; only a device that is gone or another one under the same name makes the socket stale.
func (s *socket) Send(message []byte) error {
	s.message = message
	err := s.raw.Write(s.transmit)
	s.message = nil
	if err == nil {
		err = s.sendErr
	}
	if err == nil {
		return nil
	}
	if s.stale() {
		return fmt.Errorf("send on %s: %w (%w)", s.device, err, ErrStale)
	}
	return fmt.Errorf("send on %s: %w", s.device, err)
}

func (s *socket) stale() bool {
	stale := true
	err := s.raw.Control(func(fd uintptr) {
		index, err := interfaceIndex(int(fd), s.device)
		stale = err != nil || index != s.index
	})
	return err != nil || stale
}

// Receive implements Conn.
func (s *socket) Receive(buf []byte) ([]byte, error) {
	for {
		n, err := s.file.Read(buf)
		if err != nil {
			return nil, err
		}
		if s.v6 {
			return buf[:n], nil
		}
		if message, err := ipv4Payload(buf[:n]); err == nil {
			return message, nil
		}
	}
}

// Close implements Conn.
func (s *socket) Close() error { return s.file.Close() }

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
