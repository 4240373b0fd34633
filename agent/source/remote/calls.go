package remote

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/agent/local"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const (
	// maxCalls bounds what is under way in one session.
	maxCalls = 64
	// repliesAhead is how many steps and lines may wait for the session to send them.
	repliesAhead = 256
)

// Operations is what operators may ask for through a controller. Errors are *local.Error, or those of ctx and send.
type Operations interface {
	Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error)
	Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error
	WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error
}

// calls are those under way in one session. Its methods belong to the session's goroutine.
type calls struct {
	source  *Source
	running map[string]context.CancelFunc
	replies chan *apiv1.AgentReply
}

func (s *Source) newCalls() *calls {
	return &calls{source: s, running: map[string]context.CancelFunc{}, replies: make(chan *apiv1.AgentReply, repliesAhead)}
}

// take begins a call, in a goroutine that run starts and that ends with ctx, or ends one. It returns the reply to a call that cannot begin.
func (c *calls) take(ctx context.Context, run func(func()), call *apiv1.AgentCall) *apiv1.AgentReply {
	id := call.GetId()
	cancel, known := c.running[id]
	switch {
	case call.GetEnded():
		if known {
			cancel()
			delete(c.running, id)
		}
		return nil
	case known:
		return nil
	case len(c.running) >= maxCalls:
		return ended(id, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("%d calls are under way on this host", maxCalls)))
	}
	ctx, c.running[id] = context.WithCancel(ctx)
	run(func() {
		reply := func(r *apiv1.AgentReply) error {
			r.Id = id
			select {
			case c.replies <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// It fails when nobody waits for it any more.
		_ = reply(ended(id, c.source.carryOut(ctx, call, reply)))
	})
	return nil
}

// gather adds to a reply what else there is to say about its call. The second reply, if there is one, is of another call.
func (c *calls) gather(r *apiv1.AgentReply) (whole, next *apiv1.AgentReply) {
	for r.GetEnd() == nil {
		select {
		case more := <-c.replies:
			if more.GetId() != r.GetId() {
				return r, more
			}
			proto.Merge(r, more)
		default:
			return r, nil
		}
	}
	if cancel := c.running[r.GetId()]; cancel != nil {
		cancel()
	}
	delete(c.running, r.GetId())
	return r, nil
}

// carryOut does what a call asks for.
func (s *Source) carryOut(ctx context.Context, call *apiv1.AgentCall, reply func(*apiv1.AgentReply) error) error {
	s.opts.Log.Info("asked through a controller", "by", call.GetBy(), "call", call.GetId())
	if view, _ := s.opts.Published(); !view.Host.GetReady() {
		return connect.NewError(connect.CodeUnavailable, errors.New("the agent is not ready yet"))
	}
	switch req := call.GetRequest().(type) {
	case *apiv1.AgentCall_Change:
		resp, err := s.opts.Operations.Change(call.GetBy(), req.Change)
		if err != nil {
			return err
		}
		return reply(&apiv1.AgentReply{Changed: resp})
	case *apiv1.AgentCall_Drain:
		return s.opts.Operations.Drain(ctx, call.GetBy(), req.Drain, func(p *apiv1.DrainProgress) error {
			return reply(&apiv1.AgentReply{Progress: []*apiv1.DrainProgress{p}})
		})
	case *apiv1.AgentCall_WatchLog:
		return s.opts.Operations.WatchLog(ctx, req.WatchLog, func(e *apiv1.LogEntry) error {
			return reply(&apiv1.AgentReply{Log: []*apiv1.LogEntry{e}})
		})
	}
	return connect.NewError(connect.CodeUnimplemented, errors.New("the agent does not know this call: it is older than the controller"))
}

// ended is the last reply to a call.
func ended(id string, err error) *apiv1.AgentReply {
	end := &apiv1.CallEnd{}
	if err != nil {
		end.Code, end.Message = connect.CodeInternal.String(), err.Error()
		if refusal, ok := errors.AsType[*local.Error](err); ok {
			end.Code = refusal.Code().String()
		} else if e, ok := errors.AsType[*connect.Error](err); ok {
			end.Code, end.Message = e.Code().String(), e.Message()
		}
	}
	return &apiv1.AgentReply{Id: id, End: end}
}
