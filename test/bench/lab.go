package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/test/bench/record"
)

// labRows are the tests of test/bench/rows that measure a row; one may measure several.
func labRows() map[string]string {
	return map[string]string{
		"failover-routes": "TestLearnedRoutes",
		"routes-in":       "TestLearnedRoutes",
		"tunnels-up":      "TestTunnelsUp",
		"forwarding":      "TestForwarding",
		"outage":          "TestOutage",
	}
}

// inLab runs the wanted rows in one lab, one after the other, and keeps what they measured.
func inLab(ctx context.Context, o options) error {
	var tests []string
	for row, test := range labRows() {
		if o.wants(row) && !slices.Contains(tests, test) {
			tests = append(tests, test)
		}
	}
	if len(tests) == 0 {
		return nil
	}
	slices.Sort(tests)
	bin := filepath.Join(".cache", "lab", "bench")
	for _, build := range [][]string{
		{"build", "-trimpath", "-o", bin + "/", "./cmd/bordergw-agent", "./cmd/bordergwctl", "./test/lab/labrun"},
		{"test", "-c", "-tags", "bench", "-o", filepath.Join(bin, "rows"), "./test/bench/rows"},
	} {
		cmd := exec.CommandContext(ctx, "go", build...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(build, " "), err)
		}
	}
	fresh := filepath.Join(o.results, "rows")
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o755)); err != nil {
		return err
	}
	abs, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "labrun"), "-results", o.results, "-timeout", "120m", "--",
		filepath.Join(bin, "rows"), "-test.v", "-test.timeout", "110m", "-test.run", "^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(os.Environ(), "BORDERGW_BENCH_SIZE="+o.size, fmt.Sprintf("BORDERGW_BENCH_COUNT=%d", o.count),
		"BORDERGW_AGENT="+filepath.Join(abs, "bordergw-agent"), "BORDERGW_CTL="+filepath.Join(abs, "bordergwctl"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// What was measured before a row failed is kept.
	return errors.Join(cmd.Run(), keep(o, fresh))
}

// keep puts the wanted rows among what was measured with what the lab left.
func keep(o options, fresh string) error {
	for row := range labRows() {
		r, err := record.Load(fresh, row)
		if err == nil && o.wants(row) && len(r.Series) > 0 {
			err = record.Put(measured, row, r.Series...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
