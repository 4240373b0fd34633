package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// requestTimeout bounds every wait for the kernel's answer; a healthy kernel answers in microseconds.
	requestTimeout = 10 * time.Second
	// requestBuffer holds the acknowledgements of a batch and the parts of a dump.
	requestBuffer = 4 << 20
	// dumpAttempts is how often a dump is taken when the tables change under it.
	dumpAttempts = 5
)

// Handle is the [Kernel] of the network namespace in which it was opened.
type Handle struct {
	links *netlink.Handle
	// strict is a socket of our own: dumps on it are filtered by the kernel (NETLINK_GET_STRICT_CHK), errors carry the
	// kernel's text, and requests can be sent in batches.
	strict *nl.SocketHandle
	port   uint32
}

var _ Kernel = (*Handle)(nil)

// Open opens a handle on the calling thread's network namespace. Close it when nothing uses it any more.
func Open() (*Handle, error) {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	h := &Handle{links: links}
	if err := links.SetSocketTimeout(requestTimeout); err != nil {
		h.Close()
		return nil, fmt.Errorf("set rtnetlink timeout: %w", err)
	}
	if h.strict, h.port, err = openStrict(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func openStrict() (*nl.SocketHandle, uint32, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, 0, fmt.Errorf("open rtnetlink: %w", err)
	}
	timeout := unix.NsecToTimeval(requestTimeout.Nanoseconds())
	err = errors.Join(
		s.SetSendTimeout(&timeout),
		s.SetReceiveTimeout(&timeout),
		s.SetExtAck(true),
		unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1),
		// Acknowledgements need not carry the request back.
		unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		setReceiveBuffer(s, requestBuffer),
	)
	if err != nil {
		s.Close()
		return nil, 0, fmt.Errorf("set up rtnetlink socket: %w", err)
	}
	port, err := s.GetPid()
	if err != nil {
		s.Close()
		return nil, 0, fmt.Errorf("read rtnetlink port: %w", err)
	}
	return &nl.SocketHandle{Socket: s}, port, nil
}

// setReceiveBuffer goes beyond net.core.rmem_max where the process may (CAP_NET_ADMIN).
func setReceiveBuffer(s *nl.NetlinkSocket, size int) error {
	if err := s.SetReceiveBufferSize(size, true); err == nil {
		return nil
	}
	return s.SetReceiveBufferSize(size, false)
}

// Close closes the sockets. Nothing may use the handle at the same time or afterwards.
func (h *Handle) Close() {
	if h.links != nil {
		h.links.Close()
	}
	if h.strict != nil {
		h.strict.Close()
	}
}

// dump sends one dump request and calls parse for each answer. It starts again, with reset, when the dump was interrupted.
func (h *Handle) dump(request func() *nl.NetlinkRequest, answer uint16, reset func(), parse func([]byte) error) error {
	for range dumpAttempts {
		reset()
		interrupted, err := h.dumpOnce(request(), answer, parse)
		if err != nil || !interrupted {
			return err
		}
	}
	return ErrInterrupted
}

// dumpOnce reads a whole dump, whatever parse says: what stays in the socket would be the next request's.
func (h *Handle) dumpOnce(req *nl.NetlinkRequest, answer uint16, parse func([]byte) error) (interrupted bool, err error) {
	s := h.strict.Socket
	s.Lock()
	defer s.Unlock()
	req.Seq = atomic.AddUint32(&h.strict.Seq, 1)
	if err := s.Send(req); err != nil {
		return false, fmt.Errorf("send dump request: %w", err)
	}
	for {
		messages, from, receiveErr := s.Receive()
		if receiveErr != nil {
			return false, fmt.Errorf("receive dump: %w", receiveErr)
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range messages {
			if m.Header.Seq != req.Seq {
				continue
			}
			interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_ERROR:
				return interrupted, errors.Join(err, ackError(m.Header.Flags, m.Data))
			case unix.NLMSG_DONE:
				return interrupted, errors.Join(err, doneError(m.Header.Flags, m.Data))
			case answer:
				if err == nil {
					err = parse(m.Data)
				}
			}
		}
	}
}

// batchBytes is how much is sent at once: enough to make the system call's cost vanish, and few enough requests that
// their acknowledgements always fit the receive buffer.
const batchBytes = 8 << 10

// execute sends requests in batches, waits for all acknowledgements and returns an error for each request.
func (h *Handle) execute(requests []*nl.NetlinkRequest) []error {
	errs := make([]error, len(requests))
	s := h.strict.Socket
	s.Lock()
	defer s.Unlock()
	for start := 0; start < len(requests); {
		var buffer []byte
		bySeq := make(map[uint32]int)
		end := start
		for ; end < len(requests) && len(buffer) < batchBytes; end++ {
			req := requests[end]
			req.Flags |= unix.NLM_F_ACK
			req.Seq = atomic.AddUint32(&h.strict.Seq, 1)
			bySeq[req.Seq] = end
			b := req.Serialize()
			buffer = append(buffer, b...)
			// Messages of one datagram start at multiples of NLMSG_ALIGNTO.
			buffer = append(buffer, make([]byte, (unix.NLMSG_ALIGNTO-len(b)%unix.NLMSG_ALIGNTO)%unix.NLMSG_ALIGNTO)...)
		}
		err := sendBytes(s, buffer)
		if err == nil {
			err = receiveAcks(s, bySeq, errs)
		}
		if err != nil {
			for _, i := range bySeq {
				errs[i] = err
			}
		}
		start = end
	}
	return errs
}

func sendBytes(s *nl.NetlinkSocket, b []byte) error {
	for {
		err := unix.Sendto(s.GetFd(), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// receiveAcks fills errs until every request in bySeq is answered and removed from it.
func receiveAcks(s *nl.NetlinkSocket, bySeq map[uint32]int, errs []error) error {
	for len(bySeq) > 0 {
		messages, from, err := s.Receive()
		if err != nil {
			return fmt.Errorf("receive acknowledgement: %w", err)
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for _, m := range messages {
			i, ok := bySeq[m.Header.Seq]
			if !ok || m.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			delete(bySeq, m.Header.Seq)
			errs[i] = ackError(m.Header.Flags, m.Data)
		}
	}
	return nil
}

// ackError decodes struct nlmsgerr and the attributes that may follow it.
func ackError(flags uint16, b []byte) error {
	const nlmsgerr = 4 + unix.SizeofNlMsghdr
	if len(b) < nlmsgerr {
		return fmt.Errorf("netlink acknowledgement of %d bytes", len(b))
	}
	rest := b[nlmsgerr:]
	if flags&unix.NLM_F_CAPPED == 0 {
		// The request's payload comes first.
		length := int64(binary.NativeEndian.Uint32(b[4:])) - unix.SizeofNlMsghdr
		if length = (length + 3) &^ 3; length < 0 || length > int64(len(rest)) {
			length = int64(len(rest))
		}
		rest = rest[length:]
	}
	return kernelError(flags, b, rest)
}

// doneError decodes the end of a dump: an error code, absent from old kernels, and the attributes that may follow it.
func doneError(flags uint16, b []byte) error {
	if len(b) < 4 {
		return nil
	}
	return kernelError(flags, b, b[4:])
}

// kernelError makes an error of a code and the text that may come with it (NLMSGERR_ATTR_MSG).
func kernelError(flags uint16, code []byte, rest attributes) error {
	n := int32(binary.NativeEndian.Uint32(code))
	if n == 0 {
		return nil
	}
	err := unix.Errno(-n)
	if flags&unix.NLM_F_ACK_TLVS == 0 {
		return err
	}
	if text, ok := rest.get(nl.NLMSGERR_ATTR_MSG); ok {
		return fmt.Errorf("%w: %s", err, unix.ByteSliceToString(text))
	}
	return err
}
