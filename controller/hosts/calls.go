package hosts

import (
	"context"
	"errors"
	"fmt"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/store"
)

// CallsSince is the version of the protocol that brought calls.
const CallsSince = 2

// relayed is a call that this session has handed to its agent.
type relayed struct {
	lease store.Lease
	// replies counts those that are in the store.
	replies int
}

// errUnwanted: nobody waits for a reply any more.
var errUnwanted = errors.New("nobody waits for the reply")

// relay hands new calls for this session to the agent, and tells it which ones nobody waits for any more.
func (c *session) relay(changed map[store.Ref]struct{}, all bool) error {
	concerned := all
	for ref := range changed {
		concerned = concerned || ref.Kind == fleet.KindCall
	}
	if !concerned || c.version < CallsSince {
		return nil
	}
	var fresh []*apiv1.AgentCall
	there := map[string]bool{}
	c.server.opts.Store.View(func(r store.Reader) {
		for _, rec := range r.All(fleet.KindCall) {
			call := rec.Value.GetCall()
			if call.GetSession() != c.id {
				continue
			}
			there[rec.Name] = true
			if c.calls[rec.Name] == nil {
				c.calls[rec.Name] = &relayed{lease: store.Lease(call.GetLease())}
				fresh = append(fresh, call.GetCall())
			}
		}
	})
	for id := range c.calls {
		if !there[id] {
			delete(c.calls, id)
			fresh = append(fresh, &apiv1.AgentCall{Id: id, Ended: true})
		}
	}
	for _, call := range fresh {
		if err := c.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Call{Call: call}}); err != nil {
			return err
		}
	}
	return nil
}

// tellReplies puts what the agent replied where the caller waits for it.
func (c *session) tellReplies(ctx context.Context) error {
	for ; len(c.replies) > 0; c.replies = c.replies[1:] {
		reply := c.replies[0]
		call := c.calls[reply.GetId()]
		if call == nil {
			continue
		}
		_, err := c.server.opts.Store.Write(ctx, func(tx *store.Tx) error {
			if tx.Get(fleet.Call(reply.GetId())) == nil {
				return errUnwanted
			}
			tx.PutLeased(fleet.Reply(reply.GetId(), call.replies), &apiv1.Stored{Reply: reply}, call.lease)
			return nil
		})
		switch {
		case errors.Is(err, errUnwanted), errors.Is(err, store.ErrLeaseEnded):
		case err != nil:
			return fmt.Errorf("a reply of the host: %w", err)
		default:
			call.replies++
		}
	}
	return nil
}
