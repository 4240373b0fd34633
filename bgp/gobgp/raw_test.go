package gobgp

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/bordergw/bordergw/bgp"
)

// TestMalformedUpdate sends what killed GoBGP v3 (CVE-2026-41643) and other broken messages from an established peer.
func TestMalformedUpdate(t *testing.T) {
	attr := func(flags, typ byte, value ...byte) []byte {
		return append([]byte{flags, typ, byte(len(value))}, value...)
	}
	update := func(nlri []byte, attrs ...[]byte) []byte {
		var all []byte
		for _, a := range attrs {
			all = append(all, a...)
		}
		body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(all)))
		return message(gobgpbgp.BGP_MSG_UPDATE, append(append(body, all...), nlri...))
	}
	origin, next := attr(0x40, 1, 0), attr(0x40, 3, 127, 0, 0, 11)
	nlri := []byte{24, 172, 16, 1}
	for name, msg := range map[string][]byte{
		"AS4_PATH before AS_PATH": update(nlri, origin, next,
			attr(0xc0, 17, 2, 2, 0, 0, 0xfd, 0xf2, 0, 0, 0, 1), attr(0x40, 2, 2, 1, 0, 0, 0xfd, 0xf2)),
		"AS_PATH cut short":   update(nlri, origin, next, attr(0x40, 2, 2, 9, 0, 0)),
		"prefix length of 77": update([]byte{77, 1, 2, 3}, origin, next, attr(0x40, 2, 2, 1, 0, 0, 0xfd, 0xf2)),
		"attributes too long": message(gobgpbgp.BGP_MSG_UPDATE, []byte{0, 0, 0xff, 0xff, 1}),
		"no attributes":       update(nlri),
		"unknown type":        message(9, []byte{1, 2, 3}),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{})
			good := b.router(12, 65020)
			addr := netip.MustParseAddr("127.0.0.11")
			raw := bgp.Neighbor{Name: "tunnel/raw", Kind: bgp.Customer, Address: addr, LocalAddress: us, PeerASN: 65010, Port: b.port, IPv4: true}
			b.apply(b.speaker(raw, good.neighbor("tunnel/good", bgp.Customer)))
			conn := openSession(b, addr, 65010, true)
			defer conn.Close()
			b.established("gw", "tunnel/raw", "tunnel/good")
			if _, err := conn.Write(msg); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(update([]byte{24, 172, 16, 2}, origin, next, attr(0x40, 2, 2, 1, 0, 0, 0xfd, 0xf2))); err != nil {
				t.Fatal(err)
			}
			good.announce(route{prefix: "172.30.0.0/16"})
			b.eventually(func() string {
				// Either the session survives and the good UPDATE counts, or it is closed; the neighbor lives in any case.
				var after, other bool
				for _, l := range b.d.Routes("gw") {
					after = after || l.Prefix == netip.MustParsePrefix("172.16.2.0/24")
					other = other || l.Prefix == netip.MustParsePrefix("172.30.0.0/16")
				}
				s := b.session("gw", "tunnel/raw")
				if other && (after || s.State != bgp.Established) {
					return ""
				}
				return fmt.Sprintf("session %+v, routes %v", s, b.d.Routes("gw"))
			})
			b.established("gw", "tunnel/good")
			t.Logf("session afterwards: %s, %q", b.session("gw", "tunnel/raw").State, b.session("gw", "tunnel/raw").Message)
		})
	}
}

// TestHangingSession has a peer that opens a session and then says nothing more, which GoBGP by itself waits for without end.
func TestHangingSession(t *testing.T) {
	b := newBench(t, Options{})
	addr := netip.MustParseAddr("127.0.0.11")
	n := bgp.Neighbor{
		Name: "tunnel/a", Kind: bgp.Customer, Address: addr, LocalAddress: us, PeerASN: 65010, Port: 1,
		Keepalive: time.Second, Hold: 3 * time.Second, IPv4: true,
	}
	b.apply(b.speaker(n))
	conn := openSession(b, addr, 65010, false)
	defer conn.Close()
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/a"); s.State != bgp.OpenConfirm {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/a"); s.State == bgp.OpenConfirm {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	defer openSession(b, addr, 65010, true).Close()
	b.established("gw", "tunnel/a")
}

func message(typ byte, body []byte) []byte {
	m := make([]byte, 16, 19+len(body))
	for i := range m {
		m[i] = 0xff
	}
	m = binary.BigEndian.AppendUint16(m, uint16(19+len(body)))
	return append(append(m, typ), body...)
}

// openSession dials our speaker from addr and says as little as BGP asks for; without confirm, a little less.
func openSession(b *bench, addr netip.Addr, asn uint16, confirm bool) net.Conn {
	b.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))}
	var conn net.Conn
	b.eventually(func() string {
		c, err := d.Dial("tcp", netip.AddrPortFrom(us, b.port).String())
		if err != nil {
			return err.Error()
		}
		open := []byte{4, byte(asn >> 8), byte(asn), 0, 90, 10, 9, 9, 9, 8, 2, 6, 65, 4, 0, 0, byte(asn >> 8), byte(asn)}
		hello := message(gobgpbgp.BGP_MSG_OPEN, open)
		if confirm {
			hello = append(hello, message(gobgpbgp.BGP_MSG_KEEPALIVE, nil)...)
		}
		_, err = c.Write(hello)
		if err == nil {
			// The speaker's OPEN and KEEPALIVE; while its state machine is idle it closes the connection instead.
			_, err = io.ReadFull(c, make([]byte, 19))
		}
		if err != nil {
			c.Close()
			return err.Error()
		}
		conn = c
		return ""
	})
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	return conn
}
