package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab/internal/icmp"
)

// PingOptions describe a stream of echo requests.
type PingOptions struct {
	Src      string        // source address; the kernel's choice when empty
	Dst      string        // required
	Interval time.Duration // default 100 ms
	Count    int           // stop sending after so many; 0 means until Stop
	Device   string        // bind to this interface, a VRF for example
	Size     int           // bytes of data after the ICMP header; default 56
	DF       bool          // forbid fragmentation, and ignore the path MTU that the kernel knows
	Grace    time.Duration // how long Stop waits for replies; default 2 s
}

// PingStats say what became of every request.
type PingStats struct {
	Sent, Received, Lost, Duplicates int
	// SendErrors counts requests that the kernel refused, for want of a route for example. They are lost, too.
	SendErrors int
	SendError  error // the last one
	// LongestGap is the longest time between the sending of two requests that were answered, with some between that
	// were not; also from the start to the first, and from the last to the last request. Without loss it is 0: time in
	// which a slow machine sent nothing is no gap.
	LongestGap time.Duration
	// First and Last are the times of the first and the last reply.
	First, Last time.Time
	// MaxRTT is the longest round trip of an answered request.
	MaxRTT time.Duration
	// LostSeqs are the numbers of the lost requests, from 0.
	LostSeqs []int
}

func (s PingStats) String() string {
	return fmt.Sprintf("%d sent, %d received, %d lost, %d duplicates, %d send errors (%v), longest gap %v, longest round trip %v",
		s.Sent, s.Received, s.Lost, s.Duplicates, s.SendErrors, s.SendError, s.LongestGap.Round(time.Millisecond),
		s.MaxRTT.Round(time.Millisecond))
}

// Pinger sends echo requests in the background until Stop.
type Pinger struct {
	o    PingOptions
	v6   bool
	id   uint16
	run  uint64
	sock *os.File

	stop      chan struct{}
	stopOnce  sync.Once
	sending   chan struct{} // closed when nothing more is sent
	receiving chan struct{} // closed when nothing more is received

	mu    sync.Mutex
	probe []echo
	dups  int
	sends int // errors
	err   error
}

type echo struct{ sent, answered time.Time }

// Ping starts to send. The pinger stops when the lab ends, if it still runs.
func (h *Host) Ping(o PingOptions) *Pinger {
	h.lab.t.Helper()
	p, err := newPinger(h, o)
	h.lab.must(err, "%s: ping %s", h.name, o.Dst)
	go p.receive()
	go p.send()
	h.lab.onClose(func() { p.Stop() })
	return p
}

func newPinger(h *Host, o PingOptions) (*Pinger, error) {
	if o.Interval == 0 {
		o.Interval = 100 * time.Millisecond
	}
	if o.Size == 0 {
		o.Size = 56
	}
	if o.Grace == 0 {
		o.Grace = 2 * time.Second
	}
	dst, err := netip.ParseAddr(o.Dst)
	if err != nil {
		return nil, err
	}
	p := &Pinger{
		o: o, v6: dst.Is6(), id: uint16(rand.Uint32()), run: rand.Uint64(),
		stop: make(chan struct{}), sending: make(chan struct{}), receiving: make(chan struct{}),
	}
	err = h.Do(func() error {
		fd, err := rawSocket(dst, o)
		if err == nil {
			p.sock = os.NewFile(uintptr(fd), "ping "+o.Dst)
		}
		return err
	})
	return p, err
}

// rawSocket returns a non-blocking ICMP socket that sends to dst and receives from it only.
func rawSocket(dst netip.Addr, o PingOptions) (int, error) {
	family, proto, level, discover := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
	if dst.Is6() {
		family, proto, level, discover = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return -1, err
	}
	setup := func() error {
		if o.Device != "" {
			if err := unix.BindToDevice(fd, o.Device); err != nil {
				return fmt.Errorf("bind to %s: %w", o.Device, err)
			}
		}
		if o.DF {
			if err := unix.SetsockoptInt(fd, level, discover, unix.IP_PMTUDISC_PROBE); err != nil {
				return err
			}
		}
		if o.Src != "" {
			src, err := netip.ParseAddr(o.Src)
			if err != nil {
				return err
			}
			if err := unix.Bind(fd, sockaddr(src)); err != nil {
				return fmt.Errorf("bind to %s: %w", src, err)
			}
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20); err != nil {
			return err
		}
		return nil
	}
	if err := setup(); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

func (p *Pinger) send() {
	defer close(p.sending)
	dst := sockaddr(netip.MustParseAddr(p.o.Dst))
	ticker := time.NewTicker(p.o.Interval)
	defer ticker.Stop()
	for seq := 0; p.o.Count == 0 || seq < p.o.Count; seq++ {
		// Recorded before it is sent, so that no reply can come first.
		p.mu.Lock()
		p.probe = append(p.probe, echo{sent: time.Now()})
		p.mu.Unlock()
		if err := p.sendTo(dst, icmp.Request(p.v6, p.id, p.run, uint64(seq), p.o.Size)); err != nil {
			p.mu.Lock()
			p.sends, p.err = p.sends+1, err
			p.mu.Unlock()
		}
		select {
		case <-ticker.C:
		case <-p.stop:
			return
		}
	}
}

// sendTo sends without connecting, so that routes are looked up for every request and no ICMP error sticks.
func (p *Pinger) sendTo(dst unix.Sockaddr, packet []byte) error {
	raw, err := p.sock.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendto(int(fd), packet, 0, dst)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

func (p *Pinger) receive() {
	defer close(p.receiving)
	buf := make([]byte, 1<<16)
	for {
		n, err := p.sock.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue // an error of an earlier request, reported once
		}
		now := time.Now()
		seq, err := icmp.Reply(p.v6, buf[:n], p.id, p.run)
		if err != nil {
			continue
		}
		p.mu.Lock()
		if seq < uint64(len(p.probe)) {
			if e := &p.probe[seq]; e.answered.IsZero() {
				e.answered = now
			} else {
				p.dups++
			}
		}
		p.mu.Unlock()
	}
}

// Stop ends the sending, waits for replies that are still on their way, at most for the grace, and returns the result.
// It may be called more than once.
func (p *Pinger) Stop() PingStats {
	p.stopOnce.Do(func() {
		close(p.stop)
		<-p.sending
		p.awaitReplies()
		_ = p.sock.Close()
		<-p.receiving
	})
	return p.Stats()
}

// Wait returns the result when Count requests were sent and answered, or their grace is over.
func (p *Pinger) Wait() PingStats {
	<-p.sending
	return p.Stop()
}

func (p *Pinger) awaitReplies() {
	grace := time.NewTimer(p.o.Grace)
	defer grace.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for p.Stats().Lost > p.sendErrors() {
		select {
		case <-grace.C:
			return
		case <-poll.C:
		}
	}
}

func (p *Pinger) sendErrors() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sends
}

// Stats returns the result so far. Requests that are on their way count as lost.
func (p *Pinger) Stats() PingStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := pingStats(p.probe)
	s.Duplicates, s.SendErrors, s.SendError = p.dups, p.sends, p.err
	return s
}

func pingStats(probes []echo) PingStats {
	s := PingStats{Sent: len(probes)}
	if len(probes) == 0 {
		return s
	}
	last, lost := probes[0].sent, false
	for seq, e := range probes {
		if e.answered.IsZero() {
			s.LostSeqs = append(s.LostSeqs, seq)
			lost = true
			continue
		}
		s.Received++
		if lost {
			s.LongestGap = max(s.LongestGap, e.sent.Sub(last))
		}
		lost = false
		s.MaxRTT = max(s.MaxRTT, e.answered.Sub(e.sent))
		last = e.sent
		if s.First.IsZero() || e.answered.Before(s.First) {
			s.First = e.answered
		}
		if e.answered.After(s.Last) {
			s.Last = e.answered
		}
	}
	if lost {
		s.LongestGap = max(s.LongestGap, probes[len(probes)-1].sent.Sub(last))
	}
	s.Lost = s.Sent - s.Received
	return s
}
