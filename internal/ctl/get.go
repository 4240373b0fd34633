package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func (s *session) getCommand() *cobra.Command {
	get := &cobra.Command{
		Use:   "get RESOURCE [NAME...]",
		Short: "Lists resources with their states",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("get: name a resource: gateways, connections, tunnels, routes, host or customers")
			}
			return fmt.Errorf("get: unknown resource %q: it is none of gateways, connections, tunnels, routes, host, customers", args[0])
		},
	}
	now := s.clock
	get.AddCommand(
		list[*apiv1.BorderGateway]{
			use: "gateways [NAME...]", kind: apiv1.KindBorderGateway, aliases: []string{"gateway", "gw", "bordergateways", "bordergateway"}, what: "border gateway",
			short: "Border gateways, once per host that serves them", fetch: (*Fleet).Gateways, name: (*apiv1.BorderGateway).GetName,
			columns: func() []column[*apiv1.BorderGateway] { return gatewayColumns() }, encode: encodeGateway,
		}.command(s),
		list[*apiv1.VPNConnection]{
			use: "connections [NAME...]", kind: apiv1.KindVPNConnection, aliases: []string{"connection", "conn", "vpnconnections", "vpnconnection"}, what: "connection",
			short: "VPN connections with their availability", fetch: s.connections, name: (*apiv1.VPNConnection).GetName,
			columns: func() []column[*apiv1.VPNConnection] { return connectionColumns(now()) }, encode: encodeConnection,
		}.command(s),
		list[*apiv1.VPNTunnel]{
			use: "tunnels [NAME...]", kind: apiv1.KindVPNTunnel, aliases: []string{"tunnel", "tun", "vpntunnels", "vpntunnel"}, what: "tunnel",
			short: "VPN tunnels with the state of each layer", fetch: (*Fleet).Tunnels, name: (*apiv1.VPNTunnel).GetName,
			columns: func() []column[*apiv1.VPNTunnel] { return tunnelColumns(now()) }, encode: encodeTunnel,
		}.command(s),
		list[*apiv1.Route]{
			use: "routes [GATEWAY...]", aliases: []string{"route"}, what: "route of border gateway",
			short: "Routes of the border gateways and where they lead now", fetch: (*Fleet).Routes, name: (*apiv1.Route).GetGateway,
			columns: func() []column[*apiv1.Route] { return routeColumns() }, encode: encodeRoute,
		}.command(s),
		list[*apiv1.GetHostResponse]{
			use: "host [NAME...]", kind: apiv1.KindGatewayHost, aliases: []string{"hosts"}, what: "host",
			short: "The agents and their source of desired state", fetch: (*Fleet).Hosts, name: (*apiv1.GetHostResponse).GetHost,
			columns: func() []column[*apiv1.GetHostResponse] { return hostColumns(now()) }, encode: encodeHost, footer: writeFindings,
		}.command(s),
		list[*apiv1.CustomerGateway]{
			use: "customers [NAME...]", kind: apiv1.KindCustomerGateway, aliases: []string{"customer", "customergateways", "customergateway", "cgw"}, what: "customer gateway",
			short: "Customer gateways, as a controller has them",
		}.command(s),
	)
	return get
}

// list is one resource of get.
type list[T any] struct {
	use, short, what string
	// kind is that of the resource at controllers; empty for what only agents know.
	kind    string
	aliases []string
	fetch   func(*Fleet, context.Context) ([]T, []Silence)
	name    func(T) string
	columns func() []column[T]
	encode  func(T) object
	// footer, if set, is written under a table.
	footer func(io.Writer, []T) error
}

func (l list[T]) command(s *session) *cobra.Command {
	return &cobra.Command{
		Use:     l.use,
		Aliases: l.aliases,
		Short:   l.short,
		RunE: func(c *cobra.Command, names []string) error {
			if central, err := s.central(); central != nil || err != nil {
				return s.getFrom(c.Context(), central, err, l.kind, names)
			}
			if l.fetch == nil {
				return failure{fmt.Errorf("%ss are known to controllers only: name one with --context", l.what)}
			}
			return s.withFleet(c.Context(), func(ctx context.Context, f *Fleet) ([]Silence, error) {
				items, silent := l.fetch(f, ctx)
				if len(silent) == len(s.sockets) {
					return silent, nil
				}
				items, missing := l.pick(items, names)
				if err := l.print(s, items); err != nil {
					return silent, err
				}
				return silent, notFound(l.what, missing)
			})
		},
		ValidArgsFunction: func(c *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if central, err := s.central(); l.fetch == nil || central != nil || err != nil {
				return s.completeFrom(c.Context(), central, l.kind, given), cobra.ShellCompDirectiveNoFileComp
			}
			return complete(c.Context(), s, l.fetch, l.name, given), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// pick keeps the items with one of the names, and tells which names have none; no names mean all items.
func (l list[T]) pick(items []T, names []string) (picked []T, missing []string) {
	if len(names) == 0 {
		return items, nil
	}
	found := make(map[string]bool)
	for _, item := range items {
		if name := l.name(item); slices.Contains(names, name) {
			picked = append(picked, item)
			found[name] = true
		}
	}
	for _, name := range names {
		if !found[name] && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	return picked, missing
}

// print leaves out a table that would have a heading only; programs always get a document.
func (l list[T]) print(s *session, items []T) error {
	human := s.format() == formatTable || s.format() == formatWide
	if human && len(items) == 0 {
		return nil
	}
	if err := show(s.Stdout, s.format(), l.columns(), items, l.encode); err != nil {
		return err
	}
	if human && l.footer != nil {
		return l.footer(s.Stdout, items)
	}
	return nil
}

func notFound(what string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%q", name)
	}
	return fmt.Errorf("%s %s not found", what, strings.Join(names, ", "))
}

// connections fetches the merged connections and says on stderr which tunnels nobody reported on.
func (s *session) connections(f *Fleet, ctx context.Context) ([]*apiv1.VPNConnection, []Silence) {
	views, silent := f.Connections(ctx)
	s.warnUnreported(views, silent)
	out := make([]*apiv1.VPNConnection, len(views))
	for i, v := range views {
		out[i] = v.GetConnection()
	}
	return out, silent
}

// warnUnreported is for the operator who asks one of two hosts: the verdict then counts the other host's tunnels as DOWN. A socket
// that did not answer has its own warning.
func (s *session) warnUnreported(views []*apiv1.ConnectionView, silent []Silence) {
	if len(silent) > 0 {
		return
	}
	count, example := 0, ""
	for _, v := range views {
		for _, t := range v.GetTunnels() {
			if t.GetStatus().GetReason() == apiv1.ReasonHostSilent {
				count++
				if example == "" {
					example = fmt.Sprintf("%s on %s", t.GetName(), t.GetSpec().GetCloudAddress())
				}
			}
		}
	}
	if count > 0 {
		fmt.Fprintf(s.Stderr, "note: no agent that was asked owns %d of the tunnels (%s); they count as DOWN. Name all agents with --socket.\n",
			count, printable(example))
	}
}

// complete proposes names that are not given yet; an agent that does not answer in time proposes nothing.
func complete[T any](ctx context.Context, s *session, fetch func(*Fleet, context.Context) ([]T, []Silence), name func(T) string, given []string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	quiet := *s
	quiet.Stderr = io.Discard
	f := Dial(quiet.sockets)
	defer f.Close()
	items, _ := fetch(f, ctx)
	var names []cobra.Completion
	for _, item := range items {
		if n := name(item); n != "" && !slices.Contains(given, n) && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
