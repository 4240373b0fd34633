package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// Control carries out what operators ask for; by is the user. *local.Keeper is one. Its errors are *local.Error, or those of ctx and
// send.
type Control interface {
	Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error)
	Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error
}

// Planner tells what a desired state would change, and does nothing. *agent.Agent is one.
type Planner interface {
	Plan(files []manifest.File) (*apiv1.PlanResponse, error)
}

// Teller tells what has happened and what happens. *agent.Agent is one. Its errors are *local.Error, or those of ctx and send.
type Teller interface {
	WatchEvents(ctx context.Context, req *apiv1.WatchHostEventsRequest, send func(*apiv1.HostEvent) error) error
	WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error
}

var _ Control = (*local.Keeper)(nil)

func (a *api) Change(ctx context.Context, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	if err := a.ready(); err != nil {
		return nil, err
	}
	resp, err := a.control.Change(userOf(ctx), req)
	return resp, coded(err)
}

func (a *api) Drain(ctx context.Context, req *apiv1.DrainRequest, stream *connect.ServerStream[apiv1.DrainProgress]) error {
	if err := a.ready(); err != nil {
		return err
	}
	return coded(a.control.Drain(ctx, userOf(ctx), req, stream.Send))
}

func (a *api) Plan(_ context.Context, req *apiv1.PlanRequest) (*apiv1.PlanResponse, error) {
	if a.planner == nil {
		return nil, connect.NewError(connect.CodeUnimplemented, errors.New("this agent plans nothing"))
	}
	if _, err := a.current(); err != nil {
		return nil, err
	}
	var files []manifest.File
	for _, f := range req.GetFiles() {
		files = append(files, manifest.File{Name: f.GetName(), Content: f.GetContent()})
	}
	resp, err := a.planner.Plan(files)
	if err != nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	return resp, nil
}

func (a *api) WatchEvents(ctx context.Context, req *apiv1.WatchHostEventsRequest, stream *connect.ServerStream[apiv1.HostEvent]) error {
	if a.teller == nil {
		return connect.NewError(connect.CodeUnimplemented, errors.New("this agent tells no events"))
	}
	return coded(a.teller.WatchEvents(ctx, req, stream.Send))
}

func (a *api) WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, stream *connect.ServerStream[apiv1.LogEntry]) error {
	if a.teller == nil {
		return connect.NewError(connect.CodeUnimplemented, errors.New("this agent tells no logs"))
	}
	return coded(a.teller.WatchLog(ctx, req, stream.Send))
}

// ready says why nothing can be changed yet: what tunnels there are is known with the first full apply.
func (a *api) ready() error {
	if a.control == nil {
		return connect.NewError(connect.CodeUnimplemented, errors.New("this agent changes nothing"))
	}
	v, err := a.current()
	if err == nil && !v.Host.GetReady() {
		err = connect.NewError(connect.CodeUnavailable, errors.New("the agent is not ready yet"))
	}
	return err
}

func coded(err error) error {
	refusal, ok := errors.AsType[*local.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeUnavailable, errors.New("the agent ends; what was begun goes on when it is back"))
	case !ok:
		return err
	}
	return connect.NewError(refusal.Code(), refusal)
}

// withoutDeadlines lets streams last: they end when their work does, when the client leaves, or with the server.
func withoutDeadlines(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case apiv1connect.AgentServiceDrainProcedure, apiv1connect.AgentServiceWatchEventsProcedure, apiv1connect.AgentServiceWatchLogProcedure:
			c := http.NewResponseController(w)
			// A connection that cannot do without deadlines keeps them, and the stream ends early.
			_ = errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}))
		}
		next.ServeHTTP(w, r)
	})
}
