// Command bordergw-controller serves the API that owns the resources of all gateway hosts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/config"
	bgwversion "github.com/bordergw/bordergw/internal/version"
)

// version is set by the linker.
var version string

const usage = `usage: bordergw-controller [--config FILE] [--check] [--version]
       bordergw-controller init-pki [flags] DIR     make a certificate authority, certificates and an encryption key
       bordergw-controller new-token ROLE NAME      make a bearer token for a person
       bordergw-controller new-key ID               make a key for the file of encryption keys

`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0, 1 for a fault or a refused configuration, 2 for wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "init-pki":
			return initPKI(args[1:], stdout, stderr)
		case "new-token":
			return newToken(args[1:], stdout, stderr)
		case "new-key":
			return newKey(args[1:], stdout, stderr)
		}
	}
	flags := newFlags("bordergw-controller", stderr)
	path := flags.String("config", config.DefaultPath, "the controller's configuration `FILE`")
	check := flags.Bool("check", false, "validate the configuration and the files it names, print every finding, and exit with 0 or 1")
	printVersion := flags.Bool("version", false, "print the version and exit")
	if code, ok := parse(flags, args, 0); !ok {
		return code
	}
	info := bgwversion.Read(version)
	if *printVersion {
		fmt.Fprintln(stdout, "bordergw-controller", info)
		return 0
	}
	c, findings := config.Load(*path)
	if *check {
		return checkAll(c, findings, stdout)
	}
	print(findings, stderr)
	if c == nil {
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := serve(ctx, c, info, stderr); err != nil {
		fmt.Fprintln(stderr, "bordergw-controller:", err)
		return 1
	}
	return 0
}

func newFlags(name string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	return flags
}

// parse reads the flags and exactly n arguments; the code counts when it returns false.
func parse(flags *flag.FlagSet, args []string, n int) (code int, ok bool) {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0, false
	case err != nil:
		return 2, false
	}
	switch {
	case flags.NArg() > n:
		fmt.Fprintf(flags.Output(), "%s: unexpected argument %q\n", flags.Name(), flags.Arg(n))
	case flags.NArg() < n:
		fmt.Fprintf(flags.Output(), "%s: %d arguments are needed\n", flags.Name(), n)
	default:
		return 0, true
	}
	return 2, false
}

// checkAll also reads every file that the configuration names; etcd is left alone.
func checkAll(c *apiv1.ControllerConfig, findings []*apiv1.Finding, stdout io.Writer) int {
	print(findings, stdout)
	if c == nil {
		return 1
	}
	if _, err := readFiles(c, slog.New(slog.DiscardHandler)); err != nil {
		fmt.Fprintln(stdout, err)
		return 1
	}
	fmt.Fprintln(stdout, "ok")
	return 0
}

func print(findings []*apiv1.Finding, to io.Writer) {
	for _, f := range findings {
		fmt.Fprintln(to, manifest.Format(f))
	}
}
