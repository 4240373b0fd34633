package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Kernel is Debian's stock kernel in a folder: unpacked there, or installed in a root file system. It is not installed on the
// machine, so /boot and the boot loader stay as they are.
type Kernel struct {
	Root    string // has boot/ and lib/modules/
	Version string // as uname -r prints it
	Busybox string // a static busybox
}

// Image is the path of the kernel image.
func (k Kernel) Image() string { return filepath.Join(k.Root, "boot", "vmlinuz-"+k.Version) }

// Modules is the folder of its modules, which belongs at /lib/modules/<version> of the machine that runs it.
func (k Kernel) Modules() string { return filepath.Join(k.Root, "lib", "modules", k.Version) }

// metaPackage depends on the newest kernel of the distribution. The cloud flavour has no 9p file system.
const metaPackage = "linux-image-amd64"

// FetchKernel returns the kernel in the folder cache, downloading and unpacking it the first time only. A download
// that was interrupted leaves nothing that a later call would take for a kernel.
func (in *Installer) FetchKernel(ctx context.Context, cache string) (Kernel, error) {
	root := filepath.Join(cache, "kernel")
	if k, err := loadKernel(root); err == nil {
		return k, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return Kernel{}, err
	}
	if err := in.update(ctx); err != nil {
		return Kernel{}, err
	}
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--important", metaPackage).Output()
	if err != nil {
		return Kernel{}, fmt.Errorf("apt-cache depends %s: %w", metaPackage, err)
	}
	image, err := kernelPackage(string(out))
	if err != nil {
		return Kernel{}, err
	}
	in.Say("downloading %s", image)
	start := time.Now()
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Kernel{}, err
	}
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return Kernel{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := in.unpack(ctx, work, image, "busybox-static"); err != nil {
		return Kernel{}, err
	}
	version := strings.TrimPrefix(image, "linux-image-")
	if err := in.run(ctx, "", "depmod", "-b", filepath.Join(work, "root"), version); err != nil {
		return Kernel{}, err
	}
	if err := os.WriteFile(filepath.Join(work, "root", versionFile), []byte(version+"\n"), 0o644); err != nil {
		return Kernel{}, err
	}
	if err := os.Rename(filepath.Join(work, "root"), root); err != nil {
		return Kernel{}, err
	}
	in.Say("kernel %s unpacked in %.0f s", version, time.Since(start).Seconds())
	return loadKernel(root)
}

// versionFile is written last, so a folder that has it is complete.
const versionFile = "LAB-KERNEL"

func loadKernel(root string) (Kernel, error) {
	version, err := os.ReadFile(filepath.Join(root, versionFile))
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{Root: root, Version: strings.TrimSpace(string(version)), Busybox: filepath.Join(root, "bin", "busybox")}
	return k, k.check()
}

func (k Kernel) check() error {
	for _, file := range []string{k.Image(), filepath.Join(k.Modules(), "modules.dep"), k.Busybox} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("the kernel cache %s is damaged (remove it): %w", k.Root, err)
		}
	}
	return nil
}

// unpack downloads packages into dir and unpacks them together into dir/root.
func (in *Installer) unpack(ctx context.Context, dir string, packages ...string) error {
	for _, p := range packages {
		if err := in.run(ctx, dir, "apt-get", append(append([]string{"download"}, aptOptions()...), p)...); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(dir, p+"_*.deb"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("download of %s left %d files", p, len(files))
		}
		if err := in.run(ctx, dir, "dpkg-deb", "-x", files[0], "root"); err != nil {
			return err
		}
	}
	return nil
}

var kernelName = regexp.MustCompile(`Depends: (linux-image-\d\S*)`)

// kernelPackage finds the versioned package in what apt-cache depends prints about the meta package.
func kernelPackage(depends string) (string, error) {
	m := kernelName.FindStringSubmatch(depends)
	if m == nil {
		return "", fmt.Errorf("%s names no kernel package: %q", metaPackage, depends)
	}
	// A signed and an unsigned build exist under different names; the version is the same.
	return m[1], nil
}
