package ctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"connectrpc.com/connect"

	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// Fleet is the agents to ask, in the order their sockets were named.
type Fleet struct {
	agents []agent
}

type agent struct {
	socket    string
	api       apiv1connect.AgentServiceClient
	transport *http.Transport
}

// Dial returns a Fleet for the sockets. It connects when something is asked. The caller must Close it.
func Dial(sockets []string) *Fleet {
	f := &Fleet{}
	for _, socket := range sockets {
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		}}
		// The name in the URL only fills the Host header.
		api := apiv1connect.NewAgentServiceClient(&http.Client{Transport: transport}, "http://agent")
		f.agents = append(f.agents, agent{socket: socket, api: api, transport: transport})
	}
	return f
}

// Close ends all connections.
func (f *Fleet) Close() {
	for _, a := range f.agents {
		a.transport.CloseIdleConnections()
	}
}

// Silence is an agent that did not answer.
type Silence struct {
	Socket string
	Err    error
}

// Error implements error: "/run/bordergw/agent.sock: no answer: …".
func (s Silence) Error() string { return fmt.Sprintf("%s: no answer: %s", s.Socket, reason(s.Err)) }

// Unwrap returns the cause.
func (s Silence) Unwrap() error { return s.Err }

// reason shortens what net/http and connect put around a dial error: the socket's path is named already.
func reason(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	if c, ok := errors.AsType[*connect.Error](err); ok {
		return c.Message()
	}
	return err.Error()
}

// ask puts one question to all agents at once and returns the answers in the agents' order. An answer with the code not_found is
// neither an answer nor a silence: that agent has nothing of the kind.
func ask[T any](ctx context.Context, f *Fleet, question func(context.Context, apiv1connect.AgentServiceClient) (T, error)) ([]T, []Silence) {
	var got []T
	var silent []Silence
	for _, a := range askEach(ctx, f, question) {
		switch {
		case a.err == nil:
			got = append(got, a.answer)
		case connect.CodeOf(a.err) != connect.CodeNotFound:
			silent = append(silent, Silence{Socket: a.agent.socket, Err: a.err})
		}
	}
	return got, silent
}

// reply is what one agent answered.
type reply[T any] struct {
	agent  agent
	answer T
	err    error
}

// askEach puts one question to all agents at once; the replies are in the agents' order.
func askEach[T any](ctx context.Context, f *Fleet, question func(context.Context, apiv1connect.AgentServiceClient) (T, error)) []reply[T] {
	out := make([]reply[T], len(f.agents))
	var wg sync.WaitGroup
	for i, a := range f.agents {
		wg.Go(func() {
			out[i].agent = a
			out[i].answer, out[i].err = question(ctx, a.api)
		})
	}
	wg.Wait()
	return out
}
