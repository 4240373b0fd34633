// Package netlinktest is a kernel in memory for tests of the drivers. It keeps state, refuses what Linux refuses with
// the errno Linux uses, removes silently what Linux removes silently, and fails on demand.
package netlinktest

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Fault is one way in which a kernel, or the path to it, lets its user down. A fault happens once.
type Fault string

// The faults.
const (
	// LoseEvent drops the next event and says nothing.
	LoseEvent Fault = "event lost silently"
	// OverflowEvents ends every Watch at the next event, as ENOBUFS does.
	OverflowEvents Fault = "event buffer overflow"
	// InterruptDump makes the next listing return half of it and ErrInterrupted.
	InterruptDump Fault = "dump interrupted"
	// The next write fails with that errno and has no effect.
	WriteEEXIST Fault = "write fails with EEXIST"
	WriteENODEV Fault = "write fails with ENODEV"
	WriteEINTR  Fault = "write fails with EINTR"
	// WriteUnacknowledged makes the next write take effect although it returns ENOBUFS.
	WriteUnacknowledged Fault = "acknowledgement lost"
)

// Faults lists all of them.
func Faults() []Fault {
	return []Fault{LoseEvent, OverflowEvents, InterruptDump, WriteEEXIST, WriteENODEV, WriteEINTR, WriteUnacknowledged}
}

type routeKey struct {
	table  uint32
	prefix netip.Prefix
	metric uint32
}

type device struct {
	netlink.Link
	addresses []netlink.Address
}

type watcher struct {
	topics netlink.Topics
	events chan netlink.Event
	lost   chan struct{}
}

// Kernel is a network namespace. As a [netlink.Kernel] it is the one of the driver under test: its writes are counted,
// its events are marked as own, and faults hit it. Other programs act through Outside.
type Kernel struct {
	view

	mu        sync.Mutex
	sysctls   string
	nextIndex int
	devices   map[int]*device
	nexthops  map[uint32]netlink.Nexthop
	routes    map[routeKey]netlink.Route
	rules     map[bool][]netlink.Rule // of IPv6 or not, in order
	vrfRules  bool                    // the kernel's own for VRFs have been made
	sas       []netlink.SA
	policies  []netlink.Policy
	watchers  map[*watcher]bool
	armed     map[Fault]bool
	writes    []string
}

// view is one program's access to the kernel.
type view struct {
	k   *Kernel
	own bool
}

var _ netlink.Kernel = (*Kernel)(nil)

// New returns a namespace with a loopback device and a /proc/sys in a temporary folder.
func New(t testing.TB) *Kernel {
	k := &Kernel{
		sysctls:  t.TempDir(),
		devices:  make(map[int]*device),
		nexthops: make(map[uint32]netlink.Nexthop),
		routes:   make(map[routeKey]netlink.Route),
		rules:    initialRules(),
		watchers: make(map[*watcher]bool),
		armed:    make(map[Fault]bool),
	}
	k.view = view{k: k, own: true}
	for key, value := range map[string]string{
		"net/ipv4/ip_forward":                     "0",
		"net/ipv4/fib_multipath_hash_policy":      "0",
		"net/ipv6/fib_multipath_hash_policy":      "0",
		"net/ipv4/conf/all/rp_filter":             "0",
		"net/ipv4/conf/default/rp_filter":         "2",
		"net/ipv6/conf/all/forwarding":            "0",
		"net/ipv6/conf/default/forwarding":        "0",
		"net/ipv6/conf/all/keep_addr_on_down":     "0",
		"net/ipv4/conf/default/forwarding":        "0",
		"net/ipv6/conf/default/accept_ra":         "1",
		"net/ipv4/conf/default/disable_policy":    "0",
		"net/ipv6/conf/default/disable_policy":    "0",
		"net/ipv6/conf/default/keep_addr_on_down": "0",
	} {
		k.writeSysctl(key, value)
	}
	k.AddDevice("lo")
	return k
}

// SysctlRoot is the folder that stands for /proc/sys.
func (k *Kernel) SysctlRoot() string { return k.sysctls }

// Sysctl reads a sysctl by its path below SysctlRoot; empty when it does not exist.
func (k *Kernel) Sysctl(path string) string {
	b, err := os.ReadFile(filepath.Join(k.sysctls, path))
	if err != nil {
		return ""
	}
	return string(slices.DeleteFunc(b, func(c byte) bool { return c == '\n' }))
}

func (k *Kernel) writeSysctl(path, value string) {
	name := filepath.Join(k.sysctls, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		panic(err) // the test's own temporary folder
	}
	if err := os.WriteFile(name, []byte(value+"\n"), 0o644); err != nil {
		panic(err)
	}
}

// Outside is another program's access: not counted, not marked as own, not hit by faults.
func (k *Kernel) Outside() netlink.Kernel { return view{k: k} }

// Arm makes a fault happen at the next opportunity.
func (k *Kernel) Arm(f Fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed[f] = true
}

// Armed lists the faults that have not happened yet.
func (k *Kernel) Armed() []Fault {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.armed))
}

// TakeWrites returns the driver's writes since the last call, in order, one line each.
func (k *Kernel) TakeWrites() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.writes
	k.writes = nil
	return w
}

// write records one write of the driver and returns the error that a fault makes of it; effect tells whether the write
// happens nevertheless.
func (v view) write(format string, args ...any) (effect bool, err error) {
	if !v.own {
		return true, nil
	}
	k := v.k
	k.writes = append(k.writes, fmt.Sprintf(format, args...))
	for fault, errno := range map[Fault]unix.Errno{WriteEEXIST: unix.EEXIST, WriteENODEV: unix.ENODEV, WriteEINTR: unix.EINTR} {
		if k.armed[fault] {
			delete(k.armed, fault)
			return false, errno
		}
	}
	if k.armed[WriteUnacknowledged] {
		delete(k.armed, WriteUnacknowledged)
		return true, unix.ENOBUFS
	}
	return true, nil
}

// interrupted cuts a listing in half when that fault is armed.
func interrupted[T any](v view, list []T) ([]T, error) {
	if v.own && v.k.armed[InterruptDump] {
		delete(v.k.armed, InterruptDump)
		return list[:len(list)/2], netlink.ErrInterrupted
	}
	return list, nil
}

// emit delivers an event; the caller holds the lock.
func (v view) emit(e netlink.Event) {
	k := v.k
	e.Own = v.own && (e.Kind >= netlink.NexthopNew)
	for w := range k.watchers {
		if !selected(w.topics, e.Kind) {
			continue
		}
		if k.armed[LoseEvent] {
			delete(k.armed, LoseEvent)
			return
		}
		overflow := k.armed[OverflowEvents]
		if !overflow {
			select {
			case w.events <- e:
				continue
			default:
			}
		}
		delete(k.armed, OverflowEvents)
		close(w.lost)
		delete(k.watchers, w)
	}
}

func selected(t netlink.Topics, kind netlink.EventKind) bool {
	switch kind {
	case netlink.LinkNew, netlink.LinkGone:
		return t.Links
	case netlink.AddressNew, netlink.AddressGone:
		return t.Addresses
	case netlink.NexthopNew, netlink.NexthopGone:
		return t.Nexthops
	case netlink.RouteNew, netlink.RouteGone:
		return t.Routes
	default:
		return t.Rules
	}
}

// Watch implements [netlink.Kernel].
func (v view) Watch(ctx context.Context, topics netlink.Topics, ready func(), emit func(netlink.Event)) error {
	w := &watcher{topics: topics, events: make(chan netlink.Event, 1<<16), lost: make(chan struct{})}
	v.k.mu.Lock()
	v.k.watchers[w] = true
	v.k.mu.Unlock()
	defer func() {
		v.k.mu.Lock()
		defer v.k.mu.Unlock()
		delete(v.k.watchers, w)
	}()
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.lost:
			return fmt.Errorf("%w: %w", netlink.ErrEventsLost, unix.ENOBUFS)
		case e := <-w.events:
			emit(e)
		}
	}
}
