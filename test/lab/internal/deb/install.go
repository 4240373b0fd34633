// Package deb gets what the lab needs from the machine's Debian package source.
package deb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

const policyFile = "/usr/sbin/policy-rc.d"

// aptOptions returns what makes apt-get wait for another apt-get instead of failing.
func aptOptions() []string {
	return []string{"-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::Sandbox::User=root"}
}

// Installer installs Debian packages without starting or enabling any service that they bring.
type Installer struct {
	// Say prints one progress line.
	Say func(format string, args ...any)
	// Log receives everything that apt-get prints.
	Log io.Writer

	updated bool
}

// Install makes sure that all packages are installed. Packages that are present are left as they are, whatever
// their version; with nothing missing it does not touch the network.
func (in *Installer) Install(ctx context.Context, packages ...string) error {
	missing, err := Missing(ctx, packages)
	if err != nil || len(missing) == 0 {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages %s are not installed, and only root can install them", strings.Join(missing, " "))
	}
	if err := in.update(ctx); err != nil {
		return err
	}
	in.Say("installing %s", strings.Join(missing, " "))
	start := time.Now()
	before, err := enabledServices("/etc")
	if err != nil {
		return err
	}
	restore, err := forbidServiceStart()
	if err != nil {
		return err
	}
	defer restore()
	args := append([]string{"install", "--no-install-recommends"}, aptOptions()...)
	if err := in.apt(ctx, append(args, missing...)...); err != nil {
		return err
	}
	if err := in.disableNew(ctx, before); err != nil {
		return err
	}
	in.Say("installed in %.0f s", time.Since(start).Seconds())
	return nil
}

// Missing returns those of packages that are not installed, in their order.
func Missing(ctx context.Context, packages []string) ([]string, error) {
	args := append([]string{"-W", "-f", "${Package} ${db:Status-Status}\n"}, packages...)
	// dpkg-query exits with 1 when it does not know one of the names, and prints the others.
	out, err := exec.CommandContext(ctx, "dpkg-query", args...).Output()
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return nil, fmt.Errorf("dpkg-query: %w (the lab needs Debian or one of its descendants)", err)
	}
	return notInstalled(packages, string(out)), nil
}

// notInstalled reads lines of "package status" and returns the packages without a line "package installed".
func notInstalled(packages []string, listing string) []string {
	have := map[string]bool{}
	for line := range strings.Lines(listing) {
		if name, status, ok := strings.Cut(strings.TrimSpace(line), " "); ok && status == "installed" {
			have[name] = true
		}
	}
	var missing []string
	for _, p := range packages {
		if !have[p] {
			missing = append(missing, p)
		}
	}
	return missing
}

func (in *Installer) update(ctx context.Context) error {
	if in.updated {
		return nil
	}
	in.Say("updating the package lists")
	if err := in.apt(ctx, append([]string{"update"}, aptOptions()...)...); err != nil {
		return err
	}
	in.updated = true
	return nil
}

func (in *Installer) apt(ctx context.Context, args ...string) error {
	return in.run(ctx, "", "apt-get", args...)
}

// run runs a command with its output in the log, and the end of the output in the error.
func (in *Installer) run(ctx context.Context, dir, name string, args ...string) error {
	var tail bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	cmd.Stdout = io.MultiWriter(in.Log, &tail)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(tail.String()), "\n")
		lines = lines[max(0, len(lines)-8):]
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.Join(lines, "\n"))
	}
	return nil
}

// forbidServiceStart tells package scripts, through Debian's policy-rc.d interface, to start no service. The
// machine's own policy, if it has one, stays.
func forbidServiceStart() (restore func(), err error) {
	f, err := os.OpenFile(policyFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, os.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\n# Written for the time of an installation by bordergw's lab.\nexit 101\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(policyFile) }, nil
}
