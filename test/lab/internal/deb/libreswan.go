package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// dependsFile has the libraries that an unpacked package needs, one a line.
const dependsFile = "LAB-DEPENDS"

// FetchLibreswan returns the folder below cache in which Debian's libreswan is unpacked, downloading it the first time only. It cannot be
// installed, because it conflicts with strongSwan; the libraries that it needs are installed.
func (in *Installer) FetchLibreswan(ctx context.Context, cache string) (string, error) {
	root := filepath.Join(cache, "libreswan")
	depends, err := os.ReadFile(filepath.Join(root, dependsFile))
	if errors.Is(err, os.ErrNotExist) {
		depends, err = in.unpackLibreswan(ctx, cache, root)
	}
	if err != nil {
		return "", err
	}
	return root, in.Install(ctx, strings.Fields(string(depends))...)
}

func (in *Installer) unpackLibreswan(ctx context.Context, cache, root string) (depends []byte, err error) {
	if err := in.update(ctx); err != nil {
		return nil, err
	}
	in.Say("downloading libreswan")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := in.unpack(ctx, work, "libreswan"); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("libreswan: %d packages, %w", len(files), err)
	}
	out, err := exec.CommandContext(ctx, "dpkg-deb", "-f", files[0], "Depends").Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-deb -f %s: %w", files[0], err)
	}
	depends = []byte(strings.Join(libraries(string(out)), "\n") + "\n")
	if err := os.WriteFile(filepath.Join(work, "root", dependsFile), depends, 0o644); err != nil {
		return nil, err
	}
	return depends, os.Rename(filepath.Join(work, "root"), root)
}

// libreswanInside is where another suite's root file system has libreswan.
const libreswanInside = "/opt/libreswan"

// AddLibreswan unpacks libreswan of another suite in the root file system of that suite, with the libraries that it needs installed there.
// It does so the first time only. The folder that it returns is one of the root file system.
func (in *Installer) AddLibreswan(ctx context.Context, root string) (string, error) {
	done := filepath.Join(root, libreswanInside, dependsFile)
	if _, err := os.Stat(done); err == nil || !errors.Is(err, os.ErrNotExist) {
		return libreswanInside, err
	}
	in.Say("adding libreswan to %s", root)
	resolver, err := os.ReadFile("/etc/resolv.conf")
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "etc", "resolv.conf"), resolver, 0o644)
	}
	if err == nil {
		err = in.run(ctx, "", "chroot", root, "sh", "-ec", `
export DEBIAN_FRONTEND=noninteractive
cd /tmp
apt-get -q -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root update
apt-get -q -o APT::Sandbox::User=root download libreswan
dpkg-deb -x libreswan_*.deb `+libreswanInside+`
apt-get -q -y -o APT::Sandbox::User=root install --no-install-recommends $(dpkg-deb -f libreswan_*.deb Depends | tr , '\n' | awk '$1 ~ /^lib/ {print $1}')
rm libreswan_*.deb
apt-get clean`)
	}
	if err != nil {
		return "", err
	}
	return libreswanInside, os.WriteFile(done, nil, 0o644)
}

// libraries reads a Depends field and returns the packages whose names begin with lib: programs are for the package's scripts, which
// do not run here.
func libraries(field string) []string {
	var names []string
	for relation := range strings.SplitSeq(field, ",") {
		if name := strings.Fields(relation); len(name) > 0 && strings.HasPrefix(name[0], "lib") {
			names = append(names, name[0])
		}
	}
	return names
}
