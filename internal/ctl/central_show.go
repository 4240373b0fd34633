package ctl

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// getFrom lists what a controller has; err is why there is none.
func (s *session) getFrom(ctx context.Context, c *central, err error, kind string, names []string) error {
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	items, err := s.fetch(ctx, c, kind, names)
	if err != nil {
		return told(err)
	}
	if len(items) == 0 && (s.format() == formatTable || s.format() == formatWide) {
		return nil
	}
	return show(s.Stdout, s.format(), s.heldColumns(kind), items, encodeHeld)
}

func (s *session) fetch(ctx context.Context, c *central, kind string, names []string) ([]held, error) {
	if len(names) == 0 || kind == "" {
		return c.listAll(ctx, kind)
	}
	var items []held
	for _, name := range names {
		o, err := c.get(ctx, kind, name)
		if err != nil {
			return nil, err
		}
		items = append(items, o)
	}
	return items, nil
}

func (s *session) completeFrom(ctx context.Context, c *central, kind string, given []string) []cobra.Completion {
	if c == nil {
		return nil
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	items, err := c.listAll(ctx, kind)
	if err != nil {
		return nil
	}
	skip := map[string]bool{}
	for _, name := range given {
		skip[name] = true
	}
	var out []cobra.Completion
	for _, o := range items {
		if !skip[o.GetName()] {
			out = append(out, o.GetName())
		}
	}
	return out
}

// heldColumns uses the columns of agents' answers where they say the same.
func (s *session) heldColumns(kind string) []column[held] {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	name := column[held]{title: "NAME", cell: held.GetName}
	version := column[held]{title: "VERSION", wide: true, cell: func(o held) string { return o.GetMetadata().GetResourceVersion() }}
	generation := column[held]{title: "GENERATION", wide: true, cell: func(o held) string { return number(o.GetMetadata().GetGeneration()) }}
	title := column[held]{title: "DISPLAY NAME", wide: true, cell: func(o held) string { return o.GetMetadata().GetDisplayName() }}
	switch kind {
	case apiv1.KindVPNTunnel:
		return append(adapt(tunnelColumns(s.clock())), generation, version, title)
	case apiv1.KindVPNConnection:
		return append(adapt(connectionColumns(s.clock())), generation, version, title)
	case apiv1.KindBorderGateway:
		return append([]column[held]{name}, append(adapt([]column[*apiv1.BorderGateway]{
			{title: "ASN", cell: func(g *apiv1.BorderGateway) string { return number(uint64(g.GetSpec().GetAsn())) }},
			{title: "ATTACHMENTS", cell: func(g *apiv1.BorderGateway) string { return number(uint64(len(g.GetSpec().GetAttachments()))) }},
			{title: "STATIC ROUTES", cell: func(g *apiv1.BorderGateway) string { return number(uint64(len(g.GetSpec().GetStaticRoutes()))) }},
		}), generation, version, title)...)
	case apiv1.KindCustomerGateway:
		return append([]column[held]{name}, append(adapt([]column[*apiv1.CustomerGateway]{
			{title: "ASN", cell: func(g *apiv1.CustomerGateway) string { return number(uint64(g.GetSpec().GetAsn())) }},
			{title: "ADDRESSES", cell: func(g *apiv1.CustomerGateway) string { return strings.Join(g.GetSpec().GetAddresses(), ",") }},
		}), generation, version, title)...)
	}
	type host = *apiv1.GatewayHost
	return append([]column[held]{name}, append(adapt([]column[host]{
		{title: "STATE", cell: func(h host) string { return h.GetStatus().GetState() }},
		{title: "SINCE", cell: func(h host) string { return s.clock().age(h.GetStatus().GetSince()) }},
		{title: "ZONE", cell: func(h host) string { return h.GetSpec().GetZone() }},
		{title: "ADDRESSES", cell: func(h host) string { return strings.Join(h.GetSpec().GetAddresses(), ",") }},
		{title: "CORDONED", cell: func(h host) string { return yesNo(h.GetSpec().GetCordoned()) }},
		{title: "CONNECTIONS", cell: func(h host) string { return number(uint64(h.GetStatus().GetConnections())) }},
		{title: "TUNNELS", cell: func(h host) string { return number(uint64(h.GetStatus().GetTunnels())) }},
		{title: "AGENT", wide: true, cell: func(h host) string { return h.GetStatus().GetAgentVersion() }},
		{title: "CHARON", wide: true, cell: func(h host) string { return h.GetStatus().GetCharonVersion() }},
		{title: "ML-KEM", wide: true, cell: func(h host) string { return h.GetStatus().GetMlKem() }},
		{title: "CONTROLLER", wide: true, cell: func(h host) string { return h.GetStatus().GetController() }},
	}), version, title)...)
}

func adapt[T held](columns []column[T]) []column[held] {
	out := make([]column[held], len(columns))
	for i, c := range columns {
		out[i] = column[held]{title: c.title, wide: c.wide, rare: c.rare, cell: func(o held) string {
			t, ok := o.(T)
			if !ok {
				return ""
			}
			return c.cell(t)
		}}
	}
	return out
}

// describeCentral shows one resource of a controller, or why there is none: tunnels and connections as agents' are, all others as a document.
func (s *session) describeCentral(ctx context.Context, c *central, err error, kind, name string) error {
	if err != nil {
		return err
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	o, err := c.get(ctx, kind, name)
	if err != nil {
		return told(err)
	}
	switch o := o.(type) {
	case *apiv1.VPNTunnel:
		r := &apiv1.GetTunnelResponse{Tunnel: o, Log: s.logFrom(ctx, c, name)}
		return s.describeOne(encodeTunnelWithLog(r), func() error { return describeTunnel(s.Stdout, s.clock(), r) })
	case *apiv1.VPNConnection:
		view := &apiv1.ConnectionView{Connection: o}
		customer, err := c.get(ctx, apiv1.KindCustomerGateway, o.GetSpec().GetCustomerGateway())
		if err != nil {
			return told(err)
		}
		view.CustomerGateway, _ = customer.(*apiv1.CustomerGateway)
		tunnels, err := c.listAll(ctx, apiv1.KindVPNTunnel, "spec.connection="+name)
		if err != nil {
			return told(err)
		}
		for _, t := range tunnels {
			if t, ok := t.(*apiv1.VPNTunnel); ok {
				view.Tunnels = append(view.Tunnels, t)
			}
		}
		history, err := c.fleet.ListTransitions(ctx, &apiv1.ListTransitionsRequest{Connection: name})
		if err != nil {
			return told(err)
		}
		document := append(encodeConnectionView(view), member{"history", encodeTransitions(history.GetItems())})
		return s.describeOne(document, func() error { return describeConnection(s.Stdout, s.clock(), view, history.GetItems()) })
	}
	return s.describeOne(encodeHeld(o), func() error { return writeYAML(s.Stdout, encodeHeld(o)) })
}

// logFrom asks a tunnel's host for its negotiation log; without it the rest is still worth showing.
func (s *session) logFrom(ctx context.Context, c *central, tunnel string) []*apiv1.LogEntry {
	log, err := received(c.hosts.WatchLog(ctx, &apiv1.WatchLogRequest{Tunnel: tunnel}))
	if err != nil {
		fmt.Fprintf(s.Stderr, "warning: no negotiation log: %s\n", printable(told(err).Error()))
	}
	return log
}

func encodeTransitions(all []*apiv1.Transition) []any {
	out := make([]any, len(all))
	for i, t := range all {
		out[i] = encode(t, keepZeros)
	}
	return out
}
