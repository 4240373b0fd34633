package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Commands of this program on the inside of the lab.
const (
	guestCommand  = "guest"
	insideCommand = "inside"
)

// maxAgain is how many jobs may fail and be run once more, alone: a few are what a busy machine does, more are a defect.
const maxAgain = 3

// result is what became of one job.
type result struct {
	Name    string
	Seconds float64
	Tally   tally
	Error   string   // that no test has reported
	Inputs  []string // files of the checkout that the tests read, relative to it
}

func (r result) passed() bool { return r.Error == "" && r.Tally.good() }

// runner runs jobs inside the lab.
type runner struct {
	task
	out    io.Writer
	ending chan struct{} // closed when no more jobs are to be started

	mu   sync.Mutex
	done []result
}

// guest runs inside the lab: all jobs, some side by side, each in namespaces of its own. It is the host that sums up.
func guest(file string) int {
	r := &runner{out: os.Stdout, ending: make(chan struct{})}
	if err := readJSON(file, &r.task); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		return 1
	}
	// The lab ends a command that takes too long with SIGQUIT. The tests get it as well and show their goroutines; that must be printed.
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, unix.SIGQUIT)
	go func() {
		<-quit
		close(r.ending)
	}()
	for _, atOnce := range []int{0, 2, 1} {
		jobs := slices.DeleteFunc(slices.Clone(r.Jobs), func(j job) bool { return j.AtOnce != atOnce })
		r.runAll(jobs, min(r.Parallel, cmp.Or(atOnce, r.Parallel)))
	}
	if failed := r.failed(); len(failed) <= maxAgain {
		r.runAll(failed, 1)
	}
	if len(r.failed()) > 0 || len(r.done) < len(r.Jobs) {
		return 1
	}
	return 0
}

// failed returns the jobs of which the last run did not pass.
func (r *runner) failed() []job {
	passed := map[string]bool{}
	for _, d := range r.done {
		passed[d.Name] = d.passed()
	}
	return slices.DeleteFunc(slices.Clone(r.Jobs), func(j job) bool {
		p, ended := passed[j.Name]
		return p || !ended
	})
}

// runAll runs jobs, so many at once, and returns when they have ended.
func (r *runner) runAll(jobs []job, parallel int) {
	queue := make(chan job)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for j := range queue {
				r.one(j)
			}
		})
	}
	r.feed(jobs, queue)
	workers.Wait()
}

func (r *runner) feed(jobs []job, queue chan<- job) {
	defer close(queue)
	for _, j := range jobs {
		select {
		case <-r.ending:
			return
		default:
		}
		select {
		case queue <- j:
		case <-r.ending:
			return
		}
	}
}

// one runs a job, prints its output as a whole and records the result.
func (r *runner) one(j job) {
	start := time.Now()
	output, inputs, err := r.execute(j)
	d := result{Name: j.Name, Tally: count(string(output)), Inputs: inputs, Seconds: time.Since(start).Seconds()}
	// The exit code of a binary with failed tests tells nothing more.
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || len(d.Tally.Failures) == 0) {
		d.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "=== %s (%.1f s)\n%s", j.Name, d.Seconds, output)
	r.done = append(r.done, d)
	if err := writeJSON(r.Done, r.done); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
	}
}

// execute returns the output of a job's process and what of the checkout it has read.
func (r *runner) execute(j job) (output []byte, inputs []string, err error) {
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	log := filepath.Join(dir, "testlog")
	cmd := exec.Command(self, append(append([]string{insideCommand}, j.Argv...), "-test.testlogfile="+log)...)
	cmd.Dir = j.Dir
	cmd.Env = append(os.Environ(), "BORDERGW_LAB_SECRETS="+filepath.Join(r.Secrets, filepath.Base(dir)))
	if j.programs() {
		cmd.Env = append(cmd.Env, "BORDERGW_AGENT="+r.Agent, "BORDERGW_CTL="+r.Ctl, "BORDERGW_CONTROLLER="+r.Controller)
	}
	cmd.SysProcAttr = isolation()
	// Daemons that a test leaves hold the pipe open.
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	content, readErr := os.ReadFile(log)
	if err == nil && readErr != nil {
		err = readErr
	}
	output = out.Bytes()
	if len(output) > 0 && !bytes.HasSuffix(output, []byte("\n")) {
		output = append(output, '\n')
	}
	return output, readFiles(string(content), j.Dir, r.Checkout, os.Getenv("BORDERGW_RESULTS")), err
}

// readFiles returns the files and folders below checkout that a test process opened or looked at, from the log that package testing
// writes for the go command (cmd/go/internal/test: computeTestInputsID). Results are no inputs, nor is what was built, which has
// hashes of its own.
func readFiles(log, dir, checkout, results string) []string {
	seen := map[string]bool{}
	var files []string
	for line := range strings.Lines(log) {
		op, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if op != "open" && op != "stat" && op != "chdir" {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if op == "chdir" {
			dir = path
			continue
		}
		if below(path, results) || below(path, filepath.Join(checkout, ".cache")) || !below(path, checkout) || seen[path] {
			continue
		}
		seen[path] = true
		files = append(files, strings.TrimPrefix(strings.TrimPrefix(path, checkout), "/"))
	}
	return files
}

func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}
