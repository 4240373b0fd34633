package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/backoff"
	"github.com/bordergw/bordergw/internal/seal"
)

const (
	// defaultPatience is how long a start waits for a controller before it goes on with what is on disk.
	defaultPatience = 5 * time.Second
	// retryMin and retryMax bound the pauses between attempts to reach a controller. The longest must be well below the lease of a
	// host, so that a restart of all controllers does not make hosts silent.
	retryMin, retryMax = 200 * time.Millisecond, 3 * time.Second
	// steady is how long a session must have lasted for the next attempt to come at once.
	steady = 10 * time.Second
	// prefix begins the name of this source in SourceStatus; before the first controller answers diskName stands in an endpoint's place.
	prefix, diskName = "controller:", "disk"
	// fileName is where the snapshot in force is kept, in the agent's state folder.
	fileName = "controller-snapshot"
)

// Stream is one session's conversation. Send and Receive may be called at the same time, each by one goroutine; both fail once the
// context that the stream was dialled with has ended.
type Stream interface {
	Send(*apiv1.ConnectRequest) error
	Receive() (*apiv1.ConnectResponse, error)
	// Close ends the conversation and frees what it holds.
	Close()
}

// Dialer opens a conversation with the controller at an endpoint.
type Dialer func(ctx context.Context, endpoint string) (Stream, error)

// Host is what the agent tells about its machine.
type Host struct {
	Name, Zone string
	Addresses  []string
}

// Options of a Source; all fields but the last group are needed.
type Options struct {
	// Endpoints of the controllers, HOST:PORT. Any one will do; the first is chosen by chance.
	Endpoints []string
	Dial      Dialer
	Host      Host
	Keys      *seal.Keyring
	// State is the folder for the copy of the snapshot in force.
	State string
	// Capabilities is asked at the beginning of each session.
	Capabilities func() *apiv1.HostCapabilities
	// Admit is what admission needs to know of the host. Its quotas are not used: a controller's may be larger.
	Admit apiv1.AdmitOptions
	// Published returns the newest view of the agent, and a channel that is closed when there is a newer one.
	Published func() (*status.View, <-chan struct{})
	Log       *slog.Logger

	// Changed, when set, is called after each change of Status.
	Changed func()
	// Versions of the protocol to speak; nil: all that this package knows.
	Versions []uint32
	// Patience is how long a start waits for a controller before it goes on with what is on disk; 0: 5 s.
	Patience time.Duration
}

// Source is the desired state as controllers tell it.
type Source struct {
	opts Options

	mu sync.Mutex
	// inForce is the snapshot in force or, before the first emission, the one on disk. nil when there is neither.
	inForce *accepted
	emitted bool
	emit    func(*apiv1.Set)
	status  *apiv1.SourceStatus
}

// New returns a source that has read nothing yet.
func New(opts Options) *Source {
	if opts.Patience == 0 {
		opts.Patience = defaultPatience
	}
	if opts.Versions == nil {
		opts.Versions = Versions()
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	return &Source{opts: opts, status: &apiv1.SourceStatus{Source: prefix + diskName, Disconnected: timestamppb.Now()}}
}

// Versions returns the versions of the protocol that this package speaks.
func Versions() []uint32 { return []uint32{1} }

// Status tells which controller is connected, or since when none is and whether a copy from disk is in force. Findings are what is to
// say about the newest snapshot, Refused since when it is not in force as a whole. The message is the caller's own.
func (s *Source) Status() *apiv1.SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return proto.CloneOf(s.status)
}

// Run keeps a session with a controller and calls emit with every Set that is new; emit must not change the Set and must return soon.
// Run returns nil when ctx ends, and may not be called twice.
func (s *Source) Run(ctx context.Context, emit func(*apiv1.Set)) error {
	s.mu.Lock()
	s.emit = emit
	s.mu.Unlock()
	s.load()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.startFromDisk(ctx) })
	s.sessions(ctx)
	cancel()
	wg.Wait()
	return nil
}

// sessions has one session after the other, at the endpoints in turn.
func (s *Source) sessions(ctx context.Context) {
	retry := backoff.Backoff{Min: retryMin, Max: retryMax}
	for i := rand.IntN(len(s.opts.Endpoints)); ctx.Err() == nil; i++ {
		endpoint := s.opts.Endpoints[i%len(s.opts.Endpoints)]
		began := time.Now()
		err := s.session(ctx, endpoint)
		if ctx.Err() != nil {
			return
		}
		s.disconnected()
		if time.Since(began) >= steady {
			retry.Reset()
		}
		pause := retry.Next()
		s.opts.Log.Warn("no session with a controller", "endpoint", endpoint, "error", err, "again in", pause.Round(time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// load reads the copy on disk. It comes into force only when no controller answers in time.
func (s *Source) load() {
	path := filepath.Join(s.opts.State, fileName)
	snapshot, err := readSnapshot(path)
	if err != nil {
		s.opts.Log.Error("the snapshot on disk is of no use; the next one of a controller replaces it", "file", path, "error", err)
		s.update(func(st *apiv1.SourceStatus) { st.Findings = []*apiv1.Finding{{File: path, Message: err.Error()}} })
		return
	}
	if snapshot == nil {
		return
	}
	got := s.admit(snapshot, nil)
	for _, f := range got.findings {
		s.opts.Log.Warn("snapshot on disk", "finding", manifest.Format(f))
	}
	s.mu.Lock()
	s.inForce = got
	s.mu.Unlock()
}

func (s *Source) startFromDisk(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(s.opts.Patience):
	}
	s.mu.Lock()
	held := s.inForce
	if s.emitted || held == nil {
		s.mu.Unlock()
		return
	}
	s.emitLocked(held)
	s.status.FromDisk = timestamppb.Now()
	s.status.Findings = held.findings
	s.mu.Unlock()
	s.opts.Log.Warn("no controller answers, the snapshot on disk is in force", "revision", held.snapshot.GetRevision())
	s.opts.Changed()
}

// emitLocked puts a snapshot into force.
func (s *Source) emitLocked(a *accepted) {
	s.emitted = true
	s.status.Generation++
	s.status.Accepted = timestamppb.Now()
	s.status.Revision = a.snapshot.GetRevision()
	s.emit(a.set)
}

// take judges a snapshot of a controller and puts into force what is good of it. The answer goes back to the controller.
func (s *Source) take(endpoint string, snapshot *apiv1.Snapshot) *apiv1.SnapshotAnswer {
	s.mu.Lock()
	before := s.inForce
	s.mu.Unlock()
	answer := &apiv1.SnapshotAnswer{Revision: snapshot.GetRevision()}
	if err := usable(snapshot, before); err != nil {
		answer.Refused = true
		answer.Findings = []*apiv1.Finding{{File: prefix + endpoint, Message: err.Error()}}
		s.settle(answer.Findings, true)
		return answer
	}
	if snapshot.GetUnchanged() {
		same := proto.CloneOf(before.snapshot)
		same.Revision = snapshot.GetRevision()
		snapshot = same
	}
	next := s.admit(snapshot, before)
	answer.Findings = next.findings
	if before == nil || !proto.Equal(before.snapshot, next.snapshot) {
		if err := writeSnapshot(filepath.Join(s.opts.State, fileName), next.snapshot); err != nil {
			// It is in force all the same; only a restart without a controller would miss it.
			answer.Findings = append(slices.Clone(answer.Findings), &apiv1.Finding{File: prefix + endpoint, Message: err.Error(), Warning: true})
		}
	}
	s.mu.Lock()
	s.inForce = next
	s.status.Revision = snapshot.GetRevision()
	s.status.FromDisk = nil
	if !s.emitted || !before.set.Equal(next.set) {
		s.emitLocked(next)
		s.opts.Log.Info("snapshot in force", "endpoint", endpoint, "revision", snapshot.GetRevision(), "tunnels", len(next.set.Tunnels))
	}
	s.mu.Unlock()
	s.settle(answer.Findings, apiv1.Refused(answer.Findings))
	return answer
}

// usable says whether a snapshot can be looked at at all.
func usable(snapshot *apiv1.Snapshot, before *accepted) error {
	if before == nil {
		if snapshot.GetUnchanged() {
			return errors.New("the snapshot says that nothing changed, but none is in force")
		}
		return nil
	}
	if now := before.snapshot.GetRevision(); snapshot.GetRevision() < now && !snapshot.GetReset_() {
		return fmt.Errorf("the snapshot's revision %d is older than %d, which is in force", snapshot.GetRevision(), now)
	}
	if snapshot.GetUnchanged() && !slices.Equal(snapshot.GetDigest(), before.snapshot.GetDigest()) {
		return errors.New("the snapshot says that nothing changed, but another one is in force")
	}
	return nil
}

// settle publishes and logs what is to say about the newest snapshot.
func (s *Source) settle(findings []*apiv1.Finding, refused bool) {
	s.update(func(st *apiv1.SourceStatus) {
		for _, f := range findings {
			if slices.ContainsFunc(st.GetFindings(), func(b *apiv1.Finding) bool { return proto.Equal(b, f) }) {
				continue
			}
			level := slog.LevelError
			if f.GetWarning() {
				level = slog.LevelWarn
			}
			s.opts.Log.Log(context.Background(), level, "snapshot", "finding", manifest.Format(f))
		}
		st.Findings = findings
		switch {
		case !refused:
			st.Refused = nil
		case st.Refused == nil:
			st.Refused = timestamppb.Now()
		}
	})
}

func (s *Source) connected(endpoint string) {
	s.update(func(st *apiv1.SourceStatus) { st.Source, st.Disconnected = prefix+endpoint, nil })
}

func (s *Source) disconnected() {
	s.update(func(st *apiv1.SourceStatus) {
		if st.Disconnected == nil {
			st.Disconnected = timestamppb.Now()
		}
	})
}

func (s *Source) update(change func(*apiv1.SourceStatus)) {
	s.mu.Lock()
	before := proto.CloneOf(s.status)
	change(s.status)
	changed := !proto.Equal(before, s.status)
	s.mu.Unlock()
	if changed {
		s.opts.Changed()
	}
}
