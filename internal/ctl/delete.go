package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// kindWords are the words that name kinds on the command line.
func kindWords() map[string][]string {
	return map[string][]string{
		apiv1.KindVPNTunnel:       {"tunnel", "tunnels", "tun", "vpntunnel", "vpntunnels"},
		apiv1.KindVPNConnection:   {"connection", "connections", "conn", "vpnconnection", "vpnconnections"},
		apiv1.KindBorderGateway:   {"gateway", "gateways", "gw", "bordergateway", "bordergateways"},
		apiv1.KindCustomerGateway: {"customer", "customers", "cgw", "customergateway", "customergateways"},
		apiv1.KindGatewayHost:     {"host", "hosts", "gatewayhost", "gatewayhosts"},
	}
}

// kindOrder is the order in which kinds may be deleted: what refers to others first.
func kindOrder() []string {
	return []string{apiv1.KindVPNTunnel, apiv1.KindVPNConnection, apiv1.KindBorderGateway, apiv1.KindCustomerGateway, apiv1.KindGatewayHost}
}

func kindOf(word string) string {
	for kind, words := range kindWords() {
		if slices.Contains(words, word) {
			return kind
		}
	}
	return ""
}

type doomed struct{ kind, name string }

func (s *session) deleteCommand() *cobra.Command {
	var paths []string
	var dryRun bool
	c := &cobra.Command{
		Use: "delete RESOURCE NAME... | delete -f FOLDER|FILE|-", Short: "Deletes resources at a controller",
		Long: `Deletes resources at a controller, one after the other: tunnels first, then connections, then what they refer to. It ends at the first
one that cannot be deleted. A tunnel must have adminState DOWN.

Exit codes: 0 all are deleted; 1 one could not be, or does not exist; 2 wrong usage.`,
		RunE: func(c *cobra.Command, args []string) error {
			targets, err := s.targets(c, args, paths)
			if err != nil {
				return err
			}
			return s.deleteAll(c.Context(), targets, dryRun)
		},
		ValidArgsFunction: func(c *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(given) == 0 {
				return []cobra.Completion{"tunnel", "connection", "gateway", "customer", "host"}, cobra.ShellCompDirectiveNoFileComp
			}
			central, err := s.central()
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return s.completeFrom(c.Context(), central, kindOf(given[0]), given[1:]), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringArrayVarP(&paths, "filename", "f", nil, "delete what a folder of manifests, a file, or - for the standard input names")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "let the controller check each deletion by itself, and delete nothing")
	return c
}

func (s *session) targets(c *cobra.Command, args, paths []string) ([]doomed, error) {
	var out []doomed
	switch {
	case len(paths) > 0 && len(args) > 0:
		return nil, errors.New("delete: name resources or files, not both")
	case len(paths) > 0:
		docs, err := s.readDocuments(paths, c.InOrStdin())
		if err != nil {
			return nil, err
		}
		for _, o := range docs.objects {
			out = append(out, doomed{string(o.ProtoReflect().Descriptor().Name()), o.GetName()})
		}
		slices.SortStableFunc(out, func(a, b doomed) int { return slices.Index(kindOrder(), a.kind) - slices.Index(kindOrder(), b.kind) })
	case len(args) < 2:
		return nil, errors.New("delete: name a resource (tunnel, connection, gateway, customer or host) and its name")
	default:
		kind := kindOf(args[0])
		if kind == "" {
			return nil, fmt.Errorf("delete: unknown resource %q: it is none of tunnel, connection, gateway, customer, host", args[0])
		}
		for _, name := range args[1:] {
			out = append(out, doomed{kind, name})
		}
	}
	return out, nil
}

func (s *session) deleteAll(ctx context.Context, targets []doomed, dryRun bool) error {
	c, err := s.required()
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	note := ""
	if dryRun {
		note = " (dry run)"
	}
	for _, t := range targets {
		if err := c.delete(ctx, t, dryRun); err != nil {
			return told(err)
		}
		fmt.Fprintf(s.Stdout, "%s deleted%s\n", printable(apiv1.ObjectName(t.kind, t.name)), note)
	}
	return nil
}

func (c *central) delete(ctx context.Context, t doomed, dryRun bool) (err error) {
	switch t.kind {
	case apiv1.KindVPNTunnel:
		_, err = c.DeleteVPNTunnel(ctx, &apiv1.DeleteVPNTunnelRequest{Name: t.name, DryRun: dryRun})
	case apiv1.KindVPNConnection:
		_, err = c.DeleteVPNConnection(ctx, &apiv1.DeleteVPNConnectionRequest{Name: t.name, DryRun: dryRun})
	case apiv1.KindBorderGateway:
		_, err = c.DeleteBorderGateway(ctx, &apiv1.DeleteBorderGatewayRequest{Name: t.name, DryRun: dryRun})
	case apiv1.KindCustomerGateway:
		_, err = c.DeleteCustomerGateway(ctx, &apiv1.DeleteCustomerGatewayRequest{Name: t.name, DryRun: dryRun})
	default:
		_, err = c.DeleteGatewayHost(ctx, &apiv1.DeleteGatewayHostRequest{Name: t.name, DryRun: dryRun})
	}
	return err
}
