package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is what a daemon has to end after SIGTERM.
const stopGrace = 10 * time.Second

// ProcessOptions change how a process is started.
type ProcessOptions struct {
	Env []string // added to the caller's environment
	Dir string   // working directory; the caller's when empty
}

// Process is a program that runs in the background in a host's namespace.
type Process struct {
	host *Host
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process ended and its output was written
	err  error         // set before done is closed
}

// Start starts a program in the host's namespace. Its output is appended to a file of that name in the lab's results.
// It is killed when the lab ends, if it still runs.
func (h *Host) Start(name string, o ProcessOptions, argv ...string) *Process {
	h.lab.t.Helper()
	p, err := h.start(name, o, argv...)
	h.lab.must(err, "%s: start %s", h.name, name)
	return p
}

func (h *Host) start(name string, o ProcessOptions, argv ...string) (*Process, error) {
	if len(argv) == 0 {
		return nil, errors.New("no program")
	}
	p := &Process{host: h, name: name, log: filepath.Join(h.lab.results, h.name+"-"+name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Env = o.Dir, append(os.Environ(), o.Env...)
	// A pipe lies between the process and the log, so that a daemon never waits for a slow shared folder.
	output := &onlyWriter{w: log}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.Do(p.cmd.Start); err != nil {
		_ = log.Close()
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		_ = log.Close()
		close(p.done)
	}()
	h.lab.mu.Lock()
	h.lab.daemons = append(h.lab.daemons, p)
	h.lab.mu.Unlock()
	return p, nil
}

// onlyWriter hides that the log is a file, which exec would hand to the process.
type onlyWriter struct {
	mu sync.Mutex
	w  *os.File
}

func (o *onlyWriter) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Memory is what the process has in RAM now, and the most that it ever had, in bytes.
func (p *Process) Memory() (resident, peak uint64, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(content)) {
		for field, to := range map[string]*uint64{"VmRSS:": &resident, "VmHWM:": &peak} {
			if value, ok := strings.CutPrefix(line, field); ok {
				if _, err := fmt.Sscanf(value, "%d kB", to); err != nil {
					return 0, 0, fmt.Errorf("%s: %q: %w", p.name, line, err)
				}
				*to *= 1024
			}
		}
	}
	if resident == 0 {
		return 0, 0, fmt.Errorf("%s: no memory in %.200q", p.name, content)
	}
	return resident, peak, nil
}

// Alive tells whether the process still runs.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill sends a signal. When that is SIGKILL it returns after the process has ended.
func (p *Process) Kill(signal syscall.Signal) {
	p.host.lab.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.host.lab.t.Fatalf("lab: %s: kill %s: %v", p.host.name, p.name, err)
	}
	if signal == unix.SIGKILL {
		<-p.done
	}
}

// Wait returns how the process ended: nil for exit code 0, an *exec.ExitError otherwise, or ctx's error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends the process with SIGTERM and waits for it. A process that needs more than ten seconds fails the test.
func (p *Process) Stop() {
	p.host.lab.t.Helper()
	p.Kill(unix.SIGTERM)
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	select {
	case <-p.done:
	case <-grace.C:
		p.Kill(unix.SIGKILL)
		p.host.lab.t.Errorf("lab: %s: %s did not end within %v of SIGTERM", p.host.name, p.name, stopGrace)
	}
}

// end kills the process and everything in its process group. Nothing is reported: the lab is over.
func (p *Process) end() {
	if p.Alive() {
		_ = unix.Kill(-p.PID(), unix.SIGKILL)
	}
	<-p.done
}

// LogFile is the file that has the process's output, and that of earlier processes of that name on the host.
func (p *Process) LogFile() string { return p.log }

// LogTail returns the last lines of the log.
func (p *Process) LogTail(lines int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Run runs a program in the host's namespace to its end and returns its standard output. The error of a program that
// fails has its standard error.
func (h *Host) Run(argv ...string) (string, error) {
	cmd := exec.CommandContext(h.lab.t.Context(), argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := h.Do(cmd.Start); err != nil {
		return "", fmt.Errorf("%s: %s: %w", h.name, argv[0], err)
	}
	if err := cmd.Wait(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %s: %w: %s", h.name, strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
