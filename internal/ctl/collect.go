package ctl

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

type client = apiv1connect.AgentServiceClient

// Hosts asks every agent about itself; sorted by host name.
func (f *Fleet) Hosts(ctx context.Context) ([]*apiv1.GetHostResponse, []Silence) {
	hosts, silent := ask(ctx, f, func(ctx context.Context, c client) (*apiv1.GetHostResponse, error) {
		return c.GetHost(ctx, &apiv1.GetHostRequest{})
	})
	slices.SortStableFunc(hosts, func(a, b *apiv1.GetHostResponse) int { return cmp.Compare(a.GetHost(), b.GetHost()) })
	return hosts, silent
}

// Gateways lists every BorderGateway once per host that serves it; sorted by name, then host.
func (f *Fleet) Gateways(ctx context.Context) ([]*apiv1.BorderGateway, []Silence) {
	lists, silent := ask(ctx, f, func(ctx context.Context, c client) ([]*apiv1.BorderGateway, error) {
		r, err := c.ListGateways(ctx, &apiv1.ListGatewaysRequest{})
		return r.GetItems(), err
	})
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b *apiv1.BorderGateway) int {
		return cmp.Or(cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetStatus().GetHost(), b.GetStatus().GetHost()))
	})
	return all, silent
}

// Tunnels lists the tunnels that the agents own; sorted by name, then host.
func (f *Fleet) Tunnels(ctx context.Context) ([]*apiv1.VPNTunnel, []Silence) {
	lists, silent := ask(ctx, f, func(ctx context.Context, c client) ([]*apiv1.VPNTunnel, error) {
		r, err := c.ListTunnels(ctx, &apiv1.ListTunnelsRequest{})
		return r.GetItems(), err
	})
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b *apiv1.VPNTunnel) int {
		return cmp.Or(cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetStatus().GetHost(), b.GetStatus().GetHost()))
	})
	return all, silent
}

// Tunnel asks for one tunnel with its negotiation log. More than one answer means that more than one host believes to own it.
func (f *Fleet) Tunnel(ctx context.Context, name string) ([]*apiv1.GetTunnelResponse, []Silence) {
	return ask(ctx, f, func(ctx context.Context, c client) (*apiv1.GetTunnelResponse, error) {
		return c.GetTunnel(ctx, &apiv1.GetTunnelRequest{Name: name})
	})
}

// Routes lists the routes of all gateways on all hosts; sorted by gateway, address, prefix length, host.
func (f *Fleet) Routes(ctx context.Context) ([]*apiv1.Route, []Silence) {
	lists, silent := ask(ctx, f, func(ctx context.Context, c client) ([]*apiv1.Route, error) {
		r, err := c.ListRoutes(ctx, &apiv1.ListRoutesRequest{})
		return r.GetItems(), err
	})
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b *apiv1.Route) int {
		return cmp.Or(cmp.Compare(a.GetGateway(), b.GetGateway()), comparePrefixes(a.GetPrefix(), b.GetPrefix()), cmp.Compare(a.GetHost(), b.GetHost()))
	})
	return all, silent
}

// comparePrefixes orders by address and length, not by text; what is no prefix comes first.
func comparePrefixes(a, b string) int {
	pa, _ := netip.ParsePrefix(a)
	pb, _ := netip.ParsePrefix(b)
	return cmp.Or(pa.Addr().Compare(pb.Addr()), cmp.Compare(pa.Bits(), pb.Bits()), cmp.Compare(a, b))
}

// Connections lists every connection once, with all its tunnels and the verdict over all agents that answered; sorted by name.
func (f *Fleet) Connections(ctx context.Context) ([]*apiv1.ConnectionView, []Silence) {
	lists, silent := ask(ctx, f, func(ctx context.Context, c client) ([]*apiv1.ConnectionView, error) {
		r, err := c.ListConnections(ctx, &apiv1.ListConnectionsRequest{})
		return r.GetItems(), err
	})
	return MergeConnections(lists), silent
}
