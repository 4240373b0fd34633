package lab

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// BulkOptions describe a TCP transfer to an echo server.
type BulkOptions struct {
	Src, Dst string
	Port     int // of the server, as given to it; default 7000
	Bytes    int
	Device   string
	Timeout  time.Duration // of the whole transfer; default 60 s
}

// BulkResult describes a transfer that arrived unchanged.
type BulkResult struct {
	Duration    time.Duration
	MSS         int // that the connection sent with at its end
	Retransmits int
}

// BitsPerSecond is the rate of the transfer.
func (r BulkResult) BitsPerSecond(n int) float64 { return float64(n) * 8 / r.Duration.Seconds() }

// Bulk sends random bytes over TCP and compares the SHA-256 that the server computed.
func (h *Host) Bulk(o BulkOptions) (BulkResult, error) {
	if o.Port == 0 {
		o.Port = defaultPort
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	start := time.Now()
	conn, err := h.connect("tcp", o.Src, net.JoinHostPort(o.Dst, strconv.Itoa(o.Port+1)), o.Device, o.Timeout)
	if err != nil {
		return BulkResult{}, err
	}
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return BulkResult{}, fmt.Errorf("not a TCP connection: %T", conn)
	}
	if err := tcp.SetDeadline(start.Add(o.Timeout)); err != nil {
		return BulkResult{}, err
	}
	sum := sha256.New()
	random := rand.NewChaCha8([32]byte{})
	if _, err := io.CopyN(io.MultiWriter(tcp, sum), random, int64(o.Bytes)); err != nil {
		return BulkResult{}, err
	}
	if err := tcp.CloseWrite(); err != nil {
		return BulkResult{}, err
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(tcp, answer); err != nil {
		return BulkResult{}, fmt.Errorf("the server's checksum: %w", err)
	}
	result := BulkResult{Duration: time.Since(start)}
	if !bytes.Equal(answer, sum.Sum(nil)) {
		return result, errors.New("what arrived differs from what was sent")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return result, err
	}
	var infoErr error
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			infoErr = err
			return
		}
		result.MSS, result.Retransmits = int(info.Snd_mss), int(info.Total_retrans)
	})
	return result, errors.Join(err, infoErr)
}
