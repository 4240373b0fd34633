//go:build lab

package link_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
)

// inNamespace runs do on a thread in a named namespace.
func inNamespace(name string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f, err := os.Open("/run/netns/" + name)
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

var replyTTL = regexp.MustCompile(`(?m)^\d+ bytes from .*ttl=(\d+)`)

// ttl pings an address from a namespace (empty for the test's own) and returns the TTL of the reply, empty for none. An
// end node's reply starts with 64, and each router on its way takes one.
func ttl(t *testing.T, from, address string) string {
	t.Helper()
	args := []string{"ping", "-n", "-c", "3", "-i", "0.3", "-W", "2", address}
	if from != "" {
		args = append([]string{"ip", "netns", "exec", from}, args...)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	if m := replyTTL.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// The addresses that both the host, on its loopback device in the default VRF, and a machine in the tenant's site have.
const shared4, shared6 = "10.9.9.9", "fd09::9"

// newOverlap returns a gateway "shop" whose VRF has vpc0 and site0, with a namespace behind each and another one, "wan",
// behind eth0.
func newOverlap(t *testing.T) (r *real, vpc, site, wan string) {
	r = newReal(t)
	if problems := r.EnsureSysctls(t.Context()); len(problems) > 0 {
		t.Fatalf("sysctls: %+v", problems)
	}
	ip(t, "link", "set", "lo", "up")
	ip(t, "address", "add", shared4+"/32", "dev", "lo")
	ip(t, "address", "add", shared6+"/128", "dev", "lo")
	ip(t, "link", "add", "site0", "type", "veth", "peer", "site0p")
	ip(t, "link", "set", "site0", "up")
	ip(t, "address", "add", "10.9.9.1/24", "dev", "site0")
	ip(t, "address", "add", "fd09::1/64", "dev", "site0", "nodad")
	ip(t, "address", "add", "fd98::1/64", "dev", "eth0", "nodad")
	behind := func(device, v4, via4, v6, via6 string) string {
		name := fmt.Sprintf("rules%d-%s", os.Getpid(), device)
		ip(t, "netns", "add", name)
		t.Cleanup(func() { ip(t, "netns", "delete", name) })
		ip(t, "link", "set", device+"p", "netns", name)
		ip(t, "-n", name, "link", "set", device+"p", "up")
		ip(t, "-n", name, "address", "add", v4, "dev", device+"p")
		ip(t, "-n", name, "address", "add", v6, "dev", device+"p", "nodad")
		ip(t, "-n", name, "route", "add", "default", "via", via4)
		ip(t, "-n", name, "-6", "route", "add", "default", "via", via6)
		return name
	}
	vpc = behind("vpc0", "10.0.0.2/24", "10.0.0.1", "fd00::2/64", "fd00::1")
	site = behind("site0", shared4+"/24", "10.9.9.1", shared6+"/64", "fd09::1")
	wan = behind("eth0", "198.51.100.2/24", "198.51.100.1", "fd98::2/64", "fd98::1")
	return r, vpc, site, wan
}

func (r *real) applyOverlap() {
	r.t.Helper()
	want := link.Gateway{Name: "shop", VRF: "bgwv1", Table: 100001, Members: []string{"vpc0", "site0"}}
	r.Invalidate("")
	if res, err := r.Apply(r.t.Context(), want); err != nil || len(res.Errors) > 0 {
		r.t.Fatalf("Apply: %v, %v", err, res.Errors)
	}
}

// A tenant reaches its own machine although the host has the machine's address, and nothing of the host that is not in
// the tenant's VRF.
func TestLabTenantsMayHaveTheHostsAddresses(t *testing.T) {
	r, vpc, site, wan := newOverlap(t)
	r.applyOverlap()
	expect := func(what, from, address, want string) {
		t.Helper()
		if got := ttl(t, from, address); got != want {
			t.Errorf("%s: ping %s: TTL %q, want %q", what, address, got, want)
		}
	}
	const forwarded, answered, unanswered = "63", "64", ""
	for _, x := range []struct{ shared, host, vrf4, vpc string }{
		{shared4, "198.51.100.1", "10.0.0.1", "10.0.0.2"}, {shared6, "fd98::1", "fd00::1", "fd00::2"},
	} {
		expect("the tenant's machine", vpc, x.shared, forwarded)
		expect("from that machine", site, x.vpc, forwarded)
		expect("the gateway's address in the VRF", vpc, x.vrf4, answered)
		expect("that address from another member", site, x.vrf4, answered)
		expect("an address of the host only", vpc, x.host, unanswered)
		expect("the host's own", wan, x.shared, answered)
		expect("the host's other", wan, x.host, answered)
		expect("the host to itself", "", x.shared, answered)
	}
	listeners(t, vpc, site, wan)

	// What it was like: the kernel's order answers the tenant with the host.
	for _, family := range []string{"-4", "-6"} {
		ip(t, family, "rule", "add", "pref", "0", "lookup", "local")
	}
	expect("kernel's order: shared address", vpc, shared4, answered)
	expect("kernel's order: an address of the host only", vpc, "198.51.100.1", answered)
	// The host takes the IPv6 request too, and routes its answer in the default VRF (net/ipv6/icmp.c, icmp6_dev).
	expect("kernel's order: shared address", vpc, shared6, unanswered)
	r.applyOverlap()
	expect("repaired", vpc, shared4, forwarded)
	expect("repaired", vpc, shared6, forwarded)

	if err := r.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	wantRules(t, "removed", r.outside, local(0, kernelMade))
	expect("after removal, the host's own", wan, shared4, answered)
	expect("after removal, the host's own", wan, shared6, answered)
}

// listeners tries sockets as BGP speakers and charon have them: one bound to the VRF, one in the default VRF.
func listeners(t *testing.T, vpc, site, wan string) {
	t.Helper()
	bound := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "bgwv1") }), err)
	}}
	speaker, err := bound.Listen(t.Context(), "tcp", ":179")
	if err != nil {
		t.Fatal(err)
	}
	defer speaker.Close()
	go echo(func() (io.ReadWriteCloser, error) { return speaker.Accept() })
	for _, x := range []struct{ from, address string }{
		{vpc, "10.0.0.1:179"}, {vpc, "[fd00::1]:179"}, {site, "10.9.9.1:179"}, {site, "[fd09::1]:179"},
	} {
		if err := ask(x.from, "tcp", x.address); err != nil {
			t.Errorf("BGP listener in the VRF: %v", err)
		}
	}
	if err := ask(wan, "tcp", "198.51.100.1:179"); err == nil {
		t.Error("the BGP listener in the VRF answers outside of it")
	}
	for _, network := range []string{"udp4", "udp6"} {
		ike, err := net.ListenPacket(network, ":500")
		if err != nil {
			t.Fatal(err)
		}
		defer ike.Close()
		go func() {
			b := make([]byte, 100)
			for {
				n, from, err := ike.ReadFrom(b)
				if err != nil {
					return
				}
				ike.WriteTo(b[:n], from) //nolint:errcheck // the asker's time runs out
			}
		}()
	}
	for _, address := range []string{"198.51.100.1:500", "[fd98::1]:500"} {
		if err := ask(wan, "udp", address); err != nil {
			t.Errorf("IKE socket in the default VRF: %v", err)
		}
	}
	if err := ask(vpc, "udp", "198.51.100.1:500"); err == nil {
		t.Error("the IKE socket in the default VRF answers the tenant")
	}
}

// echo serves one connection after the other until there are no more.
func echo(accept func() (io.ReadWriteCloser, error)) {
	for {
		c, err := accept()
		if err != nil {
			return
		}
		io.Copy(c, c) //nolint:errcheck // the asker notices
		c.Close()     //nolint:errcheck // as above
	}
}

// ask wants an echo.
func ask(from, network, address string) error {
	return inNamespace(from, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		defer c.Close()
		deadline, _ := ctx.Deadline()
		question := []byte("hello")
		answer := make([]byte, len(question))
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
		if _, err := c.Write(question); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		if !bytes.Equal(question, answer) {
			return fmt.Errorf("%s: answer %q", address, answer)
		}
		return nil
	})
}

// Rules on the real kernel: made once, adopted by the next process, repaired, given back.
func TestLabRules(t *testing.T) {
	r := newReal(t)
	ip(t, "rule", "add", "pref", "100", "from", "192.0.2.0/24", "lookup", "77")
	ip(t, "rule", "add", "pref", "220", "lookup", "220")
	want := link.Gateway{Name: "shop", VRF: "bgwv1", Table: 100001}
	try := func(what string, d *link.Driver, writes bool) {
		t.Helper()
		if res, err := d.Apply(t.Context(), want); err != nil || len(res.Errors) > 0 {
			t.Errorf("%s: %v, %v", what, err, res.Errors)
		}
		if n := r.kernel.Take(); (n > 0) != writes {
			t.Errorf("%s: %d messages", what, n)
		}
		for _, v6 := range []bool{false, true} {
			list := rules(t, r.outside, v6)
			good := len(list) >= 2 && list[0] == l3mdev(1, 201) && list[1] == local(2, kernelMade)
			if !good || !v6 && (len(list) != 4 || list[2].Priority != 100 || !list[2].Other || list[3] != table(220, 0, 220) && list[3] != table(220, boot, 220)) {
				t.Errorf("%s: rules, IPv6 %v: %+v", what, v6, list)
			}
		}
	}
	try("first", r.Driver, true)
	try("second", r.Driver, false)
	try("adopted", r.driver(), false)
	for _, stock := range [][]netlink.Rule{{local(0, kernelMade)}, {local(0, 0)}, {local(0, boot), local(0, kernelMade), local(0, 0)}} {
		for _, x := range stock {
			if err := r.outside.AddRule(x); err != nil {
				t.Fatal(err)
			}
		}
		r.Invalidate("shop")
		try(fmt.Sprintf("stock rule put back %d times", len(stock)), r.Driver, true)
	}
	if err := r.outside.DeleteRule(local(2, kernelMade)); err != nil {
		t.Fatal(err)
	}
	r.Invalidate("")
	try("local rule deleted", r.Driver, true)
	ip(t, "-6", "rule", "add", "pref", "2", "from", "2001:db8::/32", "lookup", "77")
	r.Invalidate("")
	if res, err := r.Apply(t.Context(), want); err != nil || !errors.Is(res.Errors[link.ObjectRules], link.ErrConflict) {
		t.Errorf("foreign rule between ours: %v, %v", err, res.Errors)
	}
}
