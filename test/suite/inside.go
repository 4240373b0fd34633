package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isolation starts a process in a network namespace and mounts of its own, so that jobs side by side have interfaces, rules, IPsec
// states and names of namespaces to themselves.
func isolation() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWNET,
		Unshareflags: unix.CLONE_NEWNS, // makes all mounts private as well
	}
}

// inside finishes the namespaces and becomes the program.
func inside(argv []string) int {
	err := prepare()
	if err == nil {
		err = unix.Exec(argv[0], argv, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "suite:", err)
	return 1
}

func prepare() error {
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := errors.Join(
		unix.Mount("sysfs", "/sys", "sysfs", 0, ""), // a new instance shows the interfaces of this network namespace
		unix.Mount("netns", "/run/netns", "tmpfs", 0, "mode=755"),
	); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
