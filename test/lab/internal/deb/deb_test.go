package deb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNotInstalled(t *testing.T) {
	listing := "bird2 installed\nnftables config-files\nkmod installed\n"
	got := notInstalled([]string{"kmod", "nftables", "bird2", "qemu-system-x86"}, listing)
	if diff := cmp.Diff([]string{"nftables", "qemu-system-x86"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKernelPackage(t *testing.T) {
	got, err := kernelPackage("linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n")
	if err != nil || got != "linux-image-6.1.0-56-amd64" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := kernelPackage("linux-image-amd64\n"); err == nil {
		t.Errorf("no error for a package without dependencies, got %q", got)
	}
}

func TestEnabledServices(t *testing.T) {
	etc := t.TempDir()
	link := func(name, target string) string {
		t.Helper()
		path := filepath.Join(etc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := map[string]bool{
		link("systemd/system/multi-user.target.wants/bird.service", "/lib/systemd/system/bird.service"): true,
		link("systemd/system/strongswan-swanctl.service", "/lib/systemd/system/strongswan.service"):     true,
		link("rc3.d/S01bird", "../init.d/bird"):                                                         true,
	}
	link("rc3.d/K01disabled", "../init.d/disabled")
	if err := os.WriteFile(filepath.Join(etc, "systemd/system/own.service"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := enabledServices(etc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadKernel(t *testing.T) {
	root := t.TempDir()
	if _, err := loadKernel(root); !os.IsNotExist(err) {
		t.Fatalf("an empty folder is no kernel, got %v", err)
	}
	for _, file := range []string{"boot/vmlinuz-6.1", "lib/modules/6.1/modules.dep", "bin/busybox"} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, versionFile), []byte("6.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := loadKernel(root)
	if err != nil || k.Version != "6.1" {
		t.Fatalf("got %+v, %v", k, err)
	}
	if err := os.Remove(k.Image()); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKernel(root); err == nil || os.IsNotExist(err) {
		t.Errorf("a kernel without its image must be reported as damaged, got %v", err)
	}
}

func TestLibraries(t *testing.T) {
	got := libraries("dns-root-data, iproute2 | iproute, libc6 (>= 2.34), libpam0g (>= 0.99.7.1), libsystemd0 | libelogind0\n")
	if diff := cmp.Diff([]string{"libc6", "libpam0g", "libsystemd0"}, got); diff != "" {
		t.Error(diff)
	}
}
