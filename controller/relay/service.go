package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// changeTimeout is how long an agent may take for what it does at once.
const changeTimeout = 30 * time.Second

// Service implements the HostService.
type Service struct{ Relay *Relay }

var _ apiv1connect.HostServiceHandler = (*Service)(nil)

// Rules is who may call the HostService: operators all, viewers what changes nothing.
func Rules(procedure string) []access.Role {
	switch procedure {
	case apiv1connect.HostServiceWatchLogProcedure:
		return []access.Role{access.Operator, access.Viewer}
	case apiv1connect.HostServiceChangeProcedure, apiv1connect.HostServiceDrainProcedure:
		return []access.Role{access.Operator}
	}
	return nil
}

// Change implements the HostService.
func (s *Service) Change(ctx context.Context, req *apiv1.HostChangeRequest) (*apiv1.ChangeResponse, error) {
	if !slices.Contains([]string{apiv1.ActionDisable, apiv1.ActionEnable, apiv1.ActionAbort}, req.GetAction()) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("action: %q is none of DISABLE, ENABLE, ABORT", req.GetAction()))
	}
	c, elsewhere, err := s.target(ctx, req.GetTunnel(), req.GetHost(), req.GetAction())
	if err != nil {
		return nil, err
	}
	c.ask.Request = &apiv1.AgentCall_Change{Change: &apiv1.ChangeRequest{Tunnel: req.GetTunnel(), Action: req.GetAction(), Force: req.GetForce(),
		ConnectionsUpElsewhere: elsewhere}}
	ctx, cancel := context.WithTimeoutCause(ctx, changeTimeout,
		connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("host %s does not answer", c.host)))
	defer cancel()
	var resp *apiv1.ChangeResponse
	err = s.Relay.ask(ctx, c, func(r *apiv1.AgentReply) error {
		if r.GetChanged() != nil {
			resp = r.GetChanged()
		}
		return nil
	})
	if err == nil && resp == nil {
		err = connect.NewError(connect.CodeInternal, fmt.Errorf("host %s has answered nothing", c.host))
	}
	return resp, problem(err)
}

// Drain implements the HostService.
func (s *Service) Drain(ctx context.Context, req *apiv1.HostDrainRequest, stream *connect.ServerStream[apiv1.DrainProgress]) error {
	c, elsewhere, err := s.target(ctx, req.GetTunnel(), req.GetHost(), "DRAIN")
	if err != nil {
		return err
	}
	c.ask.Request = &apiv1.AgentCall_Drain{Drain: &apiv1.DrainRequest{Tunnel: req.GetTunnel(), Timeout: req.GetTimeout(), Force: req.GetForce(),
		ConnectionsUpElsewhere: elsewhere}}
	return problem(s.Relay.ask(ctx, c, func(r *apiv1.AgentReply) error {
		for _, p := range r.GetProgress() {
			if err := stream.Send(p); err != nil {
				return err
			}
		}
		return nil
	}))
}

// WatchLog implements the HostService.
func (s *Service) WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, stream *connect.ServerStream[apiv1.LogEntry]) error {
	if req.GetTunnel() == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("tunnel: is required"))
	}
	c, _, err := s.target(ctx, req.GetTunnel(), "", "")
	if err != nil {
		return err
	}
	c.entry, c.ask.Request = nil, &apiv1.AgentCall_WatchLog{WatchLog: req}
	return problem(s.Relay.ask(ctx, c, func(r *apiv1.AgentReply) error {
		for _, e := range r.GetLog() {
			if err := stream.Send(e); err != nil {
				return err
			}
		}
		return nil
	}))
}

// target begins a call: it finds the host, and which connections of the tunnels in question have one in service on another host.
func (s *Service) target(ctx context.Context, tunnel, host, action string) (c call, elsewhere []string, err error) {
	if (tunnel == "") == (host == "") {
		return c, nil, connect.NewError(connect.CodeInvalidArgument, errors.New("tunnel, host: exactly one of the two is required"))
	}
	if err := s.Relay.Store.Sync(ctx); err != nil {
		return c, nil, problem(err)
	}
	object := apiv1.ObjectName(apiv1.KindGatewayHost, host)
	s.Relay.Store.View(func(r store.Reader) {
		var going []*apiv1.VPNTunnel
		if tunnel != "" {
			object = apiv1.ObjectName(apiv1.KindVPNTunnel, tunnel)
			going, host, err = oneTunnel(r, tunnel)
		} else {
			going, err = tunnelsOf(r, host)
		}
		elsewhere = inServiceElsewhere(r, going, host)
	})
	id, peer := access.From(ctx)
	c = call{host: host, ask: &apiv1.AgentCall{By: id.String()},
		entry: &apiv1.AuditEntry{Actor: id.String(), Peer: peer, Action: action, Object: object}}
	return c, elsewhere, err
}

func oneTunnel(r store.Reader, name string) ([]*apiv1.VPNTunnel, string, error) {
	t := fleet.Object[*apiv1.VPNTunnel](r, apiv1.KindVPNTunnel, name)
	if t == nil {
		return nil, "", connect.NewError(connect.CodeNotFound, fmt.Errorf("tunnel %q not found", name))
	}
	host := fleet.OwnerOf(r, t.GetSpec().GetCloudAddress())
	if host == "" {
		return nil, "", connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("no host has cloud address %s", t.GetSpec().GetCloudAddress()))
	}
	return []*apiv1.VPNTunnel{t}, host, nil
}

// tunnelsOf are all tunnels of a host.
func tunnelsOf(r store.Reader, name string) ([]*apiv1.VPNTunnel, error) {
	h := fleet.Object[*apiv1.GatewayHost](r, apiv1.KindGatewayHost, name)
	if h == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("host %q not found", name))
	}
	var out []*apiv1.VPNTunnel
	for _, address := range h.GetSpec().GetAddresses() {
		for _, rec := range r.Find(model.TunnelsOn(address)) {
			if t, ok := model.Stored(rec).(*apiv1.VPNTunnel); ok {
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// inServiceElsewhere are the connections of tunnels that have another one on another host, up, that nobody is taking down.
func inServiceElsewhere(r store.Reader, going []*apiv1.VPNTunnel, host string) []string {
	var out []string
	for _, t := range going {
		name := t.GetSpec().GetConnection()
		conn := fleet.Object[*apiv1.VPNConnection](r, apiv1.KindVPNConnection, name)
		if slices.Contains(out, name) {
			continue
		}
		for _, rec := range r.Find(model.TunnelsOf(conn.GetSpec().GetBorderGateway(), name)) {
			other, ok := model.Stored(rec).(*apiv1.VPNTunnel)
			if !ok || fleet.OwnerOf(r, other.GetSpec().GetCloudAddress()) == host {
				continue
			}
			if st := fleet.TunnelStatus(r, other); st.GetRunning() == apiv1.RunningUp && st.GetLocal() == nil {
				out = append(out, name)
				break
			}
		}
	}
	return out
}

// problem gives the store's errors their codes.
func problem(err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrCompacted):
		return connect.NewError(connect.CodeUnavailable, fmt.Errorf("what was begun goes on: ask again to look on: %w", err))
	case errors.Is(err, store.ErrNewerSchema):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return err
}
