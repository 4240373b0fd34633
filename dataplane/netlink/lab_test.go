//go:build lab

package netlink_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func open(t *testing.T) *netlink.Handle {
	t.Helper()
	h, err := netlink.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// TestLabConforms holds the real kernel to what the fake one does.
func TestLabConforms(t *testing.T) {
	netlinktest.Namespace(t)
	h := open(t)
	err := h.AddVRF("probe", 77)
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Log("this kernel has no VRFs: they and XFRM interfaces are not tried")
	}
	conform(t, h, func(name string) {
		ip(t, "link", "add", name, "type", "veth", "peer", name+"p")
		ip(t, "link", "set", name, "up")
		ip(t, "link", "set", name+"p", "up")
		ip(t, "address", "add", "192.0.2.1/24", "dev", name)
	}, err == nil)
}

// An overflowing subscription ends with ErrEventsLost, an ended context without an error.
func TestLabWatchEnds(t *testing.T) {
	netlinktest.Namespace(t)
	h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := h.Watch(ctx, netlink.Topics{Links: true}, func() { ip(t, "link", "set", "lo", "up") }, func(e netlink.Event) {
		seen++
		if e.Kind == netlink.LinkNew && e.Link.Name == "lo" && e.Link.OperUp() {
			cancel()
		}
	})
	if err != nil || seen == 0 {
		t.Errorf("Watch: %v after %d events", err, seen)
	}
}
