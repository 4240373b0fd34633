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
)

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
	log, err := os.OpenFile(filepath.Join(o.results, "install.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
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
	s, err := r.prepare(ctx)
	if err != nil {
		return 0, err
	}
	if r.describe {
		return 0, s.describe(ctx, os.Stdout)
	}
	if err := r.copySelf(); err != nil {
		return 0, err
	}
	if s.direct {
		return r.direct(ctx, s)
	}
	return r.vm(ctx, s)
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

// writeJob writes job.json and returns its path.
func (r *run) writeJob(s system) (string, error) {
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
		VM: !s.direct, Argv: argv, Dir: r.checkout, Results: r.results,
		Env: append(passEnv(os.Environ()),
			"BORDERGW_LAB="+s.mode(), "BORDERGW_LAB_SUITE="+s.suite, "BORDERGW_LIBRESWAN="+s.libreswan,
			"BORDERGW_RESULTS="+r.results, "TMPDIR="+guest.TempDir),
	}
	switch {
	case s.foreign():
		j.Checkout = r.checkout
	case j.VM:
		j.Modules = s.kernel.Modules()
	}
	path := filepath.Join(r.job, "job.json")
	return path, j.Write(path)
}

// passEnv returns the variables that the command gets from the caller.
func passEnv(environ []string) []string {
	var env []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case name == "BORDERGW_LAB", name == "BORDERGW_LAB_SUITE", name == "BORDERGW_LIBRESWAN", name == "BORDERGW_RESULTS":
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
