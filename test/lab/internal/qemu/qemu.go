// Package qemu says how the lab's guest is run.
package qemu

import (
	"fmt"
	"os"
	"strings"
)

// Names of the guest's virtio ports, and the 9p tags of its shared folders.
const (
	PortStdout  = "lab.stdout"
	PortStderr  = "lab.stderr"
	PortControl = "lab.control"
	TagRoot     = "root"
	TagJob      = "job"
	TagCheckout = "checkout"
	TagResults  = "results"
)

// Machine describes one guest.
type Machine struct {
	Kernel, Initramfs string
	KVM               bool
	MemoryMiB, CPUs   int
	// Job is a folder with the labrun binary and job.json.
	Job string
	// Root and Job are exported read-only, Results writable. Checkout is exported read-only, unless it is empty: then Root holds it.
	Root, Checkout, Results string
	// Serial is the file that receives the kernel's messages.
	Serial string
	// Sockets gives, for every port name, the unix socket at which the host listens.
	Sockets map[string]string
}

// Args returns the arguments of qemu-system-x86_64.
func (m Machine) Args() []string {
	args := []string{"-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-serial", "file:" + quote(m.Serial)}
	if m.KVM {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,thread=multi", "-cpu", "max")
	}
	args = append(args,
		"-smp", fmt.Sprint(m.CPUs), "-m", fmt.Sprintf("%dM", m.MemoryMiB),
		"-kernel", m.Kernel, "-initrd", m.Initramfs,
		// mitigations=off: nobody else's code runs in the guest, and under emulation they cost much.
		// apparmor=0: the distribution's profiles confine the daemons to the distribution's paths.
		// softlockup_panic: a kernel that has hung for twice the threshold in seconds ends, so that something else can be done.
		// tsc: an emulated CPU's counter is the host's, the same on all of them, but the kernel does not trust it, and its second choice, the
		// HPET, leaves the emulation for each look at the clock. no5lvl: the CPU offers five levels of page tables, four are faster to walk.
		"-append", "console=ttyS0 quiet panic=-1 softlockup_panic=1 watchdog_thresh=45 clocksource=tsc tsc=reliable no5lvl "+
			"mitigations=off random.trust_cpu=on apparmor=0 lab.job="+m.Job,
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci")
	for _, port := range []string{PortStdout, PortStderr, PortControl} {
		id := strings.ReplaceAll(port, ".", "-")
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=%s,path=%s", id, quote(m.Sockets[port])),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,name=%s", id, port))
	}
	args = append(args, share(TagRoot, m.Root, ",readonly=on")...)
	args = append(args, share(TagJob, m.Job, ",readonly=on")...)
	if m.Checkout != "" {
		args = append(args, share(TagCheckout, m.Checkout, ",readonly=on")...)
	}
	return append(args, share(TagResults, m.Results, "")...)
}

// share exports a folder over 9p. remap gives files of different host file systems different inode numbers.
func share(tag, path, more string) []string {
	return []string{
		"-fsdev", fmt.Sprintf("local,id=%s,path=%s,security_model=none,multidevs=remap%s", tag, quote(path), more),
		"-device", fmt.Sprintf("virtio-9p-pci,fsdev=%s,mount_tag=%s", tag, tag),
	}
}

// quote doubles commas, which separate suboptions in QEMU's arguments.
func quote(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// HasKVM tells whether a stock kernel can run under KVM here. The flags of the CPU decide: a machine may offer
// /dev/kvm and still be unable to run a guest that was not built for it.
func HasKVM() bool {
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return virtualizes(string(cpuinfo))
}

func virtualizes(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		for _, flag := range strings.Fields(value) {
			if flag == "vmx" || flag == "svm" {
				return true
			}
		}
	}
	return false
}
