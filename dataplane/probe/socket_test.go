package probe

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns two namespaces joined by veth-a and veth-b, with addresses of both families, and a target of each.
func pair(t *testing.T) (a, b *namespace, four, six Target) {
	t.Helper()
	a, b = newNamespace(t), newNamespace(t)
	connect(a, b)
	four = Target{
		Tunnel: "four", Device: "veth-a", Mode: Auto, Interval: MinInterval, Failures: 3,
		Local: netip.MustParseAddr("169.254.10.1"), Peer: netip.MustParseAddr("169.254.10.2"),
	}
	six = four
	six.Tunnel = "six"
	six.Local, six.Peer = netip.MustParseAddr("fd00:10::1"), netip.MustParseAddr("fd00:10::2")
	return a, b, four, six
}

func connect(a, b *namespace) {
	a.t.Helper()
	veth(a, "veth-a", b, "veth-b")
	a.ip("address add 169.254.10.1/30 dev veth-a\n address add fd00:10::1/126 dev veth-a nodad")
	b.ip("address add 169.254.10.2/30 dev veth-b\n address add fd00:10::2/126 dev veth-b nodad")
}

func TestSocketOverVeth(t *testing.T) {
	a, b, four, six := pair(t)
	l := runLive(t, a, four, six)
	for _, tunnel := range []string{"four", "six"} {
		if s := l.until(tunnel, StatePassing); s.RTT <= 0 || s.RTT > time.Second {
			t.Errorf("%s: %+v", tunnel, s)
		}
	}
	// The peer's end goes away and comes back; IPv6 addresses do not come back by themselves.
	b.ip("link set veth-b down")
	l.until("four", StateFailing)
	l.until("six", StateFailing)
	b.ip("link set veth-b up\n address add fd00:10::2/126 dev veth-b nodad")
	l.until("four", StatePassing)
	l.until("six", StatePassing)

	// So does our own end, for which the kernel refuses to send.
	a.ip("link set veth-a down")
	l.until("four", StateFailing)
	l.until("six", StateFailing)
	a.ip("link set veth-a up\n address add fd00:10::1/126 dev veth-a nodad")
	l.until("four", StatePassing)
	l.until("six", StatePassing)

	// And the device as a whole, under the same name with another index.
	a.ip("link del veth-a")
	l.until("four", StateFailing)
	l.until("six", StateFailing)
	connect(a, b)
	l.until("four", StatePassing)
	l.until("six", StatePassing)
}

// TestSocketFilter: of sockets that differ in the identifier only, or in the peer only, each hears its own answers and
// nothing else.
func TestSocketFilter(t *testing.T) {
	a, b, four, six := pair(t)
	b.ip("address add 192.0.2.2/32 dev veth-b\n address add fd00:20::2/128 dev veth-b nodad")
	a.ip("route add 192.0.2.2/32 dev veth-a\n route add fd00:20::2/128 dev veth-a")
	for _, tc := range []struct {
		Target
		elsewhere string
	}{{four, "192.0.2.2"}, {six, "fd00:20::2"}} {
		t.Run(tc.Tunnel, func(t *testing.T) {
			otherID, otherPeer := tc.Target, tc.Target
			otherID.Tunnel = "other"
			otherPeer.Peer = netip.MustParseAddr(tc.elsewhere)
			targets := []Target{otherID, otherPeer, tc.Target}
			conns := make([]Conn, len(targets))
			for i, to := range targets {
				var err error
				if conns[i], err = a.listen(to); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { closeConn(t, conns[i]) })
			}
			v6 := tc.Local.Is6()
			buf := make([]byte, 256)
			for seq := range uint64(9) {
				// Each socket's answers come after those of the two before it: foreign ones would be read first.
				i := seq % 3
				id := identifier(targets[i].Tunnel)
				if err := conns[i].Send(request(v6, id, 7, seq)); err != nil {
					t.Fatal(err)
				}
				message, err := conns[i].Receive(buf)
				if err != nil {
					t.Fatal(err)
				}
				if got, ok := parseReply(message, v6, id, 7); !ok || got != seq {
					t.Fatalf("received %x", message)
				}
			}
		})
	}
}

func TestSocketErrors(t *testing.T) {
	a, b, four, _ := pair(t)
	missing := four
	missing.Device = "veth-x"
	if _, err := a.listen(missing); !errors.Is(err, unix.ENODEV) {
		t.Errorf("missing device: %v", err)
	}
	foreign := four
	foreign.Local = netip.MustParseAddr("192.0.2.1")
	if _, err := a.listen(foreign); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("an address that is not ours: %v", err)
	}
	c, err := a.listen(four)
	if err != nil {
		t.Fatal(err)
	}
	message := request(false, identifier(four.Tunnel), 7, 1)
	a.ip("link set veth-a down")
	if err := c.Send(message); !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENETUNREACH) || errors.Is(err, ErrStale) {
		t.Errorf("device down: %v", err)
	}
	a.ip("link del veth-a")
	if err := c.Send(message); !errors.Is(err, ErrStale) {
		t.Errorf("device gone: %v", err)
	}
	connect(a, b)
	if err := c.Send(message); !errors.Is(err, ErrStale) {
		t.Errorf("device recreated: %v", err)
	}
	received := make(chan error)
	go func() {
		_, err := c.Receive(make([]byte, 64))
		received <- err
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-received; !errors.Is(err, os.ErrClosed) {
		t.Errorf("receive on a closed socket: %v", err)
	}
}

// TestSendAllocatesNothing: 1,000 tunnels must not feed the garbage collector.
func TestSendAllocatesNothing(t *testing.T) {
	a, _, four, six := pair(t)
	for _, to := range []Target{four, six} {
		c, err := a.listen(to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeConn(t, c) })
		v6, id := to.Local.Is6(), identifier(to.Tunnel)
		var message [messageLen]byte
		buf := make([]byte, 256)
		var seq uint64
		if n := testing.AllocsPerRun(100, func() {
			seq++
			putRequest(&message, v6, id, 7, seq)
			if err := c.Send(message[:]); err != nil {
				t.Fatal(err)
			}
			reply, err := c.Receive(buf)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := parseReply(reply, v6, id, 7); !ok || bytes.Equal(reply, message[:]) {
				t.Fatalf("received %x", reply)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per echo", to.Tunnel, n)
		}
	}
}

func closeConn(t *testing.T, c Conn) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
