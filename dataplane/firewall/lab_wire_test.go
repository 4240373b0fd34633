//go:build lab

package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/test/lab"
)

// The outer addresses of the gateway, which is the test's own namespace, and of the customer, in namespaces "c".
var (
	outer4 = between("192.0.2.1", "192.0.2.2")
	outer6 = between("2001:db8::1", "2001:db8::2")
)

// tunnels are two, over IPv4 and over IPv6, with SAs that nobody negotiated: 10.9.0.2 and 10.9.1.2 are the customer's ends, and the
// host "h" behind the gateway is 10.8.0.2.
func tunnels(t *testing.T) {
	netlinktest.Namespace(t)
	c, h := namespaceName("c"), namespaceName("h")
	for _, ns := range []string{c, h} {
		run(t, "ip netns add "+ns)
		t.Cleanup(func() { run(t, "ip netns delete "+ns) })
		run(t, "ip -n "+ns+" link set lo up")
	}
	sysctl(t, "net/ipv4/ip_forward", "1")
	sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
	sysctl(t, "net/ipv4/conf/default/rp_filter", "0")
	run(t, "ip link add outer type veth peer name outer netns "+c)
	run(t, "ip link add inner type veth peer name eth0 netns "+h)
	run(t, "ip address add 10.8.0.1/24 dev inner")
	run(t, "ip link set inner up")
	run(t, "ip -n "+h+" address add 10.8.0.2/24 dev eth0")
	run(t, "ip -n "+h+" link set eth0 up")
	run(t, "ip -n "+h+" route add default via 10.8.0.1")
	for i, ip := range []string{"ip", "ip -n " + c} {
		run(t, fmt.Sprintf("%s address add 192.0.2.%d/24 dev outer", ip, i+1))
		run(t, fmt.Sprintf("%s address add 2001:db8::%d/64 dev outer nodad", ip, i+1))
		run(t, ip+" link set outer up")
		for n, e := range []Endpoints{outer4, outer6} {
			for dir, way := range [][2]netip.Addr{{e.Local, e.Remote}, {e.Remote, e.Local}} {
				run(t, fmt.Sprintf("%s xfrm state add src %s dst %s proto esp spi 0x%d%d00 mode tunnel if_id %d flag af-unspec aead rfc4106(gcm(aes)) 0x%040d 128",
					ip, way[0], way[1], n+1, dir+1, n+1, 0))
				direction := "out"
				if dir != i {
					direction = "in"
				}
				for _, d := range []string{direction, "fwd"} {
					if d == "fwd" && direction == "out" {
						continue
					}
					run(t, fmt.Sprintf("%s xfrm policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir %s if_id %d tmpl src %s dst %s proto esp mode tunnel",
						ip, d, n+1, way[0], way[1]))
				}
			}
			device := fmt.Sprintf("xfrm%d", n)
			run(t, fmt.Sprintf("%s link add %s type xfrm dev outer if_id %d", ip, device, n+1))
			run(t, ip+" link set "+device+" addrgenmode none") // nothing but what is sent shall be in the tunnel
			run(t, ip+" link set "+device+" up")
			run(t, fmt.Sprintf("%s address add 10.9.%d.%d/24 dev %s", ip, n, i+1, device))
		}
	}
	run(t, "ip -n "+c+" route add 10.8.0.0/24 dev xfrm0")
}

// settled waits until what was counted is as wanted.
func settled(t *testing.T, d *Driver, want map[Endpoints]Traffic) {
	t.Helper()
	lab.Eventually(t, 5*time.Second, "counters as wanted", func() error {
		got, err := d.Wire(t.Context())
		if err == nil && !cmp.Equal(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
			err = fmt.Errorf("have %v, want %v", got, want)
		}
		return err
	})
}

// datagrams are sent from one address to the other with each payload.
func datagrams(from, to string, payloads ...[]byte) error {
	local, err := net.ResolveUDPAddr("udp", from)
	if err != nil {
		return err
	}
	remote, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return err
	}
	for _, p := range payloads {
		// A new socket each time: an old one would tell of the port unreachable.
		c, err := net.DialUDP("udp", local, remote)
		if err != nil {
			return err
		}
		_, err = c.Write(p)
		if errClose := c.Close(); err == nil {
			err = errClose
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Every packet of both kinds and families counts once, with the length of its IP packet; nothing else does.
func TestLabWire(t *testing.T) {
	tunnels(t)
	h, c := namespaceName("h"), namespaceName("c")
	d := New(quiet())
	gateway := Gateway{Name: "g", Tunnels: []Tunnel{tunnelBetween("xfrm0", outer4), tunnelBetween("xfrm1", outer6)}}
	apply(t, d, gateway)
	t.Log(nftList(t))
	both := func(packets, in, out uint64) Traffic {
		return Traffic{In: Counters{packets, packets * in}, Out: Counters{packets, packets * out}}
	}
	settled(t, d, map[Endpoints]Traffic{outer4: {}, outer6: {}})

	// An echo of 1000 bytes is an IP packet of 1028. ESP with AES-GCM adds 8 + 8 bytes, 2 of trailer padded to 4, and 16 of ICV
	// (RFC 4303, RFC 4106), the outer header 20 or 40.
	const esp4, esp6 = 20 + 8 + 8 + 1032 + 16, 40 + 8 + 8 + 1032 + 16
	run(t, "ip netns exec "+h+" ping -q -c 7 -i 0.02 -s 1000 10.9.0.2") // forwarded
	run(t, "ping -q -c 5 -i 0.02 -s 1000 10.9.1.2")                     // the gateway's own
	settled(t, d, map[Endpoints]Traffic{outer4: both(7, esp4, esp4), outer6: both(5, esp6, esp6)})
	run(t, "ip netns exec "+c+" ping -q -c 3 -i 0.02 -s 1000 10.8.0.2")
	settled(t, d, map[Endpoints]Traffic{outer4: both(10, esp4, esp4), outer6: both(5, esp6, esp6)})

	// 40 bytes that begin with an SPI are ESP; IKE, a keepalive, three bytes, and other ports are not.
	esp, ike := append([]byte{1, 2, 3, 4}, make([]byte, 36)...), make([]byte, 40)
	not := [][]byte{ike, {0xff}, {1, 2, 3}}
	for _, e := range []Endpoints{outer4, outer6} {
		at := func(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }
		send := func(port, remotePort uint16, payloads ...[]byte) {
			t.Helper()
			if err := datagrams(at(e.Local, port), at(e.Remote, remotePort), payloads...); err != nil {
				t.Fatal(err)
			}
			if err := in("c", func() error { return datagrams(at(e.Remote, remotePort), at(e.Local, port), payloads...) }); err != nil {
				t.Fatal(err)
			}
		}
		send(4500, 4500, not...)
		send(500, 4500, esp)
		send(4500, 4500, esp)
		send(4500, 1024, esp) // a NAT chose the port
	}
	const udp4, udp6 = 2 * (20 + 8 + 40), 2 * (40 + 8 + 40)
	plus := func(t Traffic, packets, bytes uint64) Traffic {
		c := Counters{packets, bytes}
		return Traffic{In: t.In.plus(c), Out: t.Out.plus(c)}
	}
	four, six := plus(both(10, esp4, esp4), 2, udp4), plus(both(5, esp6, esp6), 2, udp6)
	settled(t, d, map[Endpoints]Traffic{outer4: four, outer6: six})

	// Other tunnels come and go, the process is another, the table is replaced: totals go on.
	apply(t, d, shop())
	settled(t, d, map[Endpoints]Traffic{outer4: four, outer6: six})
	run(t, "ping -q -c 1 -s 1000 10.9.0.2")
	d = New(quiet())
	apply(t, d, gateway)
	four = plus(four, 1, esp4)
	settled(t, d, map[Endpoints]Traffic{outer4: four, outer6: six})
	d.applied.mark = "bordergw rules 0"
	apply(t, d, open())
	run(t, "ping -q -c 1 -s 1000 10.9.0.2")
	settled(t, d, map[Endpoints]Traffic{outer4: plus(four, 1, esp4), outer6: six})

	// A packet that the underlay must fragment is one packet here, in IPv4: 3032 bytes are sent as three.
	run(t, "ip link set xfrm0 mtu 4000")
	run(t, "ip -n "+c+" link set xfrm0 mtu 4000")
	run(t, "ping -q -c 1 -M dont -s 3000 10.9.0.2")
	const big = 20 + 8 + 8 + 3032 + 16
	settled(t, d, map[Endpoints]Traffic{outer4: plus(plus(four, 1, esp4), 1, big), outer6: six})
}

// Reading is one look, whatever the number of tunnels.
func TestLabWireOfManyTunnels(t *testing.T) {
	netlinktest.Namespace(t)
	d := New(quiet())
	g := Gateway{Name: "many"}
	for i := range 5000 {
		remote := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		g.Tunnels = append(g.Tunnels, tunnelBetween(fmt.Sprintf("bgw%d", i), Endpoints{outer4.Local, remote}))
	}
	for i := range g.Tunnels {
		g.Tunnels[i].Connection = fmt.Sprint(i)
	}
	start := time.Now()
	apply(t, d, g)
	t.Logf("%d tunnels applied: %v", len(g.Tunnels), time.Since(start).Round(time.Millisecond))
	start = time.Now()
	got, err := d.Wire(t.Context())
	if err != nil || len(got) != len(g.Tunnels) {
		t.Fatalf("%d of %d tunnels: %v", len(got), len(g.Tunnels), err)
	}
	t.Logf("read: %v", time.Since(start).Round(time.Microsecond))
}
