package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// task is what the guest is told to do, in a file.
type task struct {
	Jobs                   []job
	Parallel               int
	Checkout               string
	Agent, Ctl, Controller string // the programs under test
	Secrets                string // folder for the secrets that tests hand out, a file for each job
	Done                   string // file for what became of the jobs
}

// where describes the system that tests run on: labrun's facts, one a line.
type where string

// fact returns the first fact of that name, or "".
func (w where) fact(name string) string {
	for line := range strings.Lines(string(w)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (w where) String() string {
	mode := "directly on this kernel"
	if w.fact("mode") == "vm" {
		mode = "in a VM"
	}
	return fmt.Sprintf("%s (%s, kernel %s, strongSwan %s)", mode, w.fact("suite"), w.fact("kernel"), w.fact("package charon-systemd"))
}

// describe makes the lab ready and asks what it is.
func describe(ctx context.Context, b *builder, o options) (where, error) {
	cmd := labrun(ctx, b, o, "-describe")
	cmd.Stdout = nil
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("labrun -describe: %w", err)
	}
	return where(out), nil
}

func labrun(ctx context.Context, b *builder, o options, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.labrun(), append([]string{"-results", o.results, "-suite", o.system}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

// guestDied is labrun's exit code when the lab itself has ended, and not the command in it.
const guestDied = 125

// runInLab runs jobs in one boot of the lab, adds what became of them to the sum and remembers what passed. If the guest dies on the way,
// what is left runs in a second boot, and the sum says so.
func runInLab(ctx context.Context, b *builder, o options, jobs []job, store *store, sum *sum) error {
	// A random name: what a test leaves must not be found by it in a later run.
	dir, err := os.MkdirTemp(o.results, ".suite-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t := task{Jobs: jobs, Parallel: o.parallel, Checkout: b.checkout, Agent: b.program("bordergw-agent"), Ctl: b.program("bordergwctl"), Controller: b.program("bordergw-controller"),
		Secrets: filepath.Join(dir, "secrets"), Done: filepath.Join(dir, "done.json")}
	if err := errors.Join(clearResults(o.results, jobs), os.Mkdir(t.Secrets, 0o700)); err != nil {
		return err
	}
	done, code, err := boot(ctx, b, o, t)
	if err != nil {
		return err
	}
	if left := unfinished(jobs, done); code == guestDied && len(done) > 0 && len(left) > 0 && ctx.Err() == nil {
		sum.died(left)
		if err := keepSerial(o.results); err != nil {
			return err
		}
		t.Jobs = left
		more, again, err := boot(ctx, b, o, t)
		if err != nil {
			return err
		}
		done, code = append(done, more...), again
	}
	leaks, err := leakedSecrets(t.Secrets, o.results, dir)
	if err != nil {
		return err
	}
	sum.addRun(jobs, done, leaks, code)
	if len(leaks) > 0 {
		return nil // which test told the secret is not certain, so none is taken for good
	}
	return store.add(jobs, done)
}

// boot runs a task in the lab and returns what became of its jobs, as far as they have ended, and labrun's exit code.
func boot(ctx context.Context, b *builder, o options, t task) (done []result, code int, err error) {
	file := filepath.Join(filepath.Dir(t.Done), "task.json")
	if err := errors.Join(writeJSON(file, t), os.RemoveAll(t.Done)); err != nil {
		return nil, 0, err
	}
	cmd := labrun(ctx, b, o, "-timeout", o.timeout.String(), "--", b.program("suite"), guestCommand, file)
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, 0, err
	}
	if err := readJSON(t.Done, &done); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, err
	}
	return done, cmd.ProcessState.ExitCode(), nil
}

// unfinished returns the jobs that have no result.
func unfinished(jobs []job, done []result) []job {
	return slices.DeleteFunc(slices.Clone(jobs), func(j job) bool {
		return slices.ContainsFunc(done, func(r result) bool { return r.Name == j.Name })
	})
}

// keepSerial renames the log of a kernel that died, before the next one writes its own.
func keepSerial(results string) error {
	return os.Rename(filepath.Join(results, "serial.log"), filepath.Join(results, "serial-died.log"))
}

// clearResults removes what earlier runs of the same tests left.
func clearResults(results string, jobs []job) error {
	var errs []error
	for _, j := range jobs {
		for _, test := range j.Tests {
			folders, err := filepath.Glob(filepath.Join(results, test+"_*"))
			errs = append(errs, err, os.RemoveAll(filepath.Join(results, test)))
			for _, f := range folders {
				errs = append(errs, os.RemoveAll(f))
			}
		}
	}
	return errors.Join(errs...)
}

func writeJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	// Replaced as a whole: a guest that dies while it writes leaves the last good one.
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func readJSON(path string, to any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(content)).Decode(to)
}
