package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bordergw/bordergw/test/lab/internal/deb"
	"github.com/bordergw/bordergw/test/lab/internal/probe"
)

// Packages that the scenarios use, and those that only a virtual machine needs.
func packagesInside() []string {
	return []string{
		"charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins", "libcharon-extra-plugins",
		"bird2", "iproute2", "iputils-ping", "nftables", "kmod", "tcpdump", "frr",
	}
}

func packagesVM() []string { return []string{"qemu-system-x86", "xz-utils"} }

// Values of BORDERGW_LAB.
const (
	modeVM     = "vm"
	modeDirect = "direct"
)

// system is what the command runs on.
type system struct {
	direct bool
	suite  string     // Debian's code name
	kernel deb.Kernel // of a virtual machine
	root   string     // root file system of a virtual machine
	// libreswan is the folder where it is unpacked, as the command sees it.
	libreswan string
}

func (s system) mode() string {
	if s.direct {
		return modeDirect
	}
	return modeVM
}

// foreign tells that the root file system is not the machine's own.
func (s system) foreign() bool { return !s.direct && s.root != "/" }

// prepare chooses the system and installs, downloads or makes what it needs.
func (r *run) prepare(ctx context.Context) (system, error) {
	own, err := deb.CodeName("/")
	if err != nil {
		return system{}, err
	}
	s := system{suite: own, root: "/"}
	if r.suite != "" && r.suite != own {
		return r.prepareForeign(ctx)
	}
	s.direct = r.mode == modeDirect
	if r.mode == "auto" {
		missing := probe.DataPath()
		switch s.direct = missing == nil; {
		case r.describe: // the command runs later, or not at all
		case s.direct:
			say("running directly: this kernel has the data path")
		default:
			say("running in a VM: this kernel cannot do it (%v)", missing)
		}
	}
	packages := packagesInside()
	if !s.direct {
		packages = append(packages, packagesVM()...)
	}
	if err := r.deb.Install(ctx, packages...); err != nil {
		return s, err
	}
	if s.libreswan, err = r.deb.FetchLibreswan(ctx, r.cache()); err != nil || s.direct {
		return s, err
	}
	s.kernel, err = r.deb.FetchKernel(ctx, r.cache())
	return s, err
}

// prepareForeign makes another suite ready, which has daemons and a kernel of its own and so always is a virtual machine.
func (r *run) prepareForeign(ctx context.Context) (system, error) {
	if r.mode == modeDirect {
		return system{}, errors.New("-mode direct: another suite needs its own kernel")
	}
	if err := r.deb.Install(ctx, append(packagesVM(), "kmod")...); err != nil {
		return system{}, err
	}
	kernel, err := r.deb.MakeRoot(ctx, r.cache(), r.suite, packagesInside())
	if err != nil {
		return system{}, err
	}
	libreswan, err := r.deb.AddLibreswan(ctx, kernel.Root)
	return system{suite: r.suite, kernel: kernel, root: kernel.Root, libreswan: libreswan}, err
}

// describe prints everything about the system that a test's result may depend on, one fact a line.
func (s system) describe(ctx context.Context, w io.Writer) error {
	versions, err := deb.Versions(ctx, s.root, packagesInside())
	if err != nil {
		return err
	}
	kernel := s.kernel.Version
	if s.direct {
		release, err := os.ReadFile("/proc/sys/kernel/osrelease")
		if err != nil {
			return err
		}
		kernel = strings.TrimSpace(string(release))
	}
	fmt.Fprintf(w, "mode %s\nsuite %s\nkernel %s\n", s.mode(), s.suite, kernel)
	for _, v := range versions {
		fmt.Fprintln(w, "package", v)
	}
	return nil
}
