package ctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/internal/ctl/contexts"
)

// ContextVariable is the environment variable that names a context.
const ContextVariable = "BORDERGW_CONTEXT"

// central is a controller.
type central struct {
	apiv1connect.ResourceServiceClient
	hosts apiv1connect.HostServiceClient
	fleet apiv1connect.FleetServiceClient
	close func()
}

// held is a resource of any kind.
type held interface {
	proto.Message
	GetName() string
	GetMetadata() *apiv1.Metadata
}

// central returns the controller to ask, nil when agents are to be asked. The caller closes it.
func (s *session) central() (*central, error) {
	if s.context == "" && s.agents {
		return nil, nil
	}
	c, err := s.findContext()
	if c == nil || err != nil {
		return nil, err
	}
	client, err := c.HTTP()
	if err != nil {
		return nil, failure{fmt.Errorf("context %s: %w", c.Name, err)}
	}
	return &central{
		ResourceServiceClient: apiv1connect.NewResourceServiceClient(client, c.Server, connect.WithSendGzip()),
		hosts:                 apiv1connect.NewHostServiceClient(client, c.Server), fleet: apiv1connect.NewFleetServiceClient(client, c.Server),
		close: client.CloseIdleConnections,
	}, nil
}

func (s *session) findContext() (*contexts.Context, error) {
	f, err := contexts.Load(contexts.Path(s.Getenv))
	if err != nil {
		return nil, failure{err}
	}
	c, err := f.Find(s.context)
	if err != nil {
		return nil, failure{fmt.Errorf("%w in %s", err, contexts.Path(s.Getenv))}
	}
	return c, nil
}

// required is for commands that only a controller can carry out.
func (s *session) required() (*central, error) {
	c, err := s.central()
	if c == nil && err == nil {
		return nil, failure{fmt.Errorf("a controller is needed: name one with --context, or set currentContext in %s", contexts.Path(s.Getenv))}
	}
	return c, err
}

func (s *session) contextsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "contexts", Short: "Lists the controllers that can be named with --context", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			f, err := contexts.Load(contexts.Path(s.Getenv))
			if err != nil {
				return failure{err}
			}
			type row = contexts.Context
			columns := []column[row]{
				{title: "CURRENT", cell: func(c row) string { return map[bool]string{true: "*"}[c.Name == f.CurrentContext] }},
				{title: "NAME", cell: func(c row) string { return c.Name }},
				{title: "SERVER", cell: func(c row) string { return c.Server }},
			}
			return show(s.Stdout, s.format(), columns, f.Contexts, func(c row) object {
				return object{{"name", c.Name}, {"server", c.Server}, {"current", c.Name == f.CurrentContext}}
			})
		},
	}
}

// contextNames proposes contexts; a file that cannot be read proposes none.
func (s *session) contextNames(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := contexts.Load(contexts.Path(s.Getenv))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, c := range f.Contexts {
		out = append(out, c.Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// told turns a controller's error into one for people; a refusal has a line for each finding.
func told(err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return failure{err}
	}
	if findings := refusal(e); len(findings) > 1 {
		lines := make([]string, len(findings))
		for i, f := range findings {
			lines[i] = "  " + plain(f)
		}
		return failure{fmt.Errorf("refused:\n%s", strings.Join(lines, "\n"))}
	}
	code, answered := e.Code(), connect.IsWireError(e)
	switch {
	case code == connect.CodeUnauthenticated, code == connect.CodePermissionDenied,
		!answered && (code == connect.CodeUnavailable || code == connect.CodeDeadlineExceeded):
		return failure{fmt.Errorf("controller: %w", e)}
	}
	return failure{errors.New(e.Message())}
}

func plain(f *apiv1.Finding) string {
	text := f.GetMessage()
	for _, part := range []string{f.GetField(), f.GetObject()} {
		if part != "" {
			text = part + ": " + text
		}
	}
	return text
}

func refusal(e *connect.Error) []*apiv1.Finding {
	for _, d := range e.Details() {
		if v, err := d.Value(); err == nil {
			if r, ok := v.(*apiv1.Refusal); ok {
				return r.GetFindings()
			}
		}
	}
	return nil
}

// listAll returns every resource of a kind that matches.
func (c *central) listAll(ctx context.Context, kind string, filters ...string) ([]held, error) {
	const size = 1000
	switch kind {
	case apiv1.KindBorderGateway:
		return pages(func(token string) (*apiv1.ListBorderGatewaysResponse, error) {
			return c.ListBorderGateways(ctx, &apiv1.ListBorderGatewaysRequest{PageSize: size, PageToken: token, Filters: filters})
		})
	case apiv1.KindCustomerGateway:
		return pages(func(token string) (*apiv1.ListCustomerGatewaysResponse, error) {
			return c.ListCustomerGateways(ctx, &apiv1.ListCustomerGatewaysRequest{PageSize: size, PageToken: token, Filters: filters})
		})
	case apiv1.KindVPNConnection:
		return pages(func(token string) (*apiv1.ListVPNConnectionsResponse, error) {
			return c.ListVPNConnections(ctx, &apiv1.ListVPNConnectionsRequest{PageSize: size, PageToken: token, Filters: filters})
		})
	case apiv1.KindVPNTunnel:
		return pages(func(token string) (*apiv1.ListVPNTunnelsResponse, error) {
			return c.ListVPNTunnels(ctx, &apiv1.ListVPNTunnelsRequest{PageSize: size, PageToken: token, Filters: filters})
		})
	case apiv1.KindGatewayHost:
		return pages(func(token string) (*apiv1.ListGatewayHostsResponse, error) {
			return c.ListGatewayHosts(ctx, &apiv1.ListGatewayHostsRequest{PageSize: size, PageToken: token, Filters: filters})
		})
	}
	return nil, errors.New("controllers do not know that; ask agents with --socket")
}

type listPage[T held] interface {
	GetItems() []T
	GetNextPageToken() string
}

func pages[T held, P listPage[T]](fetch func(token string) (P, error)) ([]held, error) {
	var out []held
	for token := ""; ; {
		p, err := fetch(token)
		if err != nil {
			return nil, err
		}
		for _, item := range p.GetItems() {
			out = append(out, item)
		}
		if token = p.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// get returns one resource.
func (c *central) get(ctx context.Context, kind, name string) (held, error) {
	switch kind {
	case apiv1.KindBorderGateway:
		resp, err := c.GetBorderGateway(ctx, &apiv1.GetBorderGatewayRequest{Name: name})
		return resp.GetBorderGateway(), err
	case apiv1.KindCustomerGateway:
		resp, err := c.GetCustomerGateway(ctx, &apiv1.GetCustomerGatewayRequest{Name: name})
		return resp.GetCustomerGateway(), err
	case apiv1.KindVPNConnection:
		resp, err := c.GetVPNConnection(ctx, &apiv1.GetVPNConnectionRequest{Name: name})
		return resp.GetVpnConnection(), err
	case apiv1.KindVPNTunnel:
		resp, err := c.GetVPNTunnel(ctx, &apiv1.GetVPNTunnelRequest{Name: name})
		return resp.GetVpnTunnel(), err
	}
	resp, err := c.GetGatewayHost(ctx, &apiv1.GetGatewayHostRequest{Name: name})
	return resp.GetGatewayHost(), err
}

// encodeHeld is the documented form of a resource with what the controller adds.
func encodeHeld(o held) object {
	m := o.ProtoReflect()
	out := object{{"kind", string(m.Descriptor().Name())}, {"name", o.GetName()}, {"metadata", encode(o.GetMetadata(), omitZeros)}}
	for _, part := range []struct {
		name protoreflect.Name
		z    zeros
	}{{"spec", omitZeros}, {"status", keepZeros}} {
		field := m.Descriptor().Fields().ByName(part.name)
		if field == nil || part.z == keepZeros && !m.Has(field) {
			continue
		}
		out = append(out, member{string(part.name), encodeMessage(m.Get(field).Message(), part.z)})
	}
	return out
}
