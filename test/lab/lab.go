// Package lab builds small networks out of network namespaces and runs real daemons and real traffic in them. It works
// inside the environment of labrun only, where nothing it does can reach the machine.
//
// A Lab holds Hosts, which are joined by Wires. Everything that a Lab started ends with its test; when the test
// failed, the ends of all daemons' logs and the state of every host go to the test's log first.
//
// Methods that build something fail the test when they cannot. Methods that look at something return an error, so that
// Eventually can call them until they agree.
package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
)

// T is the part of *testing.T that the lab uses, so that a program can bring its own.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Name() string
	TempDir() string
	Context() context.Context
	Failed() bool
}

var _ T = (*testing.T)(nil)

// Lab is one network. Several may exist one after another, or beside each other.
type Lab struct {
	t       T
	results string // where logs go, on the machine
	run     string // sockets and generated configuration, on a tmpfs; short, for unix sockets

	once    sync.Once
	mu      sync.Mutex
	hosts   []*Host
	daemons []*Process
	agents  []*Agent
	closers []func()
}

// New returns an empty lab that ends with the test t. It fails the test outside of labrun's environment.
func New(t T) *Lab {
	t.Helper()
	if os.Getenv("BORDERGW_LAB") == "" {
		t.Fatalf("not inside the lab: run this with go run ./test/lab/labrun -- COMMAND")
	}
	run, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	l := &Lab{t: t, run: run, results: filepath.Join(os.Getenv("BORDERGW_RESULTS"), folderName(t.Name()))}
	if err := os.MkdirAll(l.results, 0o755); err != nil {
		t.Fatalf("lab: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

// Results is the folder for what this lab leaves on the machine.
func (l *Lab) Results() string { return l.results }

// Host returns the host by name, creating it at first use: a network namespace with its loopback interface up.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		if h.name == name {
			return h
		}
	}
	h, err := newHost(l, name)
	if err != nil {
		l.t.Fatalf("lab: host %s: %v", name, err)
	}
	l.hosts = append(l.hosts, h)
	return h
}

// onClose registers f to run when the lab ends, before the daemons are stopped, last registered first.
func (l *Lab) onClose(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// Close ends the lab before its test does.
func (l *Lab) Close() { l.once.Do(l.close) }

func (l *Lab) close() {
	if l.t.Failed() {
		l.Dump()
	}
	l.mu.Lock()
	closers, daemons, agents, hosts := l.closers, l.daemons, l.agents, l.hosts
	l.mu.Unlock()
	for _, a := range agents {
		a.leave()
	}
	for i := len(closers) - 1; i >= 0; i-- {
		closers[i]()
	}
	for i := len(daemons) - 1; i >= 0; i-- {
		daemons[i].end()
	}
	for _, h := range hosts {
		h.close()
	}
	if err := os.RemoveAll(l.run); err != nil {
		l.t.Errorf("lab: %v", err)
	}
}

// must fails the test when err is not nil.
func (l *Lab) must(err error, format string, args ...any) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("lab: %s: %v", fmt.Sprintf(format, args...), err)
	}
}

var notInFolderNames = regexp.MustCompile(`[^A-Za-z0-9._=-]+`)

func folderName(test string) string { return notInFolderNames.ReplaceAllString(test, "_") }
