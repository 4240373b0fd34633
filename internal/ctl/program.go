package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes of bordergwctl.
const (
	// ExitOK: the answer is complete.
	ExitOK = 0
	// ExitError: there is no answer, something that was asked for by name does not exist, or what was to be done was refused or not
	// brought to its end.
	ExitError = 1
	// ExitUsage: the command line is wrong; nothing was asked.
	ExitUsage = 2
	// ExitPartial: the answer was printed, but at least one agent did not answer; its tunnels count as DOWN.
	ExitPartial = 3
)

const (
	// DefaultSocket is where the agent's local API is unless its configuration says otherwise.
	DefaultSocket = "/run/bordergw/agent.sock"
	// SocketsVariable is the environment variable that replaces the default: paths with commas between them.
	SocketsVariable = "BORDERGW_SOCKETS"
	defaultTimeout  = 5 * time.Second
	// completionTimeout keeps the shell usable when an agent hangs.
	completionTimeout = time.Second
)

// Program is bordergwctl with what it needs from outside.
type Program struct {
	Stdout, Stderr io.Writer
	// Getenv reads an environment variable; empty when it is not set.
	Getenv func(string) string
	// Now is the moment from which ages are counted.
	Now func() time.Time
	// Version is printed for --version.
	Version string
}

// errPartial ends a command whose answer was printed without some agents' part; the warnings are printed already.
var errPartial = errors.New("at least one agent did not answer")

// failure marks an error of a command that was understood; all others are usage errors.
type failure struct{ error }

// Unwrap returns the cause.
func (f failure) Unwrap() error { return f.error }

// Run carries out one command line (without the program's name) and returns the exit code.
func (p Program) Run(ctx context.Context, args []string) int {
	root := p.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if errors.Is(err, errPartial) {
		return ExitPartial
	}
	fmt.Fprintf(p.Stderr, "error: %s\n", printable(err.Error()))
	if _, understood := errors.AsType[failure](err); understood {
		return ExitError
	}
	fmt.Fprintln(p.Stderr, "run 'bordergwctl --help' for usage")
	return ExitUsage
}

// session is one run: the flags, and the agents once the command line is known to be right.
type session struct {
	Program
	sockets []string
	// context names a controller that is asked in place of agents.
	context string
	// agents: sockets were named, which wins over the current context.
	agents  bool
	output  string
	timeout time.Duration
}

func (p Program) command() *cobra.Command {
	s := &session{Program: p}
	root := &cobra.Command{
		Use:   "bordergwctl",
		Short: "Shows what bordergw's agents do, and takes tunnels out of service",
		Long: `Shows what bordergw's agents do: gateways, connections, tunnels and routes; and takes tunnels and hosts out of service and back.

With a context (--context, or currentContext in ~/.config/bordergwctl/config.yaml) a controller is asked in place of agents: it shows what all
hosts report, passes on what is to be done on them, and apply and delete change resources. --socket asks agents even so.

With several sockets the agents' answers are merged, and a connection's availability is computed over all of them. An agent that does
not answer counts as its host being silent: the answer is printed without it and the exit code is 3.

Exit codes: 0 the answer is complete, or what was asked for is done; 1 no answer, a name does not exist, or it was refused or not
brought to its end; 2 wrong usage; 3 an agent did not answer.`,
		Version:       p.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetVersionTemplate("bordergwctl {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringSliceVar(&s.sockets, "socket", s.defaultSockets(),
		"an agent's socket; may be given more than once (environment: "+SocketsVariable+", comma-separated)")
	flags.StringVar(&s.context, "context", p.Getenv(ContextVariable),
		"a controller of the file of contexts, which is asked in place of agents (environment: "+ContextVariable+")")
	flags.StringVarP(&s.output, "output", "o", string(formatTable), strings.Join(formats(), ", "))
	flags.DurationVar(&s.timeout, "timeout", defaultTimeout, "how long to wait for the agents")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		s.agents = flags.Changed("socket") || p.Getenv(SocketsVariable) != ""
		return s.check()
	}
	// The only fault is a flag that does not exist.
	if err := root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(fixed(formats()), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
	if err := root.RegisterFlagCompletionFunc("context", s.contextNames); err != nil {
		panic(err)
	}
	root.AddCommand(s.getCommand(), s.describeCommand(), s.disableCommand(), s.enableCommand(), s.drainCommand(), s.planCommand(),
		s.eventsCommand(), s.logsCommand(), s.applyCommand(), s.deleteCommand(), s.contextsCommand())
	return root
}

func fixed(words []string) []cobra.Completion { return words }

func (p Program) defaultSockets() []string {
	var sockets []string
	for path := range strings.SplitSeq(p.Getenv(SocketsVariable), ",") {
		if path = strings.TrimSpace(path); path != "" {
			sockets = append(sockets, path)
		}
	}
	if len(sockets) == 0 {
		return []string{DefaultSocket}
	}
	return sockets
}

func (s *session) check() error {
	if !slices.Contains(formats(), s.output) {
		return fmt.Errorf("--output: %q is none of %s", s.output, strings.Join(formats(), ", "))
	}
	if s.timeout <= 0 {
		return fmt.Errorf("--timeout: %s is not positive", s.timeout)
	}
	seen := make(map[string]bool)
	for _, socket := range s.sockets {
		if socket == "" {
			return errors.New("--socket: must not be empty")
		}
		if seen[socket] {
			return fmt.Errorf("--socket: %s is given twice", socket)
		}
		seen[socket] = true
	}
	return nil
}

func (s *session) format() format { return format(s.output) }

func (s *session) clock() clock { return clock(s.Now()) }

// withFleet connects to the agents, runs a command's work and turns its outcome into the error that decides the exit code. work
// returns the agents that did not answer; when none did, that is the error.
func (s *session) withFleet(ctx context.Context, work func(context.Context, *Fleet) ([]Silence, error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	fleet := Dial(s.sockets)
	defer fleet.Close()
	silent, err := work(ctx, fleet)
	for _, silence := range silent {
		fmt.Fprintf(s.Stderr, "warning: %s\n", printable(silence.Error()))
	}
	switch {
	case len(silent) == len(s.sockets):
		return failure{errors.New("no agent answered")}
	case err != nil:
		return failure{err}
	case len(silent) > 0:
		return errPartial
	}
	return nil
}
