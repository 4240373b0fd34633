package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os/user"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// control says who asked, fails as it is told, and drains until its caller leaves.
type control struct{ err error }

func (c control) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	if req.GetTunnel() == "" {
		return nil, &local.Error{Kind: local.Invalid, Message: "tunnel: is required"}
	}
	return &apiv1.ChangeResponse{Notes: []string{by}}, c.err
}

func (c control) Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	if err := send(&apiv1.DrainProgress{Tunnel: req.GetTunnel(), Message: by}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func controlled(t *testing.T, view *status.View, c server.Control) *running {
	t.Helper()
	r := &running{socket: filepath.Join(t.TempDir(), "agent.sock"), done: make(chan error, 1)}
	api, err := server.ListenUnix(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{View: func() *status.View { return view }, Control: c, Metrics: http.NotFoundHandler(),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.done <- s.Serve(ctx, api, nil) }()
	t.Cleanup(func() {
		r.stop()
		if err := <-r.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

func (r *running) api(t *testing.T) apiv1connect.AgentServiceClient {
	return apiv1connect.NewAgentServiceClient(r.client(t, false), "http://agent")
}

func TestControlHearsWhoAsks(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c := controlled(t, testView(), control{}).api(t)
	resp, err := c.Change(t.Context(), &apiv1.ChangeRequest{Tunnel: "t"})
	if err != nil || resp.GetNotes()[0] != me.Username {
		t.Errorf("asked by %v, %v; want %s", resp.GetNotes(), err, me.Username)
	}
}

func TestControlErrorsHaveCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want connect.Code
	}{
		{&local.Error{Kind: local.Unknown, Message: "x"}, connect.CodeNotFound},
		{&local.Error{Kind: local.Refused, Message: "x"}, connect.CodeFailedPrecondition},
		{&local.Error{Kind: local.Failed, Message: "x"}, connect.CodeInternal},
		{&local.Error{Kind: local.Invalid, Message: "x"}, connect.CodeInvalidArgument},
		{errors.New("x"), connect.CodeUnknown},
	} {
		c := controlled(t, testView(), control{err: tc.err}).api(t)
		if _, err := c.Change(t.Context(), &apiv1.ChangeRequest{Tunnel: "t"}); connect.CodeOf(err) != tc.want {
			t.Errorf("%v has the code %v, want %v", tc.err, connect.CodeOf(err), tc.want)
		}
	}
	starting := testView()
	starting.Host = &apiv1.GetHostResponse{}
	c := controlled(t, starting, control{}).api(t)
	if _, err := c.Change(t.Context(), &apiv1.ChangeRequest{Tunnel: "t"}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("before the first apply: %v", err)
	}
	c = controlled(t, testView(), nil).api(t)
	if _, err := c.Change(t.Context(), &apiv1.ChangeRequest{Tunnel: "t"}); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("without control: %v", err)
	}
}

// TestStreamsEndWithTheServer: a client that looks on does not hold up the end.
func TestStreamsEndWithTheServer(t *testing.T) {
	r := controlled(t, testView(), control{})
	stream, err := r.api(t).Drain(t.Context(), &apiv1.DrainRequest{Tunnel: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	if !stream.Receive() || stream.Msg().GetTunnel() != "t" {
		t.Fatalf("nothing came: %v", stream.Err())
	}
	r.stop()
	if stream.Receive() || connect.CodeOf(stream.Err()) != connect.CodeUnavailable {
		t.Errorf("the end: %v", stream.Err())
	}
}
