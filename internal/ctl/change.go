package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) disableCommand() *cobra.Command {
	disable := &cobra.Command{
		Use: "disable tunnel NAME", Short: "Takes a tunnel down on its host, whatever its manifest says", RunE: what("disable", "tunnel"),
	}
	var force bool
	tunnel := &cobra.Command{
		Use: "tunnel NAME", Short: "Takes the tunnel's routes away and closes its SAs, at once; it stays so until it is enabled",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return s.change(c.Context(), target{tunnel: args[0]}, apiv1.ActionDisable, force)
		},
		ValidArgsFunction: s.tunnelNames(),
	}
	forceFlag(tunnel, &force)
	disable.AddCommand(tunnel)
	return disable
}

func (s *session) enableCommand() *cobra.Command {
	enable := &cobra.Command{
		Use: "enable tunnel|host NAME", Short: "Ends disable and drain: traffic comes back by itself", RunE: what("enable", "tunnel", "host"),
	}
	enable.AddCommand(
		&cobra.Command{
			Use: "tunnel NAME", Short: "The tunnel is as its manifest says again", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return s.change(c.Context(), target{tunnel: args[0]}, apiv1.ActionEnable, false)
			},
			ValidArgsFunction: s.tunnelNames(),
		},
		&cobra.Command{
			Use: "host [NAME]", Short: "Ends the drain of a host; tunnels that were taken down one by one stay down", Args: cobra.MaximumNArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				return s.change(c.Context(), target{host: strings.Join(args, "")}, apiv1.ActionEnable, false)
			},
			ValidArgsFunction: s.hostNames(),
		},
	)
	return enable
}

func forceFlag(c *cobra.Command, force *bool) {
	c.Flags().BoolVar(force, "force", false, "also when no other tunnel of the connection is known to be up")
}

// what tells which resources a command knows.
func what(command string, resources ...string) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s: name a resource: %s", command, strings.Join(resources, " or "))
		}
		return fmt.Errorf("%s: unknown resource %q: it is none of %s", command, args[0], strings.Join(resources, ", "))
	}
}

func (s *session) tunnelNames() cobra.CompletionFunc {
	return oneName(func(ctx context.Context) []cobra.Completion {
		return names(ctx, s, apiv1.KindVPNTunnel, (*Fleet).Tunnels, (*apiv1.VPNTunnel).GetName)
	})
}

func (s *session) hostNames() cobra.CompletionFunc {
	return oneName(func(ctx context.Context) []cobra.Completion {
		return names(ctx, s, apiv1.KindGatewayHost, (*Fleet).Hosts, (*apiv1.GetHostResponse).GetHost)
	})
}

// names proposes those of a kind, of a controller or of agents, whichever is asked.
func names[T any](ctx context.Context, s *session, kind string, fetch func(*Fleet, context.Context) ([]T, []Silence), name func(T) string) []cobra.Completion {
	if central, err := s.central(); central != nil || err != nil {
		return s.completeFrom(ctx, central, kind, nil)
	}
	return complete(ctx, s, fetch, name, nil)
}

// target is what is to be changed: a tunnel, or a host by name; without a name the only one that was asked.
type target struct{ tunnel, host string }

// hostFacts are what finding a target's owner needs of an agent.
type hostFacts struct {
	host    string
	tunnels []*apiv1.VPNTunnel
}

// owner finds the agent of a target, and which connections have tunnels in service at other agents. Agents that do not answer are told on stderr.
func (s *session) owner(ctx context.Context, f *Fleet, t target) (agent, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	replies := askEach(ctx, f, func(ctx context.Context, c client) (hostFacts, error) {
		host, err := c.GetHost(ctx, &apiv1.GetHostRequest{})
		if err != nil {
			return hostFacts{}, err
		}
		list, err := c.ListTunnels(ctx, &apiv1.ListTunnelsRequest{})
		return hostFacts{host.GetHost(), list.GetItems()}, err
	})
	var owners []agent
	var hosts, elsewhere []string
	for _, r := range replies {
		switch {
		case r.err != nil:
			fmt.Fprintf(s.Stderr, "warning: %s\n", printable(Silence{Socket: r.agent.socket, Err: r.err}.Error()))
			continue
		case t.ownedBy(r.answer, len(replies)):
			owners = append(owners, r.agent)
		default:
			elsewhere = append(elsewhere, r.answer.inService()...)
		}
		hosts = append(hosts, r.answer.host)
	}
	switch {
	case len(hosts) == 0:
		return agent{}, nil, errors.New("no agent answered")
	case len(owners) > 1:
		return agent{}, nil, fmt.Errorf("%d of the agents own it: name one with --socket", len(owners))
	case len(owners) == 1:
		return owners[0], elsewhere, nil
	case t.tunnel != "":
		return agent{}, nil, notFound("tunnel", []string{t.tunnel})
	case t.host != "":
		return agent{}, nil, notFound("host", []string{t.host})
	}
	return agent{}, nil, fmt.Errorf("name the host: %s", strings.Join(hosts, " or "))
}

func (t target) ownedBy(f hostFacts, asked int) bool {
	if t.tunnel == "" {
		return t.host == f.host || t.host == "" && asked == 1
	}
	return slices.ContainsFunc(f.tunnels, func(x *apiv1.VPNTunnel) bool { return x.GetName() == t.tunnel })
}

// inService are the connections with a tunnel that is up and that nobody is taking down.
func (f hostFacts) inService() []string {
	var out []string
	for _, t := range f.tunnels {
		if t.GetStatus().GetRunning() == apiv1.RunningUp && t.GetStatus().GetLocal() == nil {
			out = append(out, t.GetSpec().GetConnection())
		}
	}
	return out
}

func (s *session) change(ctx context.Context, t target, action string, force bool) error {
	central, err := s.central()
	if err != nil {
		return err
	}
	if central != nil {
		defer central.close()
		return s.changeAt(ctx, central, t, action, force)
	}
	fleet := Dial(s.sockets)
	defer fleet.Close()
	owner, elsewhere, err := s.owner(ctx, fleet, t)
	if err != nil {
		return failure{err}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := owner.api.Change(ctx, &apiv1.ChangeRequest{Tunnel: t.tunnel, Action: action, Force: force, ConnectionsUpElsewhere: elsewhere})
	if err != nil {
		return failure{explained(err)}
	}
	return s.showChange(resp)
}

func (s *session) showChange(resp *apiv1.ChangeResponse) error {
	for _, note := range resp.GetNotes() {
		fmt.Fprintf(s.Stderr, "note: %s\n", printable(note))
	}
	if f := s.format(); f == formatJSON || f == formatYAML {
		return writeDocument(s.Stdout, f, encode(resp, keepZeros))
	}
	for _, c := range resp.GetTunnels() {
		state := "as its manifest says"
		if c.GetLocal() != nil {
			state = localText(c.GetLocal())
		}
		fmt.Fprintf(s.Stdout, "tunnel %s: %s\n", printable(c.GetName()), state)
	}
	return nil
}

// explained is an agent's refusal, with what can be done about it.
func explained(err error) error {
	text := reason(err)
	if short, ok := strings.CutSuffix(text, "force is needed"); ok && connect.CodeOf(err) == connect.CodeFailedPrecondition {
		text = short + "name the other hosts' agents with --socket, or use --force"
	}
	return errors.New(text)
}
