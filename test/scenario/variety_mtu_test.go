//go:build lab

package scenario

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyMTU: every inner MTU is the published one for its suite, a packet of exactly that size passes, one byte more is refused
// with the MTU in an ICMP message, TCP is told a segment size that fits, and nothing is fragmented after encryption.
func TestVarietyMTU(t *testing.T) {
	suites := []struct {
		name, esp  string
		plain, nat int
	}{
		{"gcm", "", 1446, 1438},
		{"sha1", "aes256-sha1-modp2048", 1438, 1422},
		{"sha256", "aes256-sha256-modp2048", 1438, 1422},
	}
	var devices []*device
	var mtus []int
	for _, s := range suites {
		for _, nat := range []bool{false, true} {
			d, mtu := &device{name: "mtu-" + s.name}, s.plain
			if s.esp != "" {
				d.spec = fmt.Sprintf("esp: {proposals: [%s]}", s.esp)
			}
			d.customer = func(c *lab.CustomerTunnel) {
				c.ESPProposals = s.esp
				// The device's own idea of an MTU is wrong, as it often is: what its hosts send is cut by the cloud's clamp alone.
				c.MTU = 1500
				if nat {
					c.ConnExtra = "encap = yes"
				}
			}
			if nat {
				d.name, mtu = d.name+"-nat", s.nat
			}
			devices, mtus = append(devices, d), append(mtus, mtu)
		}
	}
	w := newVariety(t, devices...)
	w.up()
	whole := w.noFragments()
	cloud := w.VPCHost.EchoServer(lab.ServerOptions{Address: lab.VPCHost})
	defer cloud.Close()
	for i, d := range devices {
		t.Run(d.name, func(t *testing.T) { d.fits(t, mtus[i]) })
	}
	whole()
}

// fits checks everything about one device's sizes.
func (d *device) fits(t *testing.T, mtu int) {
	d.settle()
	st := d.status()
	if st.MTU != mtu || st.Negotiated.NATT != (d.tunnel.ConnExtra != "") {
		t.Errorf("MTU %d, want %d; NAT-T %v, suite %s", st.MTU, mtu, st.Negotiated.NATT, st.Negotiated.ESPSuite)
	}
	link, err := d.w.GatewayA.Netlink().LinkByName(st.InterfaceName)
	if err != nil || link.Attrs().MTU != mtu {
		t.Errorf("interface %s: MTU %d, error %v", st.InterfaceName, link.Attrs().MTU, err)
	}
	const headers = 28 // IPv4 and ICMP
	echo := func(size int) lab.PingStats {
		return d.w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: d.lan, Count: 10, Interval: 20 * time.Millisecond,
			Size: size - headers, DF: true, Grace: time.Second}).Wait()
	}
	// Answers are as long as requests; the device's own interface would let a longer one pass.
	if s := echo(mtu); s.Lost > 0 {
		t.Errorf("packets of %d bytes: %v", mtu, s)
	}
	var told atomic.Int64
	errors := d.w.VPCHost.Sniff("eth0", func(p lab.Packet) bool {
		if p.Protocol != unix.IPPROTO_ICMP || len(p.Payload) < 8 || p.Payload[0] != 3 || p.Payload[1] != 4 {
			return false
		}
		told.Store(int64(binary.BigEndian.Uint16(p.Payload[6:])))
		return true
	})
	s := echo(mtu + 1)
	n, err := errors.Stop()
	if s.Received > 0 || n == 0 || err != nil || told.Load() != int64(mtu) {
		t.Errorf("packets of %d bytes: %d answered, %d told to fragment (%v) with MTU %d", mtu+1, s.Received, n, err, told.Load())
	}
	d.segments(t, mtu)
}

// segments moves data both ways over TCP and looks at what segment size either end was told.
func (d *device) segments(t *testing.T, mtu int) {
	const size = 512 << 10
	server := d.host.EchoServer(lab.ServerOptions{Address: d.lan})
	defer server.Close()
	for _, dir := range []struct {
		from, to *lab.Host
		link     string
		src, dst string
	}{{d.w.VPCHost, d.host, "xfrm1", lab.VPCHost, d.lan}, {d.host, d.w.VPCHost, "eth0", d.lan, lab.VPCHost}} {
		var mss atomic.Int64
		syn := dir.to.Sniff(dir.link, func(p lab.Packet) bool {
			if p.Outgoing || p.Protocol != unix.IPPROTO_TCP || p.Src.String() != dir.src || len(p.Payload) < 20 || p.Payload[13]&0x02 == 0 {
				return false
			}
			mss.Store(int64(segmentSize(p.Payload)))
			return true
		})
		r, err := dir.from.Bulk(lab.BulkOptions{Src: dir.src, Dst: dir.dst, Bytes: size})
		n, errSniff := syn.Stop()
		if err != nil || errSniff != nil || n == 0 || mss.Load() != int64(mtu-40) {
			t.Errorf("%s to %s: %v; %d SYNs (%v) with MSS %d, want %d", dir.src, dir.dst, err, n, errSniff, mss.Load(), mtu-40)
		}
		t.Logf("%s to %s: %.1f Mbit/s, MSS %d, %d retransmits", dir.src, dir.dst, r.BitsPerSecond(size)/1e6, mss.Load(), r.Retransmits)
	}
}

// segmentSize reads the MSS option of a TCP header, 0 when there is none.
func segmentSize(tcp []byte) int {
	options := tcp[20:min(int(tcp[12]>>4)*4, len(tcp))]
	for len(options) >= 4 {
		switch {
		case options[0] == 2:
			return int(binary.BigEndian.Uint16(options[2:]))
		case options[0] == 1:
			options = options[1:]
		case options[1] < 2 || int(options[1]) > len(options):
			return 0
		default:
			options = options[options[1]:]
		}
	}
	return 0
}
