package remote_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/source/remote"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// operator carries out calls: drains take two steps and then wait to be left.
type operator struct{}

func (operator) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	switch req.GetTunnel() {
	case "none":
		return nil, &local.Error{Kind: local.Unknown, Message: "not on this host"}
	case "broken":
		return nil, errors.New("it broke")
	}
	return &apiv1.ChangeResponse{Notes: []string{by + " " + req.GetAction()}}, nil
}

func (operator) Drain(ctx context.Context, _ string, _ *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	for _, stage := range []string{apiv1.DrainAnnouncedWorse, apiv1.DrainWithdrawn} {
		if err := send(&apiv1.DrainProgress{Stage: stage}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (operator) WatchLog(_ context.Context, _ *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error {
	for i := range 1000 {
		if err := send(&apiv1.LogEntry{Message: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return nil
}

var _ remote.Operations = operator{}

// call says a call; the agent may have something to say itself before it listens.
func (s *session) call(c *apiv1.AgentCall) {
	s.w.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case s.down <- &apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Call{Call: c}}:
			return
		case m := <-s.up:
			s.others = append(s.others, m)
		case <-limit:
			s.w.t.Fatal("the agent does not listen")
		}
	}
}

// reply is the next one to a call.
func (s *session) reply(id string) *apiv1.AgentReply {
	s.w.t.Helper()
	return next(s, func(m *apiv1.ConnectRequest) (*apiv1.AgentReply, bool) {
		return m.GetReply(), m.GetReply().GetId() == id
	})
}

// all reads replies to a call until its end.
func (s *session) all(id string) (log []*apiv1.LogEntry, changed *apiv1.ChangeResponse, end string) {
	s.w.t.Helper()
	for {
		r := s.reply(id)
		log = append(log, r.GetLog()...)
		if r.GetChanged() != nil {
			changed = r.GetChanged()
		}
		if e := r.GetEnd(); e != nil {
			return log, changed, e.GetCode() + " " + e.GetMessage()
		}
	}
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(func(o *remote.Options) { o.Operations = operator{} })
		defer func() { w.stop() }()
		s := w.accept()
		if diff := cmp.Diff([]uint32{1, 2}, s.hello.GetVersions()); diff != "" {
			t.Error(diff)
		}
		change := func(id, tunnel string) *apiv1.AgentCall {
			return &apiv1.AgentCall{Id: id, By: "operator/alice", Request: &apiv1.AgentCall_Change{Change: &apiv1.ChangeRequest{Tunnel: tunnel, Action: apiv1.ActionEnable}}}
		}
		ends := func(call *apiv1.AgentCall, want string) *apiv1.ChangeResponse {
			t.Helper()
			s.call(call)
			_, changed, end := s.all(call.GetId())
			if end != want {
				t.Errorf("call %s ends with %q, not %q", call.GetId(), end, want)
			}
			return changed
		}
		ends(change("0", "shop-1"), "unavailable the agent is not ready yet")
		w.publish(true)
		if got := ends(change("1", "shop-1"), " "); got.GetNotes()[0] != "operator/alice ENABLE" {
			t.Errorf("%v", got)
		}
		ends(change("2", "none"), "not_found not on this host")
		ends(change("3", "broken"), "internal it broke")
		ends(&apiv1.AgentCall{Id: "4"}, "unimplemented the agent does not know this call: it is older than the controller")
		s.call(&apiv1.AgentCall{Id: "5", Request: &apiv1.AgentCall_WatchLog{WatchLog: &apiv1.WatchLogRequest{}}})
		log, _, _ := s.all("5")
		for i, e := range log {
			if e.GetMessage() != fmt.Sprint(i) {
				t.Fatalf("line %d is %q", i, e.GetMessage())
			}
		}
		if len(log) != 1000 {
			t.Errorf("%d lines", len(log))
		}
		// Calls that go on: no more than 64, until they are left.
		drain := func(id string) *apiv1.AgentCall {
			return &apiv1.AgentCall{Id: id, Request: &apiv1.AgentCall_Drain{Drain: &apiv1.DrainRequest{}}}
		}
		for i := range 64 {
			s.call(drain(fmt.Sprint("drain", i)))
			for n := 0; n < 2; {
				n += len(s.reply(fmt.Sprint("drain", i)).GetProgress())
			}
		}
		s.call(drain("drain7")) // again: it is under way
		ends(drain("one too many"), "resource_exhausted 64 calls are under way on this host")
		s.call(&apiv1.AgentCall{Id: "drain7", Ended: true})
		s.call(&apiv1.AgentCall{Id: "never heard of", Ended: true})
		ends(change("6", "shop-1"), " ")
		// They end with the session.
		close(s.cut)
		w.accept()
	})
}
