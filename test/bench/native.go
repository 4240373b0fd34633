package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/bordergw/bordergw/test/bench/gobench"
	"github.com/bordergw/bordergw/test/bench/record"
)

// figure is one metric of a Go benchmark on the page. The benchmark's last element of the name is its size, "tunnels=1000".
type figure struct {
	row, pkg, benchmark string
	metric              string
	quantity, unit      string
	goal                record.Goal
}

func figures() []figure {
	out := []figure{
		{"idle", "./agent", "BenchmarkIdleRound", "cpu-ms/round", "CPU of a round in which nothing changed, all gateways", "ms", record.AtMost(50)},
		{"idle", "./agent", "BenchmarkIdleRound", "writes/round", "netlink messages of such a round", "", record.AtMost(0)},
		{"idle", "./agent", "BenchmarkIdleRound", "commands/round", "VICI messages of such a round", "", record.AtMost(0)},
		{"idle", "./agent", "BenchmarkRefresh", "cpu-ms/refresh", "CPU of reading all counters, every 10 s", "ms", record.Goal{}},
		{"read", "./agent/metrics", "BenchmarkScrape/gzip", "cpu-ms/scrape", "CPU of a scrape, gzip", "ms", record.AtMost(50)},
		{"read", "./agent/server", "BenchmarkListTunnels/json", "cpu-ms/list", "CPU of get tunnels, JSON", "ms", record.AtMost(50)},
		{"read", "./agent/server", "BenchmarkListTunnels/proto", "cpu-ms/list", "CPU of get tunnels, protobuf", "ms", record.AtMost(50)},
	}
	for _, change := range []struct{ name, text string }{
		{"route", "a static route"}, {"description", "a description"}, {"tunnel", "a tunnel's lifetime"}, {"down", "a tunnel taken down"},
	} {
		for _, m := range []struct {
			metric, text, unit string
			goal               record.Goal
		}{
			{"netlink/change", "netlink messages", "", record.AtMost(10)}, {"vici/change", "VICI messages", "", record.AtMost(5)},
			{"cpu-ms/change", "CPU", "ms", record.Goal{}},
		} {
			out = append(out, figure{"one-change", "./agent", "BenchmarkOneChange/" + change.name, m.metric, change.text + ": " + m.text, m.unit, m.goal})
		}
	}
	return out
}

// native runs the Go benchmarks of the wanted rows, each package once, and keeps their figures.
func native(ctx context.Context, o options) error {
	var packages []string
	wanted := map[string][]figure{}
	for _, f := range figures() {
		if o.wants(f.row) {
			if wanted[f.pkg] == nil {
				packages = append(packages, f.pkg)
			}
			wanted[f.pkg] = append(wanted[f.pkg], f)
		}
	}
	for _, pkg := range packages {
		if err := measure(ctx, o, pkg, wanted[pkg]); err != nil {
			return fmt.Errorf("%s: %w", pkg, err)
		}
	}
	return nil
}

func measure(ctx context.Context, o options, pkg string, figures []figure) error {
	var names []string
	for _, f := range figures {
		top, _, _ := strings.Cut(f.benchmark, "/")
		names = append(names, top)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^("+strings.Join(names, "|")+")$", "-count", fmt.Sprint(o.count), pkg)
	cmd.Env = append(os.Environ(), "BORDERGW_BENCH_SIZE="+o.size)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, os.Stdout), os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	on, err := record.Here(nil)
	if err != nil {
		return err
	}
	values, err := gobench.Parse(&out)
	if err != nil {
		return err
	}
	for _, f := range figures {
		for _, s := range values.Sizes(f.benchmark, f.metric) {
			err := record.Put(measured, f.row, record.Series{Quantity: f.quantity, Unit: orTimes(f.unit), Things: s.Things, Size: s.Size, A: s.Values,
				Goal: f.goal, On: on})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// orTimes is the unit of what is counted.
func orTimes(unit string) string {
	if unit == "" {
		return "messages"
	}
	return unit
}
