package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Suites that the lab can run, by Debian's code names.
const (
	Bookworm = "bookworm"
	Trixie   = "trixie"
	Sid      = "sid"
)

// ParseSuite returns the code name of a suite that is given by its code name or as "debian12", "debian13" or "unstable". An empty name
// stays empty: it means the machine's own system.
func ParseSuite(name string) (string, error) {
	switch name {
	case "", Bookworm, Trixie, Sid:
		return name, nil
	case "debian12":
		return Bookworm, nil
	case "debian13":
		return Trixie, nil
	case "unstable":
		return Sid, nil
	}
	return "", fmt.Errorf("suite %q is none of %s, %s, %s", name, Bookworm, Trixie, Sid)
}

// CodeName returns the code name of the system below root, from its os-release(5). Debian's sid and testing share one.
func CodeName(root string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, "etc", "os-release"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(content)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", errors.New("os-release has no VERSION_CODENAME")
}

// rootFile is written last, so a folder that has it is complete. It lists the packages that were asked for.
const rootFile = "LAB-ROOT"

// MakeRoot returns the kernel in the root file system of another Debian suite, which is the folder cache/suite, with packages installed.
// It is made the first time only, and again when other packages are asked for. Kernel.Root is that root file system.
func (in *Installer) MakeRoot(ctx context.Context, cache, suite string, packages []string) (Kernel, error) {
	packages = append(slices.Clone(packages), metaPackage, "busybox-static")
	slices.Sort(packages)
	want := strings.Join(packages, "\n") + "\n"
	root := filepath.Join(cache, suite)
	if have, err := os.ReadFile(filepath.Join(root, rootFile)); err == nil && string(have) == want {
		return rootKernel(root)
	}
	if err := in.Install(ctx, "mmdebstrap"); err != nil {
		return Kernel{}, err
	}
	mirror, err := machineMirror(ctx)
	if err != nil {
		return Kernel{}, err
	}
	in.Say("making a root file system of %s from %s", suite, mirror)
	start := time.Now()
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Kernel{}, err
	}
	work := root + ".new"
	if err := errors.Join(os.RemoveAll(work), os.RemoveAll(root)); err != nil {
		return Kernel{}, err
	}
	if err := in.run(ctx, "", "mmdebstrap", mmdebstrapArgs(suite, work, mirror, packages)...); err != nil {
		return Kernel{}, errors.Join(err, os.RemoveAll(work))
	}
	if err := os.WriteFile(filepath.Join(work, rootFile), []byte(want), 0o644); err != nil {
		return Kernel{}, err
	}
	if err := os.Rename(work, root); err != nil {
		return Kernel{}, err
	}
	in.Say("%s ready in %.0f s", suite, time.Since(start).Seconds())
	return rootKernel(root)
}

func mmdebstrapArgs(suite, dir, mirror string, packages []string) []string {
	args := []string{
		"--variant=minbase", "--include=" + strings.Join(packages, ","),
		// The folder's parents need not be open to apt's own user; and nothing here is kept so long that old lists would harm.
		`--aptopt=APT::Sandbox::User "root"`, `--aptopt=Acquire::Check-Valid-Until "false"`,
	}
	for _, unread := range []string{"doc", "info", "locale", "man"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+unread+"/*")
	}
	return append(args, suite, dir, mirror)
}

// defaultMirror serves every suite.
const defaultMirror = "http://deb.debian.org/debian"

// machineMirror is where the machine gets its own Debian from: another suite is there, too.
func machineMirror(ctx context.Context) (string, error) {
	codeName, err := CodeName("/")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)",
		"Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	return pickMirror(string(out), codeName), nil
}

func pickMirror(targets, codeName string) string {
	for line := range strings.Lines(targets) {
		f := strings.Fields(line)
		if len(f) == 4 && f[0] == "Debian" && f[1] == codeName && f[2] == "main" && strings.HasPrefix(f[3], "http") {
			return strings.TrimSuffix(f[3], "/")
		}
	}
	return defaultMirror
}

// rootKernel finds the one kernel that is installed in a root file system.
func rootKernel(root string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("%s holds %d kernels (remove it to have it made anew)", root, len(images))
	}
	k := Kernel{Root: root, Version: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-"), Busybox: filepath.Join(root, "bin", "busybox")}
	return k, k.check()
}
