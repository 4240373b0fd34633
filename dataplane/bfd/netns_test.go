package bfd

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace of the test's own, held by one thread and gone with it.
type namespace struct {
	t     *testing.T
	calls chan func()
	fd    *os.File
}

// newNamespace needs root; without it the test fails.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	ns := &namespace{t: t, calls: make(chan func())}
	ready, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			ns.fd, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		}
		ready <- err
		for call := range ns.calls {
			call()
		}
	}()
	t.Cleanup(func() {
		close(ns.calls)
		<-ended
		if ns.fd != nil {
			_ = ns.fd.Close()
		}
	})
	if err := <-ready; err != nil {
		t.Fatalf("network namespace (this test needs root): %v", err)
	}
	return ns
}

// do runs f in the namespace.
func (ns *namespace) do(f func()) {
	done := make(chan struct{})
	ns.calls <- func() { defer close(done); f() }
	<-done
}

// ip runs ip(8) in the namespace for each line; /proc/self/fd/3 is the namespace of other.
func (ns *namespace) ip(lines string, other ...*namespace) {
	ns.t.Helper()
	for line := range strings.Lines(lines) {
		cmd := exec.Command("ip", strings.Fields(line)...)
		for _, o := range other {
			cmd.ExtraFiles = append(cmd.ExtraFiles, o.fd)
		}
		var out []byte
		var err error
		ns.do(func() { out, err = cmd.CombinedOutput() })
		if err != nil {
			ns.t.Fatalf("ip %s: %v: %s", strings.TrimSpace(line), err, out)
		}
	}
}

func (ns *namespace) listen(t Target) (c Conn, err error) {
	ns.do(func() { c, err = Listen(t) })
	return c, err
}

// connect joins two namespaces by bfd-a and bfd-b, with addresses of both families.
func connect(a, b *namespace) {
	a.t.Helper()
	a.ip("link add bfd-a type veth peer name bfd-b netns /proc/self/fd/3", b)
	a.ip("link set bfd-a up\naddress add 169.254.10.1/30 dev bfd-a\naddress add fd00:10::1/126 dev bfd-a nodad")
	b.ip("link set bfd-b up\naddress add 169.254.10.2/30 dev bfd-b\naddress add fd00:10::2/126 dev bfd-b nodad")
}
