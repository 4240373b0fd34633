package hosts

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

const (
	// DefaultLease is how long a host may be silent, DefaultHeartbeat how often it is to say something, DefaultCounters how often it is to
	// tell counters.
	DefaultLease, DefaultHeartbeat, DefaultCounters = 10 * time.Second, 3 * time.Second, 10 * time.Second
	// helloTimeout is how long an agent may take for its Hello.
	helloTimeout = 5 * time.Second
)

// Options of a Server; all fields but the last group are needed.
type Options struct {
	Store *store.Store
	// Name of this controller, for people.
	Name string
	// HostOf returns the host that the caller's certificate names; its error refuses the session.
	HostOf func(context.Context) (string, error)
	// Register makes the GatewayHost what the agent says it is; its error refuses the session.
	Register func(context.Context, *apiv1.GatewayHost) error
	// Reveal decrypts the secret of a record that is kept under a path.
	Reveal func(r *store.Record, path string) (secret.Secret, error)
	Log    *slog.Logger

	// Lease, Heartbeat and Counters; 0 means the default.
	Lease, Heartbeat, Counters time.Duration
	// Versions of the protocol to speak; nil: all that this package knows.
	Versions []uint32
}

// Server is the SessionService.
type Server struct {
	opts  Options
	stats stats

	mu       sync.Mutex
	sessions map[string]*session
	counters map[string]*apiv1.TunnelCounters
	closed   bool
	running  sync.WaitGroup
}

// New returns a server without sessions.
func New(opts Options) *Server {
	opts.Lease = cmp.Or(opts.Lease, DefaultLease)
	opts.Heartbeat = cmp.Or(opts.Heartbeat, DefaultHeartbeat)
	opts.Counters = cmp.Or(opts.Counters, DefaultCounters)
	if opts.Versions == nil {
		opts.Versions = Versions()
	}
	return &Server{opts: opts, sessions: map[string]*session{}, counters: map[string]*apiv1.TunnelCounters{}}
}

// Versions returns the versions of the protocol that this package speaks.
func Versions() []uint32 { return []uint32{1, CallsSince} }

var (
	errSuperseded = errors.New("the host has begun another session")
	errClosing    = errors.New("the controller is going down")
	errSilentHost = errors.New("the host is silent")
)

// Close ends all sessions and waits for their ends; agents then dial another controller.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for _, c := range s.sessions {
		c.cancel(errClosing)
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Counters returns what a tunnel's agent told last, if it has its session here; nil otherwise. The message must not be changed.
func (s *Server) Counters(tunnel string) *apiv1.TunnelCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters[tunnel]
}

// Connect implements the SessionService: it returns when the session ends, with the reason.
func (s *Server) Connect(ctx context.Context, stream *connect.BidiStream[apiv1.ConnectRequest, apiv1.ConnectResponse]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	messages := make(chan *apiv1.ConnectRequest)
	// Receive ends at the latest when Connect has returned, not before: it is not waited for.
	go func() {
		for {
			m, err := stream.Receive()
			if err != nil {
				cancel(fmt.Errorf("the agent has gone: %w", err))
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	hello, err := firstMessage(ctx, messages)
	if err != nil {
		return err
	}
	c, err := s.admit(ctx, hello)
	if err != nil {
		s.opts.Log.Warn("session refused", "host", hello.GetHost(), "error", err)
		return err
	}
	c.send, c.cancel = stream.Send, cancel
	if err := s.enter(c); err != nil {
		return err
	}
	defer s.leave(c)
	err = c.run(ctx, messages)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	c.log.Info("session ended", "reason", err)
	switch {
	case errors.Is(err, errSuperseded):
		return connect.NewError(connect.CodeAborted, err)
	case errors.Is(err, errClosing):
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return err
}

func firstMessage(ctx context.Context, messages <-chan *apiv1.ConnectRequest) (*apiv1.Hello, error) {
	limit := time.NewTimer(helloTimeout)
	defer limit.Stop()
	select {
	case m := <-messages:
		if m.GetHello() == nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the first message is no Hello"))
		}
		return m.GetHello(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-limit.C:
		return nil, connect.NewError(connect.CodeDeadlineExceeded, errors.New("no Hello in time"))
	}
}

// admit decides whether a host may have a session, and makes it known.
func (s *Server) admit(ctx context.Context, hello *apiv1.Hello) (*session, error) {
	name, err := s.opts.HostOf(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodePermissionDenied, err)
	}
	if name != hello.GetHost() {
		return nil, connect.NewError(connect.CodePermissionDenied,
			fmt.Errorf("host: the certificate is that of host %q, the agent says that it is %q", name, hello.GetHost()))
	}
	version := uint32(0)
	for _, v := range hello.GetVersions() {
		if slices.Contains(s.opts.Versions, v) {
			version = max(version, v)
		}
	}
	if version == 0 {
		return nil, connect.NewError(connect.CodeFailedPrecondition,
			fmt.Errorf("versions: the agent speaks versions %v of the protocol, this controller %v", hello.GetVersions(), s.opts.Versions))
	}
	key, err := seal.ParsePublicKey(hello.GetPublicKey())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("publicKey: %w", err))
	}
	if err := s.opts.Register(ctx, &apiv1.GatewayHost{Kind: apiv1.KindGatewayHost, Name: name,
		Spec: &apiv1.GatewayHostSpec{Addresses: hello.GetAddresses(), Zone: hello.GetZone()}}); err != nil {
		return nil, registerError(err)
	}
	c := &session{
		server: s, id: rand.Text(), host: name, version: version, hello: hello, key: key, sealed: map[string]sealedSecret{},
		log: s.opts.Log.With("host", name), pending: map[string]*apiv1.VPNTunnelStatus{},
		calls: map[string]*relayed{},
	}
	if err := c.register(ctx); err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return c, nil
}

// registerError gives the errors of the resources' rules a code that tells the agent's operator that it is not the network.
func registerError(err error) error {
	var coded *connect.Error
	if errors.As(err, &coded) {
		return err
	}
	if errors.Is(err, store.ErrUnavailable) {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return connect.NewError(connect.CodeFailedPrecondition, err)
}

// enter makes the session the host's, in place of an earlier one.
func (s *Server) enter(c *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return connect.NewError(connect.CodeUnavailable, errClosing)
	}
	if earlier := s.sessions[c.host]; earlier != nil {
		earlier.cancel(errSuperseded)
	}
	s.sessions[c.host] = c
	s.stats.begun.Add(1)
	s.running.Add(1)
	return nil
}

func (s *Server) leave(c *session) {
	s.mu.Lock()
	if s.sessions[c.host] == c {
		delete(s.sessions, c.host)
		for _, name := range c.counted {
			delete(s.counters, name)
		}
	}
	s.mu.Unlock()
	s.running.Done()
}

// count keeps a session's counters; those of tunnels that it no longer tells of are dropped.
func (s *Server) count(c *session, report *apiv1.CountersReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[c.host] != c {
		return
	}
	for _, name := range c.counted {
		delete(s.counters, name)
	}
	c.counted = c.counted[:0]
	for _, t := range report.GetTunnels() {
		if c.mayReport(t.GetName()) {
			s.counters[t.GetName()] = t
			c.counted = append(c.counted, t.GetName())
		}
	}
}
