//go:build lab

package firewall

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

func run(t *testing.T, line string) {
	t.Helper()
	args := strings.Fields(line)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// hosts are namespaces around the gateway, which is the test's own: a and b are customers of one connection, c of another,
// v is the VPC. Each has a veth to a member of the gateway's VRF, 10.0.N.2/24 and fd00:N::2/64.
var hosts = map[string]int{"a": 1, "b": 2, "c": 3, "v": 4}

func namespaceName(host string) string { return fmt.Sprintf("fw%d-%s", os.Getpid(), host) }

func topology(t *testing.T) {
	netlinktest.Namespace(t)
	sysctl(t, "net/ipv4/ip_forward", "1")
	sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
	sysctl(t, "net/ipv4/conf/default/rp_filter", "0")
	run(t, "ip link add bgwvt type vrf table 1001")
	run(t, "ip link set bgwvt up")
	for host, n := range hosts {
		ns := namespaceName(host)
		run(t, "ip netns add "+ns)
		t.Cleanup(func() { run(t, "ip netns delete "+ns) })
		run(t, fmt.Sprintf("ip link add bgw%s type veth peer name eth0 netns %s", host, ns))
		run(t, fmt.Sprintf("ip link set bgw%s master bgwvt up", host))
		run(t, fmt.Sprintf("ip address add 10.0.%d.1/24 dev bgw%s", n, host))
		run(t, fmt.Sprintf("ip address add fd00:%d::1/64 dev bgw%s nodad", n, host))
		run(t, fmt.Sprintf("ip -n %s link set lo up", ns))
		run(t, fmt.Sprintf("ip -n %s link set eth0 up", ns))
		run(t, fmt.Sprintf("ip -n %s address add 10.0.%d.2/24 dev eth0", ns, n))
		run(t, fmt.Sprintf("ip -n %s address add fd00:%d::2/64 dev eth0 nodad", ns, n))
		run(t, fmt.Sprintf("ip -n %s route add default via 10.0.%d.1", ns, n))
		run(t, fmt.Sprintf("ip -n %s -6 route add default via fd00:%d::1", ns, n))
	}
}

// in runs do on a thread in a host's namespace.
func in(host string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f, err := os.Open("/run/netns/" + namespaceName(host))
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// connect opens a TCP connection between two hosts and returns the segment sizes that each end may send.
func connect(from, to, network string) (client, server int, err error) {
	address := fmt.Sprintf("10.0.%d.2:0", hosts[to])
	if network == "tcp6" {
		address = fmt.Sprintf("[fd00:%d::2]:0", hosts[to])
	}
	var l net.Listener
	if err := in(to, func() error {
		l, err = net.Listen(network, address)
		return err
	}); err != nil {
		return 0, 0, err
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	var c net.Conn
	err = in(from, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
		defer cancel()
		c, err = new(net.Dialer).DialContext(ctx, network, l.Addr().String())
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	s := <-accepted
	if s == nil {
		return 0, 0, fmt.Errorf("not accepted")
	}
	defer s.Close()
	if client, err = sendSize(c); err != nil {
		return 0, 0, err
	}
	server, err = sendSize(s)
	return client, server, err
}

// sendSize is the segment size that a connection may send, with the room for the options it sends in each segment.
func sendSize(c net.Conn) (int, error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var infoErr error
	if err := raw.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil {
		return 0, err
	}
	if infoErr != nil {
		return 0, infoErr
	}
	const timestamps = 12 // RFC 7323 §3.2, with padding
	return int(info.Snd_mss) + timestamps, nil
}

func TestLabPackets(t *testing.T) {
	topology(t)
	d := New(quiet())
	gateway := Gateway{Name: "shop", Tunnels: []Tunnel{
		{Interface: "bgwa", Connection: "one", MSS4: 1111, MSS6: 1091},
		{Interface: "bgwb", Connection: "one", MSS4: 1222},
		{Interface: "bgwc", Connection: "two", MSS4: 1333},
	}}
	expect := func(from, to, network string, passes bool, size int) {
		t.Helper()
		client, server, err := connect(from, to, network)
		if (err == nil) != passes {
			t.Errorf("%s from %s to %s: %v, want it to pass: %v", network, from, to, err, passes)
		}
		if err == nil && (client != size || server != size) {
			t.Errorf("%s from %s to %s: segments of %d and %d bytes, want %d", network, from, to, client, server, size)
		}
	}
	expect("a", "c", "tcp4", true, 1460) // without the table nothing is in the way
	apply(t, d, gateway)
	for _, network := range []string{"tcp4", "tcp6"} {
		v4 := network == "tcp4"
		size := func(four, six int) int {
			if v4 {
				return four
			}
			return six
		}
		expect("v", "a", network, true, size(1111, 1091))
		expect("a", "v", network, true, size(1111, 1091))
		expect("v", "c", network, true, size(1333, 1440))
		expect("a", "b", network, true, size(1111, 1091))
		expect("a", "c", network, false, 0)
		expect("c", "b", network, false, 0)
	}
	dropped, err := d.Dropped(t.Context())
	if err != nil || dropped.Packets == 0 || dropped.Bytes == 0 {
		t.Errorf("dropped: %+v, %v", dropped, err)
	}
	t.Logf("dropped: %+v", dropped)
	if got, err := d.Forwarded(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("forwarded, while nothing is watched: %v, %v", got, err)
	}
	gateway.Tunnels[1].Watched = true
	apply(t, d, gateway)
	forwarded := func() Traffic {
		t.Helper()
		got, err := d.Forwarded(t.Context())
		if _, ok := got["bgwb"]; err != nil || !ok || len(got) != 1 {
			t.Fatalf("forwarded: %v, %v", got, err)
		}
		return got["bgwb"]
	}
	expect("v", "a", "tcp4", true, 1111)
	// To the gateway itself and from it: nothing is forwarded.
	run(t, fmt.Sprintf("ip netns exec %s ping -nqc 2 -i 0.2 10.0.2.1", namespaceName("b")))
	if got := forwarded(); got != (Traffic{}) {
		t.Errorf("forwarded: %+v, want nothing", got)
	}
	expect("v", "b", "tcp4", true, 1222)
	before := forwarded()
	if before.In.Packets == 0 || before.Out.Packets == 0 || before.In.Bytes == 0 || before.Out.Bytes == 0 {
		t.Errorf("forwarded: %+v", before)
	}
	expect("b", "v", "tcp6", true, 1440)
	if after := forwarded(); after.In.Packets <= before.In.Packets || after.Out.Packets <= before.Out.Packets {
		t.Errorf("forwarded: %+v, before %+v", after, before)
	}
	gateway.AllowTransit = true
	apply(t, d, gateway)
	expect("a", "c", "tcp4", true, 1111)
	again, err := d.Dropped(t.Context())
	if err != nil || again != dropped {
		t.Errorf("dropped with transit allowed: %+v, %v; before %+v", again, err, dropped)
	}
}

// sysctl sets a value in the namespace of this thread. sysctl(8) is in a package that not every system has.
func sysctl(t *testing.T, key, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}
