package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const (
	// welcomeTimeout is how long a controller may take to answer a Hello, sendTimeout how long it may leave a message unread.
	welcomeTimeout, sendTimeout = 5 * time.Second, 8 * time.Second
	// defaultHeartbeat and defaultCounters stand in for intervals that a Welcome leaves out or that make no sense.
	defaultHeartbeat, defaultCounters = 3 * time.Second, 10 * time.Second
	// silentBeats is after how many missing heartbeats of the controller a session counts as dead.
	silentBeats = 4
)

// session is one conversation with a controller, from Hello to whatever ends it; the error says what.
func (s *Source) session(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	welcomed := time.AfterFunc(welcomeTimeout, func() { cancel(errors.New("no answer in time")) })
	defer welcomed.Stop()
	stream, err := s.opts.Dial(ctx, endpoint)
	if err != nil {
		return because(ctx, err)
	}
	defer stream.Close()
	c := &conversation{source: s, endpoint: endpoint, stream: stream, cancel: cancel}
	err = c.send(ctx, &apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Hello{Hello: s.hello()}})
	if err != nil && !errors.Is(err, io.EOF) {
		return because(ctx, err)
	}
	first, err := stream.Receive()
	if err != nil {
		return because(ctx, err)
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return errors.New("the controller's first message is no Welcome")
	}
	if !slices.Contains(s.opts.Versions, welcome.GetVersion()) {
		return fmt.Errorf("the controller speaks version %d of the protocol, this agent %v", welcome.GetVersion(), s.opts.Versions)
	}
	welcomed.Stop()
	s.connected(endpoint)
	s.opts.Log.Info("session with a controller", "endpoint", endpoint, "controller", welcome.GetController(), "version", welcome.GetVersion())
	return because(ctx, c.run(ctx, welcome))
}

// because prefers the reason why a session was ended to the error that this caused.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (s *Source) hello() *apiv1.Hello {
	out := &apiv1.Hello{
		Versions: s.opts.Versions, Host: s.opts.Host.Name, Zone: s.opts.Host.Zone, Addresses: s.opts.Host.Addresses,
		Capabilities: s.opts.Capabilities(), PublicKey: s.opts.Keys.Public().Bytes(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Revision, out.Digest = s.last.GetRevision(), s.last.GetDigest()
	return out
}

// conversation is a session after the Welcome.
type conversation struct {
	source   *Source
	endpoint string
	stream   Stream
	cancel   context.CancelCauseFunc
	reporter reporter
}

// send gives up the session when the controller does not read. The error io.EOF means that the controller ended the stream; why, only
// Receive knows.
func (c *conversation) send(ctx context.Context, m *apiv1.ConnectRequest) error {
	limit := time.AfterFunc(sendTimeout, func() { c.cancel(errors.New("the controller does not read")) })
	defer limit.Stop()
	if err := c.stream.Send(m); err != nil {
		return err
	}
	return ctx.Err()
}

// run speaks and listens until the stream ends.
func (c *conversation) run(ctx context.Context, welcome *apiv1.Welcome) error {
	heard := make(chan *apiv1.ConnectResponse)
	var wg sync.WaitGroup
	defer wg.Wait()
	// Ends Receive, which the goroutine may be in.
	defer c.cancel(nil)
	wg.Go(func() { c.cancel(c.listen(ctx, heard)) })
	send := func(m *apiv1.ConnectRequest) error {
		err := c.send(ctx, m)
		if errors.Is(err, io.EOF) {
			<-ctx.Done() // listen has the reason
		}
		return err
	}

	beat := interval(welcome.GetHeartbeat().AsDuration(), defaultHeartbeat)
	heartbeat, count := time.NewTicker(beat), time.NewTicker(interval(welcome.GetCounters().AsDuration(), defaultCounters))
	defer heartbeat.Stop()
	defer count.Stop()
	silence := time.AfterFunc(silentBeats*beat, func() { c.cancel(errors.New("the controller is silent")) })
	defer silence.Stop()
	calls := c.source.newCalls()
	view, newer := c.source.opts.Published()
	for {
		if r := c.reporter.report(view); r != nil {
			if err := send(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Status{Status: r}}); err != nil {
				return err
			}
		}
		var out *apiv1.ConnectRequest
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-heard:
			silence.Reset(silentBeats * beat)
			if snapshot := m.GetSnapshot(); snapshot != nil {
				out = &apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Answer{Answer: c.source.take(c.endpoint, snapshot)}}
			}
			if call := m.GetCall(); call != nil {
				if refused := calls.take(ctx, wg.Go, call); refused != nil {
					out = replyMessage(refused)
				}
			}
		case r := <-calls.replies:
			for r != nil {
				whole, next := calls.gather(r)
				if err := send(replyMessage(whole)); err != nil {
					return err
				}
				r = next
			}
		case <-c.source.reread:
			return errReread
		case <-newer:
			view, newer = c.source.opts.Published()
		case <-heartbeat.C:
			out = &apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Heartbeat{Heartbeat: &apiv1.Heartbeat{}}}
		case <-count.C:
			if r := counters(view); r != nil {
				out = &apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Counters{Counters: r}}
			}
		}
		if out != nil {
			if err := send(out); err != nil {
				return err
			}
		}
	}
}

func replyMessage(r *apiv1.AgentReply) *apiv1.ConnectRequest {
	return &apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Reply{Reply: r}}
}

func (c *conversation) listen(ctx context.Context, heard chan<- *apiv1.ConnectResponse) error {
	for {
		m, err := c.stream.Receive()
		if err != nil {
			return err
		}
		select {
		case heard <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// interval is what was asked for as far as it makes sense.
func interval(asked, otherwise time.Duration) time.Duration {
	if asked < 10*time.Millisecond || asked > time.Hour {
		return otherwise
	}
	return asked
}
