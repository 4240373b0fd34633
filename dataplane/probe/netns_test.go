package probe

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

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
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
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
	ns.ip("link set lo up")
	return ns
}

// do runs f in the namespace.
func (ns *namespace) do(f func()) {
	done := make(chan struct{})
	ns.calls <- func() { defer close(done); f() }
	<-done
}

// ip runs ip(8) in the namespace for each line. The file other/fd is the namespace of other.
func (ns *namespace) ip(lines string, other ...*namespace) {
	ns.t.Helper()
	for line := range strings.Lines(lines) {
		args := strings.Fields(line)
		if len(args) == 0 {
			continue
		}
		cmd := exec.Command("ip", args...)
		for _, o := range other {
			cmd.ExtraFiles = append(cmd.ExtraFiles, o.fd) // /proc/self/fd/3 and on
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		var err error
		ns.do(func() { err = cmd.Run() })
		if err != nil {
			ns.t.Fatalf("ip %s: %v: %s", strings.TrimSpace(line), err, out.String())
		}
	}
}

// veth joins two namespaces by a pair of devices with these names.
func veth(a *namespace, nameA string, b *namespace, nameB string) {
	a.t.Helper()
	a.ip(fmt.Sprintf("link add %s type veth peer name %s netns /proc/self/fd/3", nameA, nameB), b)
	a.ip("link set " + nameA + " up")
	b.ip("link set " + nameB + " up")
}

// listen opens a real socket in the namespace.
func (ns *namespace) listen(t Target) (c Conn, err error) {
	ns.do(func() { c, err = Listen(t) })
	return c, err
}

// live is a driver with real sockets in a namespace.
type live struct {
	*Driver
	t      *testing.T
	events chan Event
}

func runLive(t *testing.T, ns *namespace, targets ...Target) *live {
	t.Helper()
	l := &live{Driver: New(Options{Listen: ns.listen}), t: t, events: make(chan Event, 1024)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	go func() {
		defer func() { ended <- struct{}{} }()
		if err := l.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	go func() {
		defer func() { ended <- struct{}{} }()
		l.Watch(ctx, func(e Event) { l.events <- e })
	}()
	t.Cleanup(func() { cancel(); <-ended; <-ended })
	r, err := l.Apply(ctx, "gw", targets)
	if err != nil || len(r.Errors) != 0 {
		t.Fatalf("apply: %v %v", err, r.Errors)
	}
	return l
}

// until waits for the tunnel's state.
func (l *live) until(tunnel, state string) State {
	l.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		if s := l.State(tunnel); s.State == state {
			return s
		}
		select {
		case <-l.events:
		case <-timeout:
			l.t.Fatalf("%s is %+v, not %s, after 30 s", tunnel, l.State(tunnel), state)
		}
	}
}
