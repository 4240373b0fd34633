package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/config"
	"github.com/bordergw/bordergw/controller/pki"
	"github.com/bordergw/bordergw/controller/vault"
)

// names is a flag that may be given more than once, or with commas.
type names []string

// String implements flag.Value.
func (n *names) String() string { return strings.Join(*n, ",") }

// Set implements flag.Value.
func (n *names) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		*n = append(*n, strings.TrimSpace(name))
	}
	return nil
}

func initPKI(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("bordergw-controller init-pki", stderr)
	opts := pki.Options{Now: time.Now()}
	flags.StringVar(&opts.TrustDomain, "trust-domain", config.DefaultTrustDomain, "the `NAME` that all identities begin with")
	for _, f := range []struct {
		to          *[]string
		name, usage string
	}{
		{&opts.Servers, "server", "a `NAME` or address under which controllers are reached, beside localhost"},
		{&opts.Agents, "agent", "the `NAME` of a gateway host"},
		{&opts.Operators, "operator", "the `NAME` of somebody who may write (default operator)"},
		{&opts.Viewers, "viewer", "the `NAME` of somebody who may read"},
	} {
		flags.Var((*names)(f.to), f.name, f.usage+"; may be given more than once")
	}
	if code, ok := parse(flags, args, 1); !ok {
		return code
	}
	if len(opts.Operators) == 0 {
		opts.Operators = []string{"operator"}
	}
	written, err := pki.Init(flags.Arg(0), opts)
	for _, path := range written {
		fmt.Fprintln(stdout, path)
	}
	return result(err, stderr)
}

func newToken(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("bordergw-controller new-token", stderr)
	if code, ok := parse(flags, args, 2); !ok {
		return code
	}
	token, line, err := access.NewToken(access.Identity{Role: access.Role(flags.Arg(0)), Name: flags.Arg(1)})
	if err != nil {
		return result(err, stderr)
	}
	fmt.Fprintf(stdout, "token, shown only now: %s\nline for the file of access.tokens: %s", token, line)
	return 0
}

func newKey(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("bordergw-controller new-key", stderr)
	if code, ok := parse(flags, args, 1); !ok {
		return code
	}
	line, err := vault.NewKey(flags.Arg(0))
	fmt.Fprint(stdout, line)
	return result(err, stderr)
}

func result(err error, stderr io.Writer) int {
	if err != nil {
		fmt.Fprintln(stderr, "bordergw-controller:", err)
		return 1
	}
	return 0
}
