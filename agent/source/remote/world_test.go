package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/agent/source/remote"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cloudA  = "198.51.100.1"
	pskMark = "kept-from-all-eyes"
	// lease, heartbeat and counting are what the fake controllers ask for.
	lease, heartbeat, counting = 10 * time.Second, 3 * time.Second, 10 * time.Second
)

// world is an agent's source between controllers and an agent that the test plays, in a synctest bubble.
type world struct {
	t     *testing.T
	dir   string
	keys  *seal.Keyring
	log   *lockedBuffer
	down  map[string]bool
	dials chan *session
	sets  chan *apiv1.Set
	mlkem apiv1.Capability

	mu     sync.Mutex
	view   *status.View
	newer  chan struct{}
	source *remote.Source
	stop   func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: &lockedBuffer{}, down: map[string]bool{}, dials: make(chan *session, 100),
		sets: make(chan *apiv1.Set, 100), newer: make(chan struct{}), view: &status.View{Host: &apiv1.GetHostResponse{}}}
	var err error
	if w.keys, err = seal.OpenKeyring(w.dir); err != nil {
		t.Fatal(err)
	}
	return w
}

// start begins a life of the agent; what is on disk is what the life before left.
func (w *world) start(change ...func(*remote.Options)) {
	w.t.Helper()
	opts := remote.Options{
		Endpoints: []string{"one:1", "two:2"}, Dial: w.dial, Host: remote.Host{Name: "gw-a", Zone: "z1", Addresses: []string{cloudA}},
		Keys: w.keys, State: w.dir, Capabilities: func() *apiv1.HostCapabilities { return &apiv1.HostCapabilities{Kernel: "6.12"} },
		Admit:     apiv1.AdmitOptions{Owns: func(a netip.Addr) bool { return a.String() == cloudA }},
		MLKEM:     func() apiv1.Capability { return w.mlkem },
		Published: w.published, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&opts)
	}
	w.source = remote.New(opts)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.source.Run(ctx, func(s *apiv1.Set) { w.sets <- s }) }()
	w.stop = func() {
		w.t.Helper()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
}

func (w *world) published() (*status.View, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view, w.newer
}

// publish is what an agent does after a round.
func (w *world) publish(ready bool, tunnels ...*apiv1.VPNTunnel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.view = &status.View{Host: &apiv1.GetHostResponse{Ready: ready}, Tunnels: tunnels}
	close(w.newer)
	w.newer = make(chan struct{})
}

func (w *world) dial(ctx context.Context, endpoint string) (remote.Stream, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down[endpoint] {
		return nil, errors.New("connection refused")
	}
	s := &session{w: w, endpoint: endpoint, ctx: ctx, up: make(chan *apiv1.ConnectRequest), down: make(chan *apiv1.ConnectResponse), cut: make(chan struct{})}
	w.dials <- s
	return s, nil
}

func (w *world) reachable(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down["one:1"], w.down["two:2"] = !yes, !yes
}

// session is both ends of a conversation: Send, Receive and Close are the agent's.
type session struct {
	w        *world
	endpoint string
	ctx      context.Context
	up       chan *apiv1.ConnectRequest
	down     chan *apiv1.ConnectResponse
	cut      chan struct{}
	hello    *apiv1.Hello
	// others are what the agent said meanwhile and nobody has asked for.
	others []*apiv1.ConnectRequest
}

func (s *session) Send(m *apiv1.ConnectRequest) error {
	select {
	case s.up <- proto.CloneOf(m):
		return nil
	case <-s.cut:
		return io.EOF
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *session) Receive() (*apiv1.ConnectResponse, error) {
	select {
	case m := <-s.down:
		return proto.CloneOf(m), nil
	case <-s.cut:
		return nil, errors.New("stream reset")
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *session) Close() {}

// accept waits for the agent to dial and says Welcome; it insists on a proper Hello.
func (w *world) accept() *session {
	w.t.Helper()
	s := w.dialled()
	if s.hello = (<-s.up).GetHello(); s.hello == nil {
		w.t.Fatal("the first message is no Hello")
	}
	if s.hello.GetHost() != "gw-a" || s.hello.GetZone() != "z1" || s.hello.GetAddresses()[0] != cloudA || s.hello.GetCapabilities().GetKernel() != "6.12" {
		w.t.Errorf("Hello is %v", s.hello)
	}
	s.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Welcome{Welcome: &apiv1.Welcome{
		Version: 1, Controller: "test", Lease: durationpb.New(lease), Heartbeat: durationpb.New(heartbeat), Counters: durationpb.New(counting)}}})
	return s
}

func (w *world) dialled() *session {
	w.t.Helper()
	select {
	case s := <-w.dials:
		return s
	case <-time.After(time.Minute):
		w.t.Fatal("the agent does not dial")
		return nil
	}
}

func (s *session) say(m *apiv1.ConnectResponse) {
	s.w.t.Helper()
	select {
	case s.down <- m:
	case <-time.After(time.Minute):
		s.w.t.Fatal("the agent does not listen")
	}
}

// next waits for a message that the test wants; others are kept.
func next[T any](s *session, want func(*apiv1.ConnectRequest) (T, bool)) T {
	s.w.t.Helper()
	for i, m := range s.others {
		if got, ok := want(m); ok {
			s.others = append(s.others[:i:i], s.others[i+1:]...)
			return got
		}
	}
	limit := time.After(time.Minute)
	for {
		select {
		case m := <-s.up:
			if got, ok := want(m); ok {
				return got
			}
			s.others = append(s.others, m)
		case <-limit:
			s.w.t.Fatal("the agent does not say it")
		}
	}
}

// offer sends a snapshot and returns the answer.
func (s *session) offer(snapshot *apiv1.Snapshot) *apiv1.SnapshotAnswer {
	s.w.t.Helper()
	s.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Snapshot{Snapshot: snapshot}})
	return next(s, func(m *apiv1.ConnectRequest) (*apiv1.SnapshotAnswer, bool) {
		return m.GetAnswer(), m.GetAnswer() != nil
	})
}

func (s *session) report() *apiv1.StatusReport {
	s.w.t.Helper()
	return next(s, func(m *apiv1.ConnectRequest) (*apiv1.StatusReport, bool) { return m.GetStatus(), m.GetStatus() != nil })
}

// drain reads and returns everything that the agent says without being asked, until it has nothing more to say now.
func (s *session) drain() []*apiv1.ConnectRequest {
	for {
		synctest.Wait()
		select {
		case m := <-s.up:
			s.others = append(s.others, m)
		default:
			out := s.others
			s.others = nil
			return out
		}
	}
}

// emitted returns the newest Set that the source has emitted since the last call, nil for none.
func (w *world) emitted() *apiv1.Set {
	synctest.Wait()
	var out *apiv1.Set
	for {
		select {
		case out = <-w.sets:
		default:
			return out
		}
	}
}

// snapshot has one tenant with tunnels shop-1 … shop-n of this host.
func (w *world) snapshot(revision uint64, n int) *apiv1.Snapshot {
	w.t.Helper()
	out := &apiv1.Snapshot{
		Revision: revision, Digest: []byte{byte(revision)},
		BorderGateways: []*apiv1.BorderGateway{{Name: "shop", Spec: &apiv1.BorderGatewaySpec{Asn: 65000,
			Attachments: []*apiv1.Attachment{{Name: "vpc", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"}}}}}},
		CustomerGateways: []*apiv1.CustomerGateway{{Name: "idc", Spec: &apiv1.CustomerGatewaySpec{Asn: 65010, Addresses: []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"}}}},
		Connections: []*apiv1.VPNConnection{{Name: "shop", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop", CustomerGateway: "idc",
			Routing: apiv1.RoutingStatic, CloudAddresses: []string{cloudA, "198.51.100.2"}}}},
	}
	for i := range n {
		out.Tunnels = append(out.Tunnels, w.tunnel(i+1))
	}
	return out
}

func (w *world) tunnel(i int) *apiv1.VPNTunnel {
	w.t.Helper()
	name := "shop-" + string(rune('0'+i))
	inside := netip.MustParseAddr("169.254.10.0").As4()
	inside[3] = byte(4 * i)
	cloud := netip.AddrFrom4(inside).Next()
	sealed, err := w.keys.Public().Seal(seal.Context(apiv1.ObjectName(apiv1.KindVPNTunnel, name), remote.PSKField), secret.New(pskMark+name))
	if err != nil {
		w.t.Fatal(err)
	}
	return &apiv1.VPNTunnel{Name: name, Spec: &apiv1.VPNTunnelSpec{
		Connection: "shop", CloudAddress: cloudA, CustomerAddress: "203.0.113." + string(rune('0'+i)),
		Inside: &apiv1.Inside{Cloud: cloud.String() + "/30", Customer: cloud.Next().String()}, Psk: &apiv1.SecretSource{Sealed: sealed},
	}}
}

func (w *world) file() string { return filepath.Join(w.dir, "controller-snapshot") }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (w *world) rotate() {
	w.t.Helper()
	var err error
	if w.keys, err = seal.Rotate(w.dir); err != nil {
		w.t.Fatal(err)
	}
}
