package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace.
type Host struct {
	lab  *Lab
	name string
	dir  string
	ns   netns.NsHandle
	nl   *netlink.Handle

	drops atomic.Int32 // numbers the tables of drops, so that several can be there at once
}

func newHost(l *Lab, name string) (*Host, error) {
	h := &Host{lab: l, name: name, dir: filepath.Join(l.run, name)}
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		return nil, err
	}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.ns, err = netns.Get()
		}
		made <- err
	}()
	if err := <-made; err != nil {
		return nil, err
	}
	var err error
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE, unix.NETLINK_XFRM); err != nil {
		return nil, err
	}
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := h.nl.LinkSetUp(lo); err != nil {
		return nil, err
	}
	return h, h.setSysctls(map[string]string{
		"net/ipv4/conf/all/rp_filter":      "0",
		"net/ipv4/conf/default/rp_filter":  "0",
		"net/ipv6/conf/all/accept_dad":     "0", // addresses are usable at once
		"net/ipv6/conf/default/accept_dad": "0",
	})
}

// Name is the host's name in its lab.
func (h *Host) Name() string { return h.name }

// Dir is a folder of the host for configuration and sockets. It is on a tmpfs and ends with the lab.
func (h *Host) Dir() string { return h.dir }

// NetNS is the host's network namespace. It stays open until the lab ends.
func (h *Host) NetNS() netns.NsHandle { return h.ns }

// Netlink is a handle in the host's namespace for the families ROUTE and XFRM.
func (h *Host) Netlink() *netlink.Handle { return h.nl }

// Do runs f on a thread that is in the host's namespace, and returns its error. Sockets that f opens stay in the
// namespace; goroutines that f starts do not.
func (h *Host) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			result <- err
			return
		}
		defer func() { _ = home.Close() }()
		if err := netns.Set(h.ns); err != nil {
			result <- fmt.Errorf("enter %s: %w", h.name, err)
			return
		}
		err = f()
		// A thread that cannot go home is not unlocked, and so ends with this goroutine.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// Sysctl sets one value. key has dots, as sysctl(8) prints it, or slashes where a name contains a dot.
func (h *Host) Sysctl(key, value string) {
	h.lab.t.Helper()
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	h.lab.must(h.setSysctls(map[string]string{key: value}), "%s: sysctl", h.name)
}

// Forward makes the host a router for IPv4 and IPv6 that spreads traffic by the 5-tuple.
func (h *Host) Forward() {
	h.lab.t.Helper()
	h.lab.must(h.setSysctls(map[string]string{
		"net/ipv4/ip_forward":                "1",
		"net/ipv6/conf/all/forwarding":       "1",
		"net/ipv4/fib_multipath_hash_policy": "1",
		"net/ipv6/fib_multipath_hash_policy": "1",
	}), "%s: forward", h.name)
}

func (h *Host) setSysctls(values map[string]string) error {
	return h.Do(func() error {
		for key, value := range values {
			if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *Host) close() {
	h.nl.Close()
	_ = h.ns.Close()
}
