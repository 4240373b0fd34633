package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// maxRequest bounds a request, in bytes: the manifests of a plan.
const maxRequest = 64 << 20

// APIHandler returns the handler of AgentService in the gRPC, gRPC-Web and Connect protocols; Connect takes plain JSON in a POST, and
// in a GET. view returns the newest published View; while it returns nil every question answers with the code unavailable. control,
// planner and teller may be nil: then nothing can be changed, planned or watched.
func APIHandler(view func() *status.View, control Control, planner Planner, teller Teller) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(apiv1connect.NewAgentServiceHandler(&api{view: view, control: control, planner: planner, teller: teller},
		connect.WithReadMaxBytes(maxRequest)))
	return withoutDeadlines(mux)
}

// api implements apiv1connect.AgentServiceHandler. Messages of the View go out as they are: encoding only reads them.
type api struct {
	view    func() *status.View
	control Control
	planner Planner
	teller  Teller
}

var _ apiv1connect.AgentServiceHandler = (*api)(nil)

func (a *api) current() (*status.View, error) {
	v := a.view()
	if v == nil {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("the agent has not read its state yet"))
	}
	return v, nil
}

func (a *api) GetHost(context.Context, *apiv1.GetHostRequest) (*apiv1.GetHostResponse, error) {
	v, err := a.current()
	if err != nil {
		return nil, err
	}
	if v.Host == nil {
		return &apiv1.GetHostResponse{}, nil
	}
	return v.Host, nil
}

func (a *api) ListGateways(context.Context, *apiv1.ListGatewaysRequest) (*apiv1.ListGatewaysResponse, error) {
	v, err := a.current()
	if err != nil {
		return nil, err
	}
	return &apiv1.ListGatewaysResponse{Items: mapped(v.Gateways, withoutSecrets)}, nil
}

func (a *api) ListConnections(context.Context, *apiv1.ListConnectionsRequest) (*apiv1.ListConnectionsResponse, error) {
	v, err := a.current()
	if err != nil {
		return nil, err
	}
	return &apiv1.ListConnectionsResponse{Items: mapped(v.Connections, withoutSecrets)}, nil
}

func (a *api) ListTunnels(context.Context, *apiv1.ListTunnelsRequest) (*apiv1.ListTunnelsResponse, error) {
	v, err := a.current()
	if err != nil {
		return nil, err
	}
	return &apiv1.ListTunnelsResponse{Items: mapped(v.Tunnels, withoutSecrets)}, nil
}

func (a *api) GetTunnel(_ context.Context, req *apiv1.GetTunnelRequest) (*apiv1.GetTunnelResponse, error) {
	if req.GetName() == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("name: must not be empty"))
	}
	v, err := a.current()
	if err != nil {
		return nil, err
	}
	i, found := slices.BinarySearchFunc(v.Tunnels, req.GetName(), func(t *apiv1.VPNTunnel, name string) int {
		return strings.Compare(t.GetName(), name)
	})
	if !found {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("tunnel %q is not on this host", req.GetName()))
	}
	return &apiv1.GetTunnelResponse{Tunnel: withoutSecrets(v.Tunnels[i]), Log: v.Logs[req.GetName()]}, nil
}

func (a *api) ListRoutes(_ context.Context, req *apiv1.ListRoutesRequest) (*apiv1.ListRoutesResponse, error) {
	v, err := a.current()
	if err != nil {
		return nil, err
	}
	routes := v.Routes
	if gateway := req.GetGateway(); gateway != "" {
		routes = slices.DeleteFunc(slices.Clone(routes), func(r *apiv1.Route) bool { return r.GetGateway() != gateway })
	}
	return &apiv1.ListRoutesResponse{Items: routes}, nil
}

func mapped[T any](in []T, f func(T) T) []T {
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// withoutSecrets returns m itself when it holds no secret value, which is how a View should be, and else a copy without the values.
func withoutSecrets[M proto.Message](m M) M {
	if !holdsSecret(m) {
		return m
	}
	c := proto.CloneOf(m)
	clearSecrets(c)
	return c
}
