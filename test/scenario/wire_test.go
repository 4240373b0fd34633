//go:build lab

package scenario

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// wireCount is what was seen of ESP, in UDP or not, in both directions as bordergwctl names them.
type wireCount struct{ WirePacketsIn, WireBytesIn, WirePacketsOut, WireBytesOut uint64 }

// onWire counts a device's ESP at the gateway's underlay from now on, and how many packets at port 4500 were something else.
func (d *device) onWire() func() (seen wireCount, others int) {
	d.w.t.Helper()
	var mu sync.Mutex
	var c wireCount
	var others int
	s := d.w.GatewayA.Sniff("eth0", func(p lab.Packet) bool {
		if p.Src.String() != d.public && p.Dst.String() != d.public {
			return false
		}
		if p.Protocol == unix.IPPROTO_UDP {
			local := p.Payload[2:4]
			if p.Outgoing {
				local = p.Payload[:2]
			}
			if binary.BigEndian.Uint16(local) != 4500 {
				return false
			}
			if len(p.Payload) < 12 || binary.BigEndian.Uint32(p.Payload[8:]) == 0 {
				mu.Lock()
				others++
				mu.Unlock()
				return false
			}
		} else if p.Protocol != lab.ESP {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if p.Outgoing {
			c.WirePacketsOut++
			c.WireBytesOut += uint64(p.Length)
		} else {
			c.WirePacketsIn++
			c.WireBytesIn += uint64(p.Length)
		}
		return true
	})
	return func() (wireCount, int) {
		d.w.t.Helper()
		if _, err := s.Stop(); err != nil {
			d.w.t.Errorf("the sniffer: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		return c, others
	}
}

func (d *device) wireCounters() (map[string]*wireCount, error) {
	var out struct {
		Items []struct {
			Name   string
			Status struct{ Counters *wireCount }
		}
	}
	err := d.w.AgentA.CtlJSON(&out, "get", "tunnels")
	all := map[string]*wireCount{}
	for _, i := range out.Items {
		all[i.Name] = i.Status.Counters
	}
	return all, err
}

// TestWireCounters: what the status says of encrypted traffic is what a sniffer sees on the underlay, to the byte, for ESP and for ESP
// in UDP, forwarded both ways, also across a restart of the agent.
func TestWireCounters(t *testing.T) {
	const quiet = "probe: {mode: OFF}"
	plain := &device{name: "plain", spec: quiet, later: true}
	udp := &device{name: "udp", spec: quiet, later: true, customer: func(c *lab.CustomerTunnel) { c.ConnExtra = "encap = yes" }}
	w := newVariety(t, plain, udp)
	var totals []func() (wireCount, int)
	for _, d := range w.devices {
		totals = append(totals, d.onWire())
		d.start()
	}
	w.Running(startup, "plain=UP", "udp=UP")
	for i, d := range w.devices {
		d.settle()
		for _, p := range []*lab.Pinger{
			w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: d.lan, Count: 40 + i, Interval: 10 * time.Millisecond, Size: 1000}),
			d.host.Ping(lab.PingOptions{Src: d.lan, Dst: lab.VPCHost, Count: 30, Interval: 10 * time.Millisecond, Size: 333}),
		} {
			if s := p.Wait(); s.Lost > 0 {
				t.Errorf("%s: %v", d.name, s)
			}
		}
	}
	w.AgentA.Restart()
	w.Running(startup, "plain=UP", "udp=UP")
	for i, d := range w.devices {
		d.settle()
		seen, others := totals[i]()
		if seen.WirePacketsIn < 71 || seen.WirePacketsOut < 71 {
			t.Errorf("%s: the sniffer saw too little: %+v", d.name, seen)
		}
		lab.Eventually(t, 30*time.Second, d.name+": counters like the sniffer's", func() error {
			all, err := d.wireCounters()
			if err == nil && (all[d.name] == nil || *all[d.name] != seen) {
				err = fmt.Errorf("counters %+v, sniffer %+v", all[d.name], seen)
			}
			return err
		})
		t.Logf("%s: %+v, and %d packets of IKE or keepalives at port 4500", d.name, seen, others)
		if d == udp && others == 0 {
			t.Error("no IKE at port 4500 was seen, so nothing shows that it is not counted")
		}
		text, err := w.Ctl("describe", "tunnel", d.name)
		want := fmt.Sprintf("in %d packets", seen.WirePacketsIn)
		if err != nil || !strings.Contains(text, "wire ") || !strings.Contains(text, want) {
			t.Errorf("describe lacks the line of the wire with %q: %v\n%s", want, err, text)
		}
		w.metric(w.AgentA, fmt.Sprintf(`bordergw_tunnel_wire_bytes_total{connection="%[1]s",direction="in",gateway="variety",tunnel="%[1]s"} %[2]d`,
			d.name, seen.WireBytesIn))
	}
}
