package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killGrace is what process 1 inside has to end the command before it is killed itself.
const killGrace = 15 * time.Second

// direct runs the command in new network, mount, UTS and PID namespaces of this machine. All that was started inside
// ends with process 1 of the PID namespace.
func (r *run) direct(ctx context.Context, s system) (int, error) {
	job, err := r.writeJob(s)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, r.binary(), "guest", job)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = killGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:    unix.SIGKILL,
		Cloneflags:   unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
		Unshareflags: unix.CLONE_NEWNS, // makes all mounts private as well
		Setpgid:      true,
	}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
