// Command suite runs every test that needs a real kernel: it compiles the tests behind the build tag "lab", runs them in one boot of the
// lab, and says how many ran and where. What passed before with the same programs on the same system is not run again, as with go test.
//
//	go run ./test/suite [-run REGEXP] [-count N] [-results DIR] [-suite bookworm|trixie|sid] [PACKAGES]
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
)

func main() {
	if len(os.Args) >= 3 {
		switch os.Args[1] {
		case guestCommand:
			os.Exit(guest(os.Args[2]))
		case insideCommand:
			os.Exit(inside(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	code, err := suite(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "suite:", err)
		code = 1
	}
	os.Exit(code)
}

// options are the command line.
type options struct {
	packages           []string
	run, tags, results string
	system             string
	timeout            time.Duration
	count              int
	fresh              bool // run what has passed before, too
	parallel           int
}

func parseFlags(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("suite", flag.ContinueOnError)
	flags.StringVar(&o.run, "run", "", "only tests that match this `regexp`")
	flags.StringVar(&o.tags, "tags", "lab", "build `tags` of the tests; lab,soak adds those that are not steady yet")
	flags.StringVar(&o.results, "results", "results", "`folder` for logs")
	flags.DurationVar(&o.timeout, "timeout", 40*time.Minute, "end everything after this time")
	flags.IntVar(&o.count, "count", 1, "run each test so many times; given at all, it runs what has passed before, too")
	flags.StringVar(&o.system, "suite", "", "Debian `suite` whose daemons and kernel to test with: bookworm, trixie, sid; default: the machine's own")
	// Most of a scenario is waiting: two more than there are CPUs still leave each the time it needs.
	flags.IntVar(&o.parallel, "parallel", 2+min(2, runtime.NumCPU()), "so many test processes at once")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	flags.Visit(func(f *flag.Flag) { o.fresh = o.fresh || f.Name == "count" })
	if o.parallel < 1 || o.count < 1 {
		return o, errors.New("-parallel and -count must be at least 1")
	}
	o.packages = flags.Args()
	if len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	var err error
	o.results, err = filepath.Abs(o.results)
	return o, err
}

// suite is the host's part. Its result is the exit code.
func suite(ctx context.Context, args []string) (int, error) {
	o, err := parseFlags(args)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	b, err := newBuilder()
	if err != nil {
		return 0, err
	}
	jobs, err := b.compile(ctx, o)
	if err != nil {
		return 0, err
	}
	where, err := describe(ctx, b, o)
	if err != nil {
		return 0, err
	}
	store, err := openStore(b.checkout)
	if err != nil {
		return 0, err
	}
	if err := b.keys(jobs, where); err != nil {
		return 0, err
	}
	sum := sum{where: where}
	var todo []job
	for _, j := range jobs {
		if p, ok := store.lookup(j.Key); ok && !o.fresh {
			fmt.Printf("ok  \t%s\t(cached, passed at %s)\n", j.Name, p.PassedAt.Format(time.RFC3339))
			sum.addCached(j, p)
			continue
		}
		todo = append(todo, j)
	}
	if len(todo) > 0 {
		if err := runInLab(ctx, b, o, todo, store, &sum); err != nil {
			return 0, err
		}
	}
	return sum.print(os.Stdout, time.Since(start)), nil
}
