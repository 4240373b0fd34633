// Command bench measures bordergw beside its peers and redraws docs/performance.md. Rows that need a kernel and peers run inside the lab,
// those of pure parts are Go benchmarks and run here.
//
//	go run ./test/bench [-run NAME,NAME] [-size small|large] [-count N] [-results DIR]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/bench/page"
)

// Where the page and the measured values are, below the checkout.
const (
	pageFile = "docs/performance.md"
	measured = "docs/performance"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	rows    []string // empty for all
	size    string
	count   int
	results string
	redraw  bool
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	rows := f.String("run", "", "`rows` to measure, separated by commas; default: all")
	f.StringVar(&o.size, "size", "small", "`small` or large")
	f.IntVar(&o.count, "count", 5, "turns of each comparison")
	f.StringVar(&o.results, "results", "results/bench", "`folder` for the logs of the lab")
	f.BoolVar(&o.redraw, "redraw", false, "measure nothing, only redraw the page")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.size != "small" && o.size != "large" {
		return o, fmt.Errorf("-size: %q is neither small nor large", o.size)
	}
	if o.count < 1 {
		return o, fmt.Errorf("-count: %d is not positive", o.count)
	}
	var known []string
	for _, d := range page.Descriptions() {
		known = append(known, d.Name)
	}
	for name := range strings.SplitSeq(*rows, ",") {
		switch {
		case name == "":
		case slices.Contains(known, name):
			o.rows = append(o.rows, name)
		default:
			return o, fmt.Errorf("-run: there is no row %q, only %s", name, strings.Join(known, ", "))
		}
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if !o.redraw {
		err = errors.Join(native(ctx, o), inLab(ctx, o))
	}
	// What was measured before a failure is drawn all the same.
	return errors.Join(err, page.Draw(pageFile, measured))
}

// wants says whether a row is to be measured.
func (o options) wants(row string) bool { return len(o.rows) == 0 || slices.Contains(o.rows, row) }
