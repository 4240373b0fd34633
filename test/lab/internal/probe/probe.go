// Package probe finds out whether the running kernel has bordergw's data path.
package probe

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNotRoot is returned when the caller may not create network namespaces, so nothing could be tried.
var ErrNotRoot = errors.New("not root")

// DataPath tries, in a network namespace of its own, everything that the scenarios need from the kernel: a VRF, an
// XFRM interface, an ESP state with AES-GCM and a veth pair. It returns nil when all of it worked, and otherwise an
// error that names what did not. Versions and configuration files are never consulted: vendors backport and remove.
//
// Trying loads kernel modules where the kernel can; it changes nothing else on the machine.
func DataPath() error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread, which now is in another namespace, ends with this goroutine.
		runtime.LockOSThread()
		result <- tryHere()
	}()
	return <-result
}

func tryHere() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_XFRM)
	if err != nil {
		return fmt.Errorf("netlink sockets (route, xfrm): %w", err)
	}
	defer h.Close()
	for _, step := range []struct {
		what string
		try  func(*netlink.Handle) error
	}{
		{"ESP state with AES-GCM", addState},
		{"XFRM interface", addXfrmInterface},
		{"VRF", func(h *netlink.Handle) error {
			return h.LinkAdd(&netlink.Vrf{LinkAttrs: attrs("vrf0"), Table: 1000})
		}},
		{"veth pair", func(h *netlink.Handle) error {
			return h.LinkAdd(&netlink.Veth{LinkAttrs: attrs("veth0"), PeerName: "veth1"})
		}},
	} {
		if err := step.try(h); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func addXfrmInterface(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	a := attrs("xfrm0")
	a.ParentIndex = lo.Attrs().Index
	return h.LinkAdd(&netlink.Xfrmi{LinkAttrs: a, Ifid: 1})
}

func addState(h *netlink.Handle) error {
	return h.XfrmStateAdd(&netlink.XfrmState{
		Src:   net.IPv4(192, 0, 2, 1),
		Dst:   net.IPv4(192, 0, 2, 2),
		Proto: netlink.XFRM_PROTO_ESP,
		Mode:  netlink.XFRM_MODE_TUNNEL,
		Spi:   0x1001,
		Ifid:  1,
		Aead: &netlink.XfrmStateAlgo{
			Name:   "rfc4106(gcm(aes))",
			Key:    make([]byte, 20), // RFC 4106 section 8.1: a 16-byte key and a 4-byte salt
			ICVLen: 128,
		},
	})
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}
