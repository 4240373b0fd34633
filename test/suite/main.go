// Command suite runs every test that needs a real kernel: it compiles the tests behind the build tag "lab", runs all of them in one
// boot of the lab, and says how many ran and where.
//
//	go run ./test/suite [-run REGEXP] [-results DIR] [-suite bookworm|trixie|sid] [PACKAGES]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "guest" {
		os.Exit(guest(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	code, err := suite(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		code = 1
	}
	os.Exit(code)
}

func suite(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("suite", flag.ContinueOnError)
	run := flags.String("run", "", "only tests that match this `regexp`")
	tags := flags.String("tags", "lab", "build `tags` of the tests; lab,soak adds those that are not steady yet")
	results := flags.String("results", "results", "`folder` for logs")
	timeout := flags.Duration("timeout", 40*time.Minute, "end everything after this time")
	count := flags.Int("count", 1, "run each test so many times")
	system := flags.String("suite", "", "Debian `suite` whose daemons and kernel to test with: bookworm, trixie, sid; default: the machine's own")
	if err := flags.Parse(args); err != nil {
		return 0, err
	}
	packages := flags.Args()
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	cache, err := filepath.Abs(filepath.Join(".cache", "lab", "tests"))
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return 0, err
	}
	jobs, err := compile(ctx, cache, packages, *tags, *run, *count)
	if err != nil {
		return 0, err
	}
	list := filepath.Join(cache, "jobs.json")
	if err := writeJobs(list, jobs); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	// The guest sees the machine's files, but not a folder that `go run` makes under /tmp.
	runner := filepath.Join(cache, "suite")
	if err := copyFile(self, runner); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./test/lab/labrun", "-results", *results, "-timeout", timeout.String(),
		"-suite", *system, "--", runner, "guest", list)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
			return cmd.ProcessState.ExitCode(), nil
		}
		return 0, err
	}
	return 0, nil
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o755)
}
