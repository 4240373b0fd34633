//go:build bench

package rows

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/bordergw/bordergw/test/bench/record"
	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

// How long one measurement takes, and the UDP data of a packet of 100 bytes.
const (
	blast     = 4 * time.Second
	smallData = 100 - 28
)

// TestForwarding measures packets through one tunnel: as the agent sets it up, by hand, and with many other tunnels configured.
func TestForwarding(t *testing.T) {
	others := 100
	if !small() {
		others = 1000
	}
	byHand, agent, crowded := byHandTunnel(t, "by-hand", false), agentTunnel(t, "agent", 0), agentTunnel(t, "agent-crowded", others)
	bare := byHandTunnel(t, "by-hand-interface", true)
	var tcp, udp [4][]float64
	for range turns(t) {
		for i, p := range []*path{agent, byHand, crowded, bare} {
			tcp[i] = append(tcp[i], p.tcp())
			udp[i] = append(udp[i], p.udp())
		}
	}
	// What an XFRM interface costs is the kernel's; what remains beside it is the VRF's and the firewall's.
	const hand, handInterface = "ip xfrm", "ip xfrm, with an interface"
	put(t, "forwarding",
		record.Series{Quantity: "TCP throughput", Unit: "Mbit/s", Peer: hand, Size: 1, Things: "tunnels", A: tcp[0], B: tcp[1], Goal: record.AtLeast(0.97).OfRatio()},
		record.Series{Quantity: "packets of 100 bytes", Unit: "1/s", Peer: hand, Size: 1, Things: "tunnels", A: udp[0], B: udp[1], Goal: record.AtLeast(0.97).OfRatio()},
		record.Series{Quantity: "packets of 100 bytes", Unit: "1/s", Peer: "bordergw with 1 tunnel", Size: others, Things: "tunnels", A: udp[2], B: udp[0],
			Goal: record.AtLeast(1 / 1.05).OfRatio()},
		record.Series{Quantity: "packets of 100 bytes", Unit: "1/s", Peer: handInterface, Size: 1, Things: "tunnels", A: udp[0], B: udp[3]},
		record.Series{Quantity: "TCP throughput", Unit: "Mbit/s", Peer: handInterface, Size: 1, Things: "tunnels", A: tcp[0], B: tcp[3]},
		record.Series{Quantity: "TCP throughput", Unit: "Mbit/s", Peer: "bordergw with 1 tunnel", Size: others, Things: "tunnels", A: tcp[2], B: tcp[0]})
}

// path is a way from the VPC's host through one tunnel to the customer's.
type path struct {
	*scenario.World
	t *testing.T
}

func newPath(t *testing.T, name string) *path {
	t.Helper()
	w := scenario.New(named{t, name}, scenario.Options{Routing: "STATIC", SingleGateway: true, NoAgents: true, NoCustomer: strings.HasPrefix(name, "by-hand"),
		Probe: "{mode: OFF}", Spec1: "esp: {proposals: [aes256gcm16-ecp384]}", Spec2: "adminState: DOWN"})
	w.CustomerVia(lab.CustomerLAN1)
	w.VPCVia(lab.VPCGatewayA)
	return &path{World: w, t: t}
}

// agentTunnel is set up by an agent, with as many other tunnels configured whose customers do not call.
func agentTunnel(t *testing.T, name string, others int) *path {
	t.Helper()
	p := newPath(t, name)
	manifests := p.Manifests()
	if others > 0 {
		c := &crowd{tenants: others / (connections * 2 * 4), addresses: 4, respond: true}
		if others < 1000 {
			c = &crowd{tenants: others / (connections * 2 * 2), addresses: 2, respond: true}
		}
		for tenant := range c.tenants {
			p.GatewayA.Bridge(fmt.Sprintf("tenant%d", tenant))
		}
		for file, text := range c.manifests() {
			manifests[file] = text
		}
	}
	p.AgentA = p.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB}, Charon: p.CharonA, Manifests: manifests, LogLevel: "info",
		Extra: quotas})
	p.Running(patience, scenario.Tunnel1+"=UP")
	p.works()
	return p
}

// byHandTunnel is what an operator would set up with ip(8): policies at the gateway, no VRF, no filter, and no interface but where it is
// asked for. The customer's end has an interface as in the other networks.
func byHandTunnel(t *testing.T, name string, withInterface bool) *path {
	t.Helper()
	p := newPath(t, name)
	p.GatewayA.Route(lab.VPCPrefix, lab.VPCRouter)
	p.Customer1.Xfrm("xfrm1", 1, "eth0", 1400)
	const all = "0.0.0.0/0"
	ifID := []string{"if_id", "1"}
	cloud, customer, more := lab.VPCPrefix, lab.CustomerLAN, []string(nil)
	if withInterface {
		p.GatewayA.Xfrm("xfrm1", 1, "eth0", 1400)
		p.GatewayA.Route(lab.CustomerLAN, "xfrm1")
		cloud, customer, more = all, all, ifID
	}
	for _, end := range []struct {
		host *lab.Host
		more []string
	}{{p.GatewayA, more}, {p.Customer1, ifID}} {
		for spi, way := range map[string][2]string{"0x10000001": {lab.GatewayA, lab.Customer1}, "0x10000002": {lab.Customer1, lab.GatewayA}} {
			p.ip(end.host, append([]string{"xfrm", "state", "add", "src", way[0], "dst", way[1], "proto", "esp", "spi", spi, "reqid", "1", "mode", "tunnel",
				"replay-window", "32", "aead", "rfc4106(gcm(aes))", "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223", "128"}, end.more...)...)
		}
	}
	policy := func(h *lab.Host, dir, src, dst, outerSrc, outerDst string, more ...string) {
		argv := append([]string{"xfrm", "policy", "add", "src", src, "dst", dst, "dir", dir}, more...)
		p.ip(h, append(argv, "tmpl", "src", outerSrc, "dst", outerDst, "proto", "esp", "reqid", "1", "mode", "tunnel")...)
	}
	policy(p.GatewayA, "out", cloud, customer, lab.GatewayA, lab.Customer1, more...)
	policy(p.Customer1, "out", all, all, lab.Customer1, lab.GatewayA, ifID...)
	for _, dir := range []string{"in", "fwd"} {
		policy(p.GatewayA, dir, customer, cloud, lab.Customer1, lab.GatewayA, more...)
		policy(p.Customer1, dir, all, all, lab.GatewayA, lab.Customer1, ifID...)
	}
	p.Customer1.Route(lab.VPCPrefix, "xfrm1")
	p.works()
	return p
}

func (p *path) ip(h *lab.Host, argv ...string) {
	p.t.Helper()
	if out, err := h.Run(append([]string{"ip"}, argv...)...); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
}

// works waits until a ping is answered.
func (p *path) works() {
	p.t.Helper()
	lab.Eventually(p.t, patience, "a ping through the tunnel", func() error {
		if s := p.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: lab.CustomerHost, Count: 1, Grace: time.Second}).Wait(); s.Received == 0 {
			return fmt.Errorf("%v", s)
		}
		return nil
	})
}

// tcp sends as fast as it goes to the customer's host and returns what arrives, in Mbit/s.
func (p *path) tcp() float64 {
	p.t.Helper()
	var listener net.Listener
	must(p.t, p.CustomerHost.Do(func() (err error) {
		listener, err = net.Listen("tcp4", net.JoinHostPort(lab.CustomerHost, "5201"))
		return err
	}))
	defer func() { _ = listener.Close() }()
	type arrival struct {
		bytes int64
		took  time.Duration
		err   error
	}
	arrived := make(chan arrival, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			arrived <- arrival{err: err}
			return
		}
		defer func() { _ = conn.Close() }()
		start := time.Now()
		n, err := io.Copy(io.Discard, conn)
		arrived <- arrival{n, time.Since(start), err}
	}()
	var conn net.Conn
	must(p.t, p.VPCHost.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", net.JoinHostPort(lab.CustomerHost, "5201"), time.Minute)
		return err
	}))
	must(p.t, conn.SetDeadline(time.Now().Add(blast)))
	data := make([]byte, 1<<17)
	for {
		if _, err := conn.Write(data); err != nil {
			break // the deadline
		}
	}
	must(p.t, conn.Close())
	a := <-arrived
	must(p.t, a.err)
	if a.bytes == 0 {
		p.t.Fatal("nothing arrived")
	}
	return float64(a.bytes) * 8 / 1e6 / a.took.Seconds()
}

// udp sends packets of 100 bytes as fast as it goes, and returns how many a second the gateway sends on as ESP: the internet loses them, so
// that the customer's work does not count.
func (p *path) udp() float64 {
	p.t.Helper()
	var conn *net.UDPConn
	must(p.t, p.VPCHost.Do(func() (err error) {
		conn, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(lab.CustomerHost), Port: 9})
		return err
	}))
	defer func() { _ = conn.Close() }()
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, smallData)}
	}
	drop := p.Internet.Drop(lab.DropMatch{Src: lab.GatewayA, Dst: lab.Customer1, Protocol: lab.ESP})
	out := ipv4.NewPacketConn(conn)
	start := time.Now()
	for time.Since(start) < blast {
		if _, err := out.WriteBatch(batch, 0); err != nil && !errors.Is(err, net.ErrClosed) {
			continue // a full queue
		}
	}
	took := time.Since(start)
	n := drop.Remove()
	if n == 0 {
		p.t.Fatal("nothing arrived")
	}
	return float64(n) / took.Seconds()
}
