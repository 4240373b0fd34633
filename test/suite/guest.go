package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// scenarios is the package whose tests are the end-to-end scenarios.
const scenarios = "test/scenario"

// tally counts top-level tests.
type tally struct {
	passed, failed, skipped, scenarios int
	failures                           []string
}

// guest runs inside the lab: every job one after the other, and then the sum. Its result is the exit code.
func guest(list string) int {
	jobs, err := readJobs(list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		return 1
	}
	// Tests run in their package's folder; the programs under test are in the checkout's, where this process was started.
	for env, program := range map[string]string{"BORDERGW_AGENT": "bordergw-agent", "BORDERGW_CTL": "bordergwctl"} {
		path, err := filepath.Abs(filepath.Join("bin", program))
		if err == nil {
			err = os.Setenv(env, path)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "suite:", err)
			return 1
		}
	}
	var sum tally
	start := time.Now()
	for _, j := range jobs {
		fmt.Printf("=== package %s\n", j.Package)
		if err := sum.run(j); err != nil {
			sum.failed++
			sum.failures = append(sum.failures, j.Package+": "+err.Error())
		}
	}
	where := "directly on this kernel"
	if os.Getenv("BORDERGW_LAB") == "vm" {
		where = "in a VM"
	}
	for _, f := range sum.failures {
		fmt.Println("--- FAILED", f)
	}
	fmt.Printf("%d scenarios and %d kernel tests ran %s (kernel %s) in %s\n", sum.scenarios,
		sum.passed+sum.failed+sum.skipped-sum.scenarios, where, release(), time.Since(start).Round(time.Second))
	fmt.Printf("%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped)
	if sum.failed > 0 || sum.skipped > 0 || sum.passed == 0 {
		// A test that skips here has not found what the lab is there to provide: that is a failure too.
		return 1
	}
	return 0
}

// run executes one test binary, shows its output and counts its results. An error is one that no test has reported.
func (s *tally) run(j job) error {
	cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
	cmd.Dir = j.Dir
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan int)
	go func() {
		failed := 0
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			failed += s.count(j, lines.Text())
		}
		// A line longer than the buffer must not block the test.
		io.Copy(io.Discard, r) //nolint:errcheck // the writer's end has the error
		done <- failed
	}()
	err := cmd.Wait()
	if err := w.Close(); err != nil { // io.Pipe: never
		return err
	}
	failed := <-done
	var exit *exec.ExitError
	if errors.As(err, &exit) && failed > 0 {
		return nil
	}
	return err
}

// count shows one line of output and returns 1 when it reports a failed test.
func (s *tally) count(j job, line string) int {
	fmt.Println(line)
	result, name, ok := strings.Cut(strings.TrimPrefix(line, "--- "), ": ")
	if !ok || !strings.HasPrefix(line, "--- ") {
		return 0
	}
	if j.Package == scenarios {
		s.scenarios++
	}
	switch result {
	case "PASS":
		s.passed++
	case "SKIP":
		s.skipped++
		s.failures = append(s.failures, j.Package+": skipped "+name)
	case "FAIL":
		s.failed++
		s.failures = append(s.failures, j.Package+": "+name)
		return 1
	}
	return 0
}

func release() string {
	content, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(content))
}
