package hosts

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/internal/seal"
)

const (
	// coalesce is how long a session waits for more changes before it makes a snapshot of them.
	coalesce = 20 * time.Millisecond
	// retryInterval is how long a session waits after the store could not be written.
	retryInterval = time.Second
	// sendTimeout is how long an agent may leave a message unread.
	sendTimeout = 10 * time.Second
)

// session is one agent's conversation; its fields belong to run, but for counted, which Server.mu guards.
type session struct {
	server *Server
	// id tells this session from all others.
	id      string
	host    string
	version uint32
	hello   *apiv1.Hello
	key     *seal.PublicKey
	log     *slog.Logger
	send    func(*apiv1.ConnectResponse) error
	cancel  context.CancelCauseFunc
	counted []string

	// What was offered last: concerned has the records that were part of it, last its revision.
	offered   bool
	digest    []byte
	last      uint64
	addresses []string
	concerned map[store.Ref]bool
	sealed    map[string]sealedSecret

	// lease is that of the host's presence; zero until the host has reported on all its tunnels.
	lease   store.Lease
	renewed time.Time
	// What the store has not been told yet: pending has nil for tunnels that are gone.
	complete bool
	pending  map[string]*apiv1.VPNTunnelStatus
	answer   *apiv1.SnapshotAnswer
	// calls are those under way, replies what the agent said about them.
	calls   map[string]*relayed
	replies []*apiv1.AgentReply
}

// run speaks and listens until ctx ends or the agent is no longer heard of.
func (c *session) run(ctx context.Context, messages <-chan *apiv1.ConnectRequest) error {
	opts := c.server.opts
	c.last = c.hello.GetRevision()
	if err := c.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Welcome{Welcome: &apiv1.Welcome{
		Version: c.version, Controller: opts.Name, Lease: durationpb.New(opts.Lease),
		Heartbeat: durationpb.New(opts.Heartbeat), Counters: durationpb.New(opts.Counters),
	}}}); err != nil {
		return err
	}
	c.log.Info("session", "version", c.version, "agent", c.hello.GetCapabilities().GetAgentVersion(), "revision", c.hello.GetRevision())
	changes := opts.Store.Subscribe()
	defer changes.Close()
	heartbeat := time.NewTicker(opts.Heartbeat)
	defer heartbeat.Stop()
	silence := time.NewTimer(opts.Lease)
	defer silence.Stop()
	settle, retry := stopped(), stopped()
	defer settle.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-silence.C:
			return errSilentHost
		case <-heartbeat.C:
			if err := c.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Heartbeat{Heartbeat: &apiv1.Heartbeat{}}}); err != nil {
				return err
			}
			continue
		case <-changes.Wake():
			changed, all := changes.Take()
			if all || c.concerns(changed) {
				settle.Reset(coalesce)
			}
			if err := c.relay(changed, all); err != nil {
				return err
			}
			continue
		case <-settle.C:
			if err := c.offer(); err != nil {
				return err
			}
			continue
		case m := <-messages:
			silence.Reset(opts.Lease)
			c.hear(m)
		case <-retry.C:
		}
		if err := c.tell(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("what the host told is not in the store yet", "error", err)
			retry.Reset(retryInterval)
		}
	}
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// say gives up the session when the agent does not read.
func (c *session) say(m *apiv1.ConnectResponse) error {
	limit := time.AfterFunc(sendTimeout, func() { c.cancel(errors.New("the agent does not read")) })
	defer limit.Stop()
	return c.send(m)
}

// hear notes what the agent said; tell writes it.
func (c *session) hear(m *apiv1.ConnectRequest) {
	switch {
	case m.GetStatus() != nil:
		c.report(m.GetStatus())
	case m.GetAnswer() != nil:
		c.answer = m.GetAnswer()
		if c.answer.GetRefused() {
			c.log.Error("the host refuses a snapshot", "revision", c.answer.GetRevision(), "findings", c.answer.GetFindings())
			c.server.stats.refused.Add(1)
		} else if apiv1.Refused(c.answer.GetFindings()) {
			c.log.Warn("the host refuses objects of a snapshot", "revision", c.answer.GetRevision(), "findings", c.answer.GetFindings())
		}
	case m.GetCounters() != nil:
		c.server.count(c, m.GetCounters())
	case m.GetReply() != nil:
		c.replies = append(c.replies, m.GetReply())
	}
}

// report takes over statuses of the host's own tunnels; what an agent says about others counts for nothing.
func (c *session) report(r *apiv1.StatusReport) {
	if r.GetComplete() {
		c.complete = true
		clear(c.pending)
		for _, name := range c.reported() {
			c.pending[name] = nil
		}
	}
	for _, name := range r.GetRemoved() {
		c.pending[name] = nil
	}
	for _, t := range r.GetTunnels() {
		if st := t.GetStatus(); st != nil && c.mayReport(t.GetName()) {
			st.Host = c.host
			c.pending[t.GetName()] = st
		}
	}
}
