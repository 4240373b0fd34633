package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab/internal/probe"
	"github.com/bordergw/bordergw/test/lab/internal/qemu"
)

const (
	// quitGrace is what a command has to print its goroutines and end after SIGQUIT.
	quitGrace = 5 * time.Second
	// outputGrace is how long output is read on after the command's end, in case a daemon it left holds the pipe.
	outputGrace = 2 * time.Second
)

// Exit codes of a shell for a command that cannot be run.
const exitCannotRun = 127

// Main is process 1. In a VM it powers the machine off and does not return; otherwise it returns the exit code.
func Main(jobFile string) int {
	job, err := ReadJob(jobFile)
	if err != nil {
		return fatal(false, err)
	}
	if err := prepare(job); err != nil {
		return fatal(job.VM, err)
	}
	if !job.VM {
		return run(job, os.Stdout, os.Stderr, nil)
	}
	// The first ESP state makes the kernel load its ciphers, which takes emulated machines ten seconds in the middle of a
	// negotiation. A gateway has them loaded when it boots (modules-load.d); so has this guest, and it is sure of its data path.
	if err := probe.DataPath(); err != nil {
		return fatal(true, fmt.Errorf("the guest's kernel has no data path: %w", err))
	}
	ports := map[string]*os.File{}
	for _, name := range []string{qemu.PortStdout, qemu.PortStderr, qemu.PortControl} {
		if ports[name], err = openPort(name); err != nil {
			return fatal(true, err)
		}
	}
	control := ports[qemu.PortControl]
	fmt.Fprintln(control, MessageReady)
	code := run(job, ports[qemu.PortStdout], ports[qemu.PortStderr], control)
	fmt.Fprintln(control, MessageExit, code)
	powerOff()
	return code
}

// fatal reports on the console, which is the serial log in a VM, that the command was not even started.
func fatal(vm bool, err error) int {
	fmt.Fprintln(os.Stderr, "lab:", err)
	if vm {
		powerOff()
	}
	return exitCannotRun
}

func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// run runs the job's command and returns its exit code, or 128 plus the signal that ended it. A line "quit" from
// control, or SIGTERM or SIGINT to this process, ends the command with SIGQUIT, so that Go programs show what they
// were doing.
func run(job Job, stdout, stderr io.Writer, control io.Reader) int {
	argv0, err := lookPath(job)
	if err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		return exitCannotRun
	}
	cmd := exec.Command(argv0, job.Argv[1:]...)
	cmd.Args[0] = job.Argv[0]
	cmd.Dir, cmd.Env = job.Dir, job.Env
	cmd.Stdout, cmd.Stderr = writer{stdout}, writer{stderr}
	cmd.WaitDelay = outputGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(stderr, "lab:", err)
		return exitCannotRun
	}
	ended := make(chan struct{})
	quit := make(chan os.Signal, 1)
	signal.Notify(quit, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(quit)
	if control != nil {
		go func() { // ends with the port, which is open as long as the machine runs
			for lines := bufio.NewScanner(control); lines.Scan(); {
				if lines.Text() == MessageQuit {
					quit <- unix.SIGTERM
				}
			}
		}()
	}
	go func() {
		select {
		case <-quit:
		case <-ended:
			return
		}
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGQUIT)
		grace := time.NewTimer(quitGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		case <-ended:
		}
	}()
	var reaper sync.WaitGroup
	reaper.Go(func() { reapOrphans(cmd.Process.Pid, ended) })
	err = cmd.Wait()
	close(ended)
	reaper.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		fmt.Fprintln(stderr, "lab:", err)
		return exitCannotRun
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		fmt.Fprintln(stderr, "lab: the command was ended by signal:", status.Signal())
		return 128 + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// writer hides that a port is a file, so that exec reads the command's output through a pipe: a port can be opened
// once only, and programs reopen /dev/stdout.
type writer struct{ io.Writer }

// lookPath finds the command in the PATH it will have.
func lookPath(job Job) (string, error) {
	if strings.Contains(job.Argv[0], "/") {
		return job.Argv[0], nil
	}
	for _, variable := range job.Env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return "", err
			}
		}
	}
	return exec.LookPath(job.Argv[0])
}

// reapOrphans collects processes whose parents ended before them, as process 1 must, until the command has ended. It
// looks before it collects, because the command belongs to exec.Cmd.
func reapOrphans(command int, ended <-chan struct{}) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	defer signal.Stop(died)
	for {
		select {
		case <-died:
		case <-ended:
			return
		}
		for {
			var info unix.Siginfo
			err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
			pid := siginfoPID(&info)
			if err != nil || pid == 0 {
				break
			}
			if pid == command {
				return
			}
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
}
