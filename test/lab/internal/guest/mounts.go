package guest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab/internal/qemu"
)

// TempDir is the command's TMPDIR: on a tmpfs, and short, because unix socket paths end at 107 bytes.
const TempDir = "/run/tmp"

// share are the mount options of all folders that the host shares.
const share = "trans=virtio,version=9p2000.L,msize=1048576"

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// prepare makes file systems, the host name and the loopback interface ready.
func prepare(j Job) error {
	mounts := []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""}, // a new instance shows the interfaces of the current network namespace
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
	}
	if j.VM {
		mounts = append(mounts,
			mount{"dev", "/dev", "devtmpfs", 0, ""},
			mount{"devpts", "/dev/pts", "devpts", 0, "ptmxmode=666"},
			mount{"tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777"})
		if j.Modules != "" {
			mounts = append(mounts, mount{j.Modules, filepath.Join("/lib/modules", filepath.Base(j.Modules)), "", unix.MS_BIND, ""})
		}
		if j.Checkout != "" {
			mounts = append(mounts, mount{qemu.TagCheckout, j.Checkout, "9p", unix.MS_RDONLY, share + ",cache=loose"})
		}
		// No cache: what is written must be on the host even when the guest dies a moment later.
		mounts = append(mounts, mount{qemu.TagResults, j.Results, "9p", 0, share + ",cache=none"})
	}
	if !j.VM {
		// The machine's own folder, which may lie below a folder that is about to be covered.
		results, err := os.Open(j.Results)
		if err != nil {
			return err
		}
		defer func() { _ = results.Close() }()
		mounts = append(mounts, mount{fmt.Sprintf("/proc/self/fd/%d", results.Fd()), j.Results, "", unix.MS_BIND, ""})
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := os.Mkdir(TempDir, 0o777); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
