//go:build lab

package scenario

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// sendESP sends packets of ESP as they are, without any SA of the device taking part.
func (d *device) sendESP(payload []byte, times int) {
	d.w.t.Helper()
	to := netip.MustParseAddr(lab.GatewayA).As4()
	err := d.host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, lab.ESP)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for range times {
			if err := unix.Sendto(fd, payload, 0, &unix.SockaddrInet4{Addr: to}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.w.t.Fatal(err)
	}
}

// TestDroppedPackets: what the kernel drops is counted for the tunnel whose SA it had, by cause, and goes on counting when the SA is
// replaced; the host's own counters show it as well.
func TestDroppedPackets(t *testing.T) {
	plain, other := &device{name: "plain", spec: "probe: {mode: OFF}"}, &device{name: "other", spec: "probe: {mode: OFF}"}
	w := newVariety(t, plain, other)
	w.up()
	captured := make(chan []byte, 1)
	s := w.GatewayA.Sniff("eth0", func(p lab.Packet) bool {
		ours := !p.Outgoing && p.Protocol == lab.ESP && p.Src.String() == plain.address
		if ours {
			select {
			case captured <- slices.Clone(p.Payload):
			default:
			}
		}
		return ours
	})
	plain.pings()
	if n, err := s.Stop(); err != nil || n == 0 {
		t.Fatalf("%d packets captured, %v", n, err)
	}
	packet := <-captured
	// Both are within the replay window of 1,024.
	forged := slices.Clone(packet)
	binary.BigEndian.PutUint32(forged[4:], binary.BigEndian.Uint32(forged[4:])+500)
	plain.sendESP(packet, 3)
	plain.sendESP(forged, 5)
	counters := func(d *device, replayed, integrity int) {
		t.Helper()
		for cause, n := range map[string]int{"outside_window": 0, "replayed": replayed, "integrity_failed": integrity} {
			w.metric(w.AgentA, fmt.Sprintf(`bordergw_tunnel_xfrm_errors_total{connection="%[1]s",error="%[2]s",gateway="variety",tunnel="%[1]s"} %[3]d`,
				d.name, cause, n))
		}
	}
	counters(plain, 3, 5)
	counters(other, 0, 0)
	w.metric(w.AgentA, `bordergw_host_xfrm_errors_total{error="XfrmInStateSeqError"} 3`)
	w.metric(w.AgentA, `bordergw_host_xfrm_errors_total{error="XfrmInStateProtoError"} 5`)
	plain.rekey()
	lab.Eventually(t, startup, "one CHILD_SA is left", func() error {
		if st := plain.status(); len(st.ChildSAs) != 1 {
			return fmt.Errorf("%+v", st.ChildSAs)
		}
		return nil
	})
	counters(plain, 3, 5)
	plain.pings()
}
