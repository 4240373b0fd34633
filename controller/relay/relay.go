package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/audit"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/store"
)

const (
	// leaseTime is how long a call outlives the controller that was asked.
	leaseTime = 15 * time.Second
	// farewell is how long the end of a call may take in the store after its caller has left.
	farewell = 5 * time.Second
)

// Relay asks agents. Errors are *connect.Error, or those of the store.
type Relay struct {
	Store *store.Store
	Log   *slog.Logger
}

// call is one question to one host.
type call struct {
	host string
	ask  *apiv1.AgentCall
	// entry is what the audit log says of it; nil for what changes nothing.
	entry *apiv1.AuditEntry
}

// errEnd ends the watch of a call that has ended.
var errEnd = errors.New("the call has ended")

// ask hands a call to the host and calls fn with each reply until the agent ends it, which may be with an error, or ctx ends.
func (r *Relay) ask(ctx context.Context, c call, fn func(*apiv1.AgentReply) error) error {
	if err := r.Store.Sync(ctx); err != nil {
		return err
	}
	lease, err := r.Store.Grant(ctx, leaseTime)
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if err := r.Store.Revoke(bounded, lease); err != nil {
			r.Log.Warn("a call stays until its lease ends", "host", c.host, "error", err)
		}
	}()
	c.ask.Id = rand.Text()
	var session string
	revision, err := r.Store.Write(ctx, func(tx *store.Tx) error {
		presence := tx.Get(fleet.Presence(c.host))
		if err := reachable(tx.Peek(), c.host, presence); err != nil {
			return err
		}
		session = presence.Value.GetPresence().GetSession()
		tx.PutLeased(fleet.Call(c.ask.GetId()), &apiv1.Stored{Call: &apiv1.HostCall{Call: c.ask, Session: session, Lease: int64(lease)}}, lease)
		return putEntry(tx, c.entry, "asked for"+textOf(c.ask))
	})
	if err != nil {
		return err
	}
	err = r.follow(ctx, c, lease, session, revision, fn)
	r.ended(ctx, c, err)
	return err
}

// reachable says why a host cannot be asked.
func reachable(r store.Reader, host string, presence *store.Record) error {
	capabilities := func() *apiv1.HostCapabilities { return r.Get(fleet.Host(host)).Value.GetHost().GetCapabilities() }
	switch {
	case presence == nil && r.Get(fleet.Host(host)) == nil:
		return connect.NewError(connect.CodeUnavailable, fmt.Errorf("host %s has never reported", host))
	case presence == nil:
		return connect.NewError(connect.CodeUnavailable, fmt.Errorf("host %s does not report", host))
	case presence.Value.GetPresence().GetProtocol() < hosts.CallsSince:
		return connect.NewError(connect.CodeUnimplemented,
			fmt.Errorf("host %s cannot be asked through controllers: its agent (version %s) or controller %s, which has its session, is too old; "+
				"ask the agent on the host itself", host, capabilities().GetAgentVersion(), presence.Value.GetPresence().GetController()))
	}
	return nil
}

// follow reads the replies and keeps the lease.
func (r *Relay) follow(ctx context.Context, c call, lease store.Lease, session string, after int64, fn func(*apiv1.AgentReply) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { r.keep(ctx, lease, cancel) })
	err := r.Store.Changes(ctx, after, func(changes []store.Change, _ int64) error {
		for _, change := range changes {
			switch {
			case change.Kind == fleet.KindReply && strings.HasPrefix(change.Name, c.ask.GetId()+"/") && change.Record != nil:
				if err := deliver(change.Record.Value.GetReply(), fn); err != nil {
					return err
				}
			case change.Ref == fleet.Presence(c.host) && (change.Record == nil || change.Record.Value.GetPresence().GetSession() != session):
				return connect.NewError(connect.CodeUnavailable,
					fmt.Errorf("the session with host %s has ended; what was begun goes on: ask again to look on", c.host))
			}
		}
		return nil
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(err, errEnd):
		return nil
	case errors.Is(cause, store.ErrLeaseEnded):
		return connect.NewError(connect.CodeUnavailable, errors.New("the store could not be reached for too long; what was begun goes on: ask again to look on"))
	}
	return err
}

// deliver passes a reply on and says how the call ended.
func deliver(reply *apiv1.AgentReply, fn func(*apiv1.AgentReply) error) error {
	if err := fn(reply); err != nil {
		return err
	}
	switch end := reply.GetEnd(); {
	case end == nil:
		return nil
	case end.GetCode() == "":
		return errEnd
	default:
		var code connect.Code
		if err := code.UnmarshalText([]byte(end.GetCode())); err != nil {
			code = connect.CodeInternal
		}
		return connect.NewError(code, errors.New(end.GetMessage()))
	}
}

// keep renews the lease until ctx ends.
func (r *Relay) keep(ctx context.Context, lease store.Lease, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(leaseTime / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.Store.Renew(ctx, lease); errors.Is(err, store.ErrLeaseEnded) {
			cancel(err)
			return
		}
	}
}

// ended notes in the audit log how a call ended.
func (r *Relay) ended(ctx context.Context, c call, err error) {
	if c.entry == nil {
		return
	}
	text := "done"
	switch {
	case errors.Is(err, context.Canceled):
		text = "the caller has left; what was begun goes on"
	case err != nil:
		text = err.Error()
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if _, err := r.Store.Write(bounded, func(tx *store.Tx) error { return putEntry(tx, c.entry, text) }); err != nil {
		r.Log.Error("the audit log does not have how a call ended", "object", c.entry.GetObject(), "error", err)
	}
}

func putEntry(tx *store.Tx, entry *apiv1.AuditEntry, message string) error {
	if entry == nil {
		return nil
	}
	entry = proto.CloneOf(entry)
	entry.Time, entry.Message = timestamppb.Now(), message
	name, value, err := audit.Encode(time.Now(), []*apiv1.AuditEntry{entry})
	if err != nil {
		return err
	}
	tx.PutAside(name, value)
	return nil
}

// textOf tells what was asked for besides the action.
func textOf(ask *apiv1.AgentCall) string {
	text := ""
	if d := ask.GetDrain().GetTimeout(); d != nil {
		text += ", timeout " + d.AsDuration().String()
	}
	if ask.GetDrain().GetForce() || ask.GetChange().GetForce() {
		text += ", forced"
	}
	return text
}
