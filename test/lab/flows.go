package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ServerOptions describe an echo server.
type ServerOptions struct {
	Address string // to listen at
	Port    int    // default 7000; Bulk uses the next one
	Device  string // bind to this interface, a VRF for example
}

// Server answers on three sockets: UDP and TCP echo on its port, and on the next TCP port the SHA-256 of what was sent.
type Server struct {
	udp        net.PacketConn
	echo, bulk net.Listener
	wg         sync.WaitGroup
}

// defaultPort of servers and of those who talk to them.
const defaultPort = 7000

// EchoServer starts a server. It ends with the lab, if Close was not called before.
func (h *Host) EchoServer(o ServerOptions) *Server {
	h.lab.t.Helper()
	if o.Port == 0 {
		o.Port = defaultPort
	}
	s := &Server{}
	err := h.Do(func() (err error) {
		ctx, lc := h.lab.t.Context(), net.ListenConfig{Control: bindToDevice(o.Device)}
		at := func(port int) string { return net.JoinHostPort(o.Address, strconv.Itoa(port)) }
		if s.udp, err = lc.ListenPacket(ctx, "udp", at(o.Port)); err != nil {
			return err
		}
		if err := roomy(s.udp); err != nil {
			return err
		}
		if s.echo, err = lc.Listen(ctx, "tcp", at(o.Port)); err != nil {
			return err
		}
		s.bulk, err = lc.Listen(ctx, "tcp", at(o.Port+1))
		return err
	})
	h.lab.must(err, "%s: echo server at %s", h.name, o.Address)
	s.wg.Go(s.serveUDP)
	s.serveTCP(s.echo, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	s.serveTCP(s.bulk, func(conn net.Conn) {
		sum := sha256.New()
		if _, err := io.Copy(sum, conn); err == nil {
			_, _ = conn.Write(sum.Sum(nil))
		}
	})
	h.lab.onClose(s.Close)
	return s
}

// roomy gives a socket room for what comes while a busy machine does something else: a message that is lost here would be blamed on a tunnel.
func roomy(conn net.PacketConn) error {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("not UDP: %T", conn)
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
	return errors.Join(err, failed)
}

// Close ends the server and its connections. It may be called more than once.
func (s *Server) Close() {
	_, _, _ = s.udp.Close(), s.echo.Close(), s.bulk.Close()
	s.wg.Wait()
}

func (s *Server) serveUDP() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = s.udp.WriteTo(buf[:n], from)
		}
	}
}

// connectionTime bounds a connection, so that one whose peer vanished does not hold up Close.
const connectionTime = 5 * time.Minute

func (s *Server) serveTCP(l net.Listener, serve func(net.Conn)) {
	s.wg.Go(func() {
		open := map[net.Conn]bool{}
		var mu sync.Mutex
		var conns sync.WaitGroup
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			_ = conn.SetDeadline(time.Now().Add(connectionTime))
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			conns.Go(func() {
				serve(conn)
				_ = conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		conns.Wait()
	})
}

func bindToDevice(device string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		if device == "" {
			return nil
		}
		var bound error
		if err := c.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), device) }); err != nil {
			return err
		}
		return bound
	}
}

// FlowOptions describe flows to an echo server.
type FlowOptions struct {
	Src, Dst string        // addresses; Src may be empty
	Port     int           // of the server; default 7000
	Network  string        // udp, the default, or tcp
	N        int           // how many flows; every one has its own source port
	Rounds   int           // messages of each flow; default 1
	Size     int           // bytes of a message; default and least 16
	Device   string        // bind to this interface
	Timeout  time.Duration // of one answer; default 5 s
}

// FlowResult says how many messages were answered with the same bytes.
type FlowResult struct {
	Sent, Answered int
	Err            error // of the first flow that failed
}

// Flows sends messages in N flows at the same time and checks that every one comes back unchanged. It returns when all
// flows have ended. A lost UDP message is not repeated.
func (h *Host) Flows(o FlowOptions) FlowResult {
	if o.Network == "" {
		o.Network = "udp"
	}
	if o.Port == 0 {
		o.Port = defaultPort
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	o.Rounds, o.Size = max(o.Rounds, 1), max(o.Size, 16)
	var mu sync.Mutex
	var flows sync.WaitGroup
	result := FlowResult{Sent: o.N * o.Rounds}
	for i := range o.N {
		flows.Go(func() {
			answered, err := h.flow(o, i)
			mu.Lock()
			defer mu.Unlock()
			result.Answered += answered
			if result.Err == nil {
				result.Err = err
			}
		})
	}
	flows.Wait()
	return result
}

func (h *Host) flow(o FlowOptions, number int) (answered int, err error) {
	conn, err := h.connect(o.Network, o.Src, net.JoinHostPort(o.Dst, strconv.Itoa(o.Port)), o.Device, o.Timeout)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	message, answer := make([]byte, o.Size), make([]byte, o.Size)
	for round := range o.Rounds {
		binary.BigEndian.PutUint64(message, uint64(number))
		binary.BigEndian.PutUint64(message[8:], uint64(round))
		if err := conn.SetDeadline(time.Now().Add(o.Timeout)); err != nil {
			return answered, err
		}
		if _, err := conn.Write(message); err != nil {
			return answered, err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return answered, fmt.Errorf("flow %d, round %d: %w", number, round, err)
		}
		if !bytes.Equal(message, answer) {
			return answered, fmt.Errorf("flow %d, round %d: the answer differs", number, round)
		}
		answered++
	}
	return answered, nil
}

// connect opens a connection from the host's namespace. All addresses are literal.
func (h *Host) connect(network, src, dst, device string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, Control: bindToDevice(device)}
	if src != "" {
		addr, err := netip.ParseAddr(src)
		if err != nil {
			return nil, err
		}
		dialer.LocalAddr = &net.UDPAddr{IP: addr.AsSlice()}
		if network == "tcp" {
			dialer.LocalAddr = &net.TCPAddr{IP: addr.AsSlice()}
		}
	}
	return h.dialWith(h.lab.t.Context(), dialer, network, dst)
}

// dial opens a connection from the host's namespace.
func (h *Host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dialWith(ctx, net.Dialer{}, network, address)
}

// dialWith dials on a thread in the namespace: with a literal address the dialer stays on its goroutine.
func (h *Host) dialWith(ctx context.Context, dialer net.Dialer, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
