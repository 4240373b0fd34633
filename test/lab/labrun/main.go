// Command labrun runs a command as root on a kernel that has bordergw's data path: directly, in namespaces of its
// own, where the running kernel has it, and in a virtual machine of Debian's stock kernel where not.
//
//	go run ./test/lab/labrun [flags] -- COMMAND ARGS...
//
// The command's output arrives live and its exit code is labrun's. It sees the machine's file system; what it writes
// is lost, except in the folder named by BORDERGW_RESULTS (and, when it runs directly, outside /run).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab/internal/deb"
	"github.com/bordergw/bordergw/test/lab/internal/guest"
)

// Exit codes of labrun's own, chosen as timeout(1) and env(1) do.
const (
	exitTimeout = 124
	exitLab     = 125
)

func main() {
	// What labrun starts dies with this thread, so this goroutine must stay on it.
	runtime.LockOSThread()
	if len(os.Args) == 3 && os.Args[1] == "guest" {
		os.Exit(guest.Main(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	code, err := labrun(ctx, os.Args[1:])
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			say("%v", err)
		}
		code = exitLab
	}
	os.Exit(code)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "lab: "+format+"\n", args...) }

// options are the command line.
type options struct {
	argv      []string
	results   string
	timeout   time.Duration
	memoryMiB int
	cpus      int
	mode      string
	suite     string // code name; empty for the machine's own system
	describe  bool   // say on what the command would run, and do not run it
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("labrun", flag.ContinueOnError)
	f.StringVar(&o.results, "results", "results", "`folder` for what the command leaves, and for the lab's logs")
	f.DurationVar(&o.timeout, "timeout", 15*time.Minute, "end the command after this time")
	f.IntVar(&o.memoryMiB, "memory", 6144, "memory of the guest in `MiB`")
	f.IntVar(&o.cpus, "cpus", min(2, runtime.NumCPU()), "processors of the guest")
	f.StringVar(&o.mode, "mode", "auto", "where to run: `auto`, direct or vm")
	suite := f.String("suite", "", "Debian `suite` whose daemons and kernel to run: bookworm, trixie, sid; default: the machine's own system")
	f.BoolVar(&o.describe, "describe", false, "prepare the lab, print what a command would run on and its versions, and run nothing")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: labrun [flags] -- COMMAND ARGS...")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.argv = f.Args()
	switch {
	case len(o.argv) == 0 && !o.describe:
		return o, errors.New("no command given: labrun [flags] -- COMMAND ARGS")
	case o.mode != "auto" && o.mode != "direct" && o.mode != "vm":
		return o, fmt.Errorf("-mode: %q is none of auto, direct, vm", o.mode)
	case o.timeout <= 0:
		return o, fmt.Errorf("-timeout: %v is not positive", o.timeout)
	}
	var err error
	if o.suite, err = deb.ParseSuite(*suite); err != nil {
		return o, fmt.Errorf("-suite: %w", err)
	}
	o.results, err = filepath.Abs(o.results)
	return o, err
}

func labrun(ctx context.Context, args []string) (int, error) {
	o, err := parseFlags(args)
	if err != nil {
		return 0, err
	}
	if os.Geteuid() != 0 {
		return 0, errors.New("labrun needs root: it installs packages and creates namespaces")
	}
	checkout, err := findCheckout()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	r, err := newRun(o, checkout)
	if err != nil {
		return 0, err
	}
	defer r.close()
	code, err := r.run(ctx)
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		say("the time of %v was over", o.timeout)
		return exitTimeout, nil
	}
	return code, err
}

// findCheckout returns the folder of go.mod at or above the working directory.
func findCheckout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("labrun must be started inside the checkout: no go.mod at or above the working directory")
		}
	}
}
