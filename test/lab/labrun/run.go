package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bordergw/bordergw/test/lab/internal/deb"
	"github.com/bordergw/bordergw/test/lab/internal/guest"
	"github.com/bordergw/bordergw/test/lab/internal/probe"
)

// Packages that the scenarios use, and those that only a virtual machine needs.
func packagesInside() []string {
	return []string{
		"charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins", "libcharon-extra-plugins",
		"bird2", "iproute2", "iputils-ping", "nftables", "kmod", "tcpdump",
	}
}

func packagesVM() []string { return []string{"qemu-system-x86", "xz-utils"} }

// run is one run of labrun.
type run struct {
	options
	checkout string
	job      string // temporary folder: the binary and job.json, sockets
	log      *os.File
	deb      *deb.Installer
}

func newRun(o options, checkout string) (*run, error) {
	if err := os.MkdirAll(o.results, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(o.results, "install.log"))
	if err != nil {
		return nil, err
	}
	job, err := os.MkdirTemp("", "labrun-")
	if err != nil {
		return nil, err
	}
	return &run{options: o, checkout: checkout, job: job, log: log, deb: &deb.Installer{Say: say, Log: log}}, nil
}

func (r *run) close() {
	_ = r.log.Close()
	_ = os.RemoveAll(r.job)
}

// run chooses where to run the command, runs it and returns its exit code.
func (r *run) run(ctx context.Context) (int, error) {
	direct := r.mode == "direct"
	if r.mode == "auto" {
		missing := probe.DataPath()
		if direct = missing == nil; direct {
			say("running directly: this kernel has the data path")
		} else {
			say("running in a VM: this kernel cannot do it (%v)", missing)
		}
	}
	if err := r.copySelf(); err != nil {
		return 0, err
	}
	packages := packagesInside()
	if direct {
		if err := r.deb.Install(ctx, packages...); err != nil {
			return 0, err
		}
		return r.direct(ctx)
	}
	if err := r.deb.Install(ctx, append(packages, packagesVM()...)...); err != nil {
		return 0, err
	}
	kernel, err := r.deb.FetchKernel(ctx, r.cache())
	if err != nil {
		return 0, err
	}
	return r.vm(ctx, kernel)
}

func (r *run) cache() string {
	if dir := os.Getenv("BORDERGW_LAB_CACHE"); dir != "" {
		return dir
	}
	return filepath.Join(r.checkout, ".cache", "lab")
}

// copySelf puts this binary into the job folder: go run deletes the original when it is interrupted.
func (r *run) copySelf() error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(r.binary(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

func (r *run) binary() string { return filepath.Join(r.job, "labrun") }

// writeJob writes job.json and returns its path. mode becomes BORDERGW_LAB.
func (r *run) writeJob(mode string, kernel deb.Kernel) (string, error) {
	argv := append([]string(nil), r.argv...)
	if strings.Contains(argv[0], "/") {
		// A relative path means the caller's directory, which need not be the checkout.
		abs, err := filepath.Abs(argv[0])
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(abs); err != nil {
			return "", fmt.Errorf("the command: %w", err)
		}
		argv[0] = abs
	}
	j := guest.Job{
		VM: mode == modeVM, Argv: argv, Dir: r.checkout, Results: r.results,
		Env: append(passEnv(os.Environ()),
			"BORDERGW_LAB="+mode, "BORDERGW_RESULTS="+r.results, "TMPDIR="+guest.TempDir),
	}
	if j.VM {
		j.Modules = kernel.Modules()
	}
	path := filepath.Join(r.job, "job.json")
	return path, j.Write(path)
}

// Values of BORDERGW_LAB.
const (
	modeVM     = "vm"
	modeDirect = "direct"
)

// passEnv returns the variables that the command gets from the caller.
func passEnv(environ []string) []string {
	var env []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case name == "BORDERGW_LAB", name == "BORDERGW_RESULTS":
		case strings.HasPrefix(name, "BORDERGW_"):
			env = append(env, variable)
		case name == "CI", name == "PATH", name == "HOME", name == "GOTRACEBACK":
			env = append(env, variable)
		}
	}
	return env
}

// tail returns the last lines of a file, for error messages.
func tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
