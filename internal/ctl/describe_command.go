package ctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) describeCommand() *cobra.Command {
	describe := &cobra.Command{
		Use:   "describe RESOURCE NAME",
		Short: "Shows everything about one tunnel or connection",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("describe: name a resource: tunnel, connection, gateway, customer or host")
			}
			return fmt.Errorf("describe: unknown resource %q: it is none of tunnel, connection, gateway, customer, host", args[0])
		},
	}
	describe.AddCommand(
		&cobra.Command{
			Use: "tunnel NAME", Aliases: []string{"tunnels", "tun", "vpntunnel", "vpntunnels"},
			Short:             "The layers of a tunnel, what was negotiated, counters, BGP session and negotiation log",
			Args:              cobra.ExactArgs(1),
			RunE:              func(c *cobra.Command, args []string) error { return s.describeTunnel(c.Context(), args[0]) },
			ValidArgsFunction: s.tunnelNames(),
		},
		&cobra.Command{
			Use: "connection NAME", Aliases: []string{"connections", "conn", "vpnconnection", "vpnconnections"},
			Short: "The availability of a connection, its reasons, and its tunnels by cloud address",
			Args:  cobra.ExactArgs(1),
			RunE:  func(c *cobra.Command, args []string) error { return s.describeConnection(c.Context(), args[0]) },
			ValidArgsFunction: oneName(func(ctx context.Context) []cobra.Completion {
				return names(ctx, s, apiv1.KindVPNConnection, (*Fleet).Connections, connectionViewName)
			}),
		},
		s.describeOnly("gateway", apiv1.KindBorderGateway), s.describeOnly("customer", apiv1.KindCustomerGateway),
		s.describeOnly("host", apiv1.KindGatewayHost),
	)
	return describe
}

// describeOnly is for what only controllers describe.
func (s *session) describeOnly(word, kind string) *cobra.Command {
	return &cobra.Command{
		Use: word + " NAME", Aliases: kindWords()[kind], Short: "A " + kind + ", as a controller has it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			central, err := s.required()
			return s.describeCentral(c.Context(), central, err, kind, args[0])
		},
		ValidArgsFunction: oneName(func(ctx context.Context) []cobra.Completion {
			central, err := s.central()
			if err != nil {
				return nil
			}
			return s.completeFrom(ctx, central, kind, nil)
		}),
	}
}

func oneName(names func(context.Context) []cobra.Completion) cobra.CompletionFunc {
	return func(c *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(c.Context()), cobra.ShellCompDirectiveNoFileComp
	}
}

func connectionViewName(v *apiv1.ConnectionView) string { return v.GetConnection().GetName() }

func (s *session) describeTunnel(ctx context.Context, name string) error {
	if c, err := s.central(); c != nil || err != nil {
		return s.describeCentral(ctx, c, err, apiv1.KindVPNTunnel, name)
	}
	return s.withFleet(ctx, func(ctx context.Context, f *Fleet) ([]Silence, error) {
		found, silent := f.Tunnel(ctx, name)
		if len(found) == 0 {
			return silent, notFound("tunnel", []string{name})
		}
		if len(found) > 1 {
			fmt.Fprintf(s.Stderr, "warning: %d hosts believe to own tunnel %s\n", len(found), printable(name))
		}
		for _, r := range found {
			if err := s.describeOne(encodeTunnelWithLog(r), func() error { return describeTunnel(s.Stdout, s.clock(), r) }); err != nil {
				return silent, err
			}
		}
		return silent, nil
	})
}

func (s *session) describeConnection(ctx context.Context, name string) error {
	if c, err := s.central(); c != nil || err != nil {
		return s.describeCentral(ctx, c, err, apiv1.KindVPNConnection, name)
	}
	return s.withFleet(ctx, func(ctx context.Context, f *Fleet) ([]Silence, error) {
		views, silent := f.Connections(ctx)
		for _, v := range views {
			if connectionViewName(v) == name {
				s.warnUnreported([]*apiv1.ConnectionView{v}, silent)
				return silent, s.describeOne(encodeConnectionView(v), func() error { return describeConnection(s.Stdout, s.clock(), v, nil) })
			}
		}
		return silent, notFound("connection", []string{name})
	})
}

func (s *session) describeOne(document object, human func() error) error {
	if s.format() == formatJSON || s.format() == formatYAML {
		return writeDocument(s.Stdout, s.format(), document)
	}
	return human()
}
