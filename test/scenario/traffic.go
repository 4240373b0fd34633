package scenario

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// customerAddresses is how many addresses of the customer's host PingVPC pings: ECMP chooses a path by address, and with so many all
// pings take the same one of two paths once in thirty thousand runs.
const customerAddresses = 16

// Pings are echo requests from the VPC's host to several addresses of the customer's.
type Pings []*lab.Pinger

// PingVPC pings the customer's host from the VPC's until Stop, each address once every interval.
func (w *World) PingVPC(interval time.Duration) Pings {
	w.T.Helper()
	var out Pings
	for i := range customerAddresses {
		out = append(out, w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: customerAddress(i), Interval: interval}))
	}
	return out
}

// customerAddress is one of the customer's host's addresses.
func customerAddress(i int) string {
	if i == 0 {
		return lab.CustomerHost
	}
	return fmt.Sprintf("172.16.0.%d", 100+i)
}

// Stop ends the pings and adds them up; LongestGap is the longest of any address.
func (p Pings) Stop() lab.PingStats {
	var stopping sync.WaitGroup
	for _, pinger := range p {
		stopping.Go(func() { pinger.Stop() })
	}
	stopping.Wait() // each waits for its last replies
	var sum lab.PingStats
	for _, pinger := range p {
		s := pinger.Stop()
		sum.Sent += s.Sent
		sum.Received += s.Received
		sum.Lost += s.Lost
		sum.Duplicates += s.Duplicates
		sum.SendErrors += s.SendErrors
		sum.LongestGap = max(sum.LongestGap, s.LongestGap)
		sum.MaxRTT = max(sum.MaxRTT, s.MaxRTT)
		if s.SendError != nil {
			sum.SendError = s.SendError
		}
	}
	return sum
}

// TrafficBothWays sends pings from either host to the other and fails when one is lost. The first few warm up ARP caches.
func (w *World) TrafficBothWays() {
	w.T.Helper()
	for _, dir := range []struct {
		from     *lab.Host
		src, dst string
	}{{w.VPCHost, lab.VPCHost, lab.CustomerHost}, {w.CustomerHost, lab.CustomerHost, lab.VPCHost}} {
		lab.Eventually(w.T, startup, "the first ping from "+dir.src+" to "+dir.dst, func() error {
			s := dir.from.Ping(lab.PingOptions{Src: dir.src, Dst: dir.dst, Count: 1, Grace: time.Second}).Wait()
			if s.Received == 0 {
				return fmt.Errorf("%v", s)
			}
			return nil
		})
		s := dir.from.Ping(lab.PingOptions{Src: dir.src, Dst: dir.dst, Count: 50, Interval: 20 * time.Millisecond}).Wait()
		if s.Lost > 0 {
			w.T.Errorf("%s to %s: %v", dir.src, dir.dst, s)
		}
	}
}

// tunnelPackets counts what the customers' ends of the two tunnels have received from the cloud.
func (w *World) tunnelPackets() (one, two uint64) {
	w.T.Helper()
	s1, err := w.Customer1.LinkStats("xfrm1")
	if err != nil {
		w.T.Fatalf("%v", err)
	}
	s2, err := w.Customer2.LinkStats("xfrm1")
	if err != nil {
		w.T.Fatalf("%v", err)
	}
	return s1.RxPackets, s2.RxPackets
}

// FlowsUseBothTunnels sends many flows from the VPC to the customer and fails unless each is answered and both tunnels carry some.
func (w *World) FlowsUseBothTunnels() {
	w.T.Helper()
	const flows = 64
	server := w.CustomerHost.EchoServer(lab.ServerOptions{Address: lab.CustomerHost})
	defer server.Close()
	one, two := w.tunnelPackets()
	r := w.VPCHost.Flows(lab.FlowOptions{Src: lab.VPCHost, Dst: lab.CustomerHost, N: flows, Rounds: 2})
	if r.Err != nil || r.Answered != r.Sent {
		w.T.Errorf("%d of %d messages answered: %v", r.Answered, r.Sent, r.Err)
	}
	oneAfter, twoAfter := w.tunnelPackets()
	one, two = oneAfter-one, twoAfter-two
	w.T.Logf("%d flows: %d packets through %s, %d through %s", flows, one, Tunnel1, two, Tunnel2)
	// A fair hash gives one of them fewer than a tenth of 64 flows once in ten million runs.
	if one < flows/5 || two < flows/5 {
		w.T.Errorf("the flows do not use both tunnels: %d and %d packets", one, two)
	}
}

// NoCleartext watches a gateway's underlay for anything that is neither IKE nor ESP between the two sites. The result of the returned
// function is how many such packets were seen.
func (w *World) NoCleartext(gateway *lab.Host) func() int {
	w.T.Helper()
	s := gateway.Sniff("eth0", func(p lab.Packet) bool {
		inner := p.Src.String() == lab.VPCHost || p.Dst.String() == lab.VPCHost ||
			p.Src.String() == lab.CustomerHost || p.Dst.String() == lab.CustomerHost
		return inner || p.Protocol == unix.IPPROTO_ICMP || p.Protocol == unix.IPPROTO_TCP
	})
	return func() int {
		n, err := s.Stop()
		if err != nil {
			w.T.Errorf("the sniffer: %v", err)
		}
		return n
	}
}

// SPIs of the gateways' installed CHILD_SAs, to see that none was replaced.
func (w *World) SPIs() string {
	w.T.Helper()
	var all []string
	for _, c := range w.Charons() {
		spis, err := c.SPIs()
		if err != nil {
			w.T.Fatalf("SPIs: %v", err)
		}
		all = append(all, spis...)
	}
	return fmt.Sprint(all)
}

// KillCustomer1 is the loss of the customer's first router: its power goes, and the site's hosts use the other one from then on, as a
// first-hop redundancy protocol would have it.
func (w *World) KillCustomer1() {
	w.T.Helper()
	w.Wire1.Cut()
	w.LANWire1.Cut()
	w.Charon1.Kill()
	if w.CustBIRD1 != nil {
		w.CustBIRD1.Kill()
	}
	w.CustomerVia(lab.CustomerLAN2)
}

// RestoreCustomer1 starts it again, with nothing remembered.
func (w *World) RestoreCustomer1() {
	w.T.Helper()
	w.Customer1.FlushXfrm()
	w.Wire1.Restore()
	w.LANWire1.Restore()
	w.Charon1.Restart()
	w.Charon1.Reload()
	if w.CustBIRD1 != nil {
		w.CustBIRD1.Start()
	}
}
