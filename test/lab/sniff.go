package lab

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// Packet is what a Sniffer knows about one IP packet.
type Packet struct {
	Outgoing bool // sent by the host, as opposed to received
	Src, Dst netip.Addr
	Protocol uint8  // of the IP header; the first next header for IPv6
	Length   int    // of the IP packet as it passed the interface
	Fragment bool   // one of several parts of a packet
	Payload  []byte // after the IP header; valid during the call only, and at most 2 kB of it
}

// Sniffer counts packets at an interface.
type Sniffer struct {
	fd    int
	match func(Packet) bool
	done  chan struct{}
	once  sync.Once

	mu      sync.Mutex
	count   int
	err     error
	stopped bool
}

// Sniff begins to count the IP packets at an interface for which match returns true. match runs in one goroutine.
func (h *Host) Sniff(link string, match func(Packet) bool) *Sniffer {
	h.lab.t.Helper()
	s := &Sniffer{match: match, done: make(chan struct{})}
	err := h.Do(func() (err error) {
		s.fd, err = h.packetSocket(link)
		return err
	})
	h.lab.must(err, "%s: sniff at %s", h.name, link)
	go s.read()
	h.lab.onClose(func() { _, _ = s.Stop() })
	return s
}

func (h *Host) packetSocket(link string) (int, error) {
	l, err := h.nl.LinkByName(link)
	if err != nil {
		return -1, err
	}
	// The protocol is given to bind only: a socket with a protocol would receive from all interfaces until then.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}) // in network byte order
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		// Wakes the reader up now and then, to see whether it should stop.
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index}))
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (s *Sniffer) read() {
	defer close(s.done)
	defer func() { _ = unix.Close(s.fd) }()
	buf := make([]byte, 2048)
	for {
		// MSG_TRUNC: n is the packet's length, also when that is more than the buffer.
		n, from, err := unix.Recvfrom(s.fd, buf, unix.MSG_TRUNC)
		s.mu.Lock()
		stopped := s.stopped
		s.mu.Unlock()
		switch {
		case errors.Is(err, unix.EAGAIN) && stopped:
			s.checkLoss()
			return
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
			return
		}
		ll, _ := from.(*unix.SockaddrLinklayer)
		packet, ok := parsePacket(buf[:min(n, len(buf))], n)
		if !ok || ll == nil {
			continue
		}
		packet.Outgoing = ll.Pkttype == unix.PACKET_OUTGOING
		if s.match(packet) {
			s.mu.Lock()
			s.count++
			s.mu.Unlock()
		}
	}
}

// checkLoss makes an error of packets that the kernel could not deliver: the count would be too small.
func (s *Sniffer) checkLoss() {
	stats, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil && stats.Drops > 0 {
		err = errors.New("the sniffer was too slow and missed packets")
	}
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
}

// Count is how many packets matched so far. Packets of the last moment may not be counted yet.
func (s *Sniffer) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Stop ends the counting after everything that has arrived was looked at, and returns the count. The error says that
// packets may have been missed. It may be called more than once.
func (s *Sniffer) Stop() (int, error) {
	s.once.Do(func() {
		s.mu.Lock()
		s.stopped = true
		s.mu.Unlock()
		<-s.done
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.err
}

// parsePacket reads the IP header. b may hold the beginning of the packet only.
func parsePacket(b []byte, length int) (Packet, bool) {
	p := Packet{Length: length}
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && len(b) >= int(b[0]&0xf)*4:
		p.Protocol = b[9]
		p.Fragment = binary.BigEndian.Uint16(b[6:])&0x3fff != 0 // more fragments, or an offset
		p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.Payload = b[int(b[0]&0xf)*4:]
	case len(b) >= 40 && b[0]>>4 == 6:
		p.Protocol = b[6]
		p.Fragment = p.Protocol == unix.IPPROTO_FRAGMENT
		p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		p.Payload = b[40:]
	default:
		return Packet{}, false
	}
	return p, true
}
