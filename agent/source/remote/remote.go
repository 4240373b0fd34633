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
	// Admit is what admission needs to know of the host. Its quotas are not used (a controller's may be larger) and MLKEM neither.
	Admit apiv1.AdmitOptions
	// MLKEM is asked at each admission and may take some seconds.
	MLKEM func() apiv1.Capability
	// Published returns the newest view of the agent, and a channel that is closed when there is a newer one.
	Published func() (*status.View, <-chan struct{})
	// Operations carries out what operators ask for through a controller.
	Operations Operations
	Log        *slog.Logger

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

	reread chan struct{}

	// judging serializes what puts snapshots into force.
	judging sync.Mutex
	// last is the snapshot that was received last and could be looked at, before the first the one on disk; inForce is what came into
	// force of it. Written with both mutexes, like emitted.
	last    *apiv1.Snapshot
	inForce *accepted
	emitted bool

	mu     sync.Mutex
	emit   func(*apiv1.Set)
	status *apiv1.SourceStatus
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
	return &Source{opts: opts, reread: make(chan struct{}, 1), status: &apiv1.SourceStatus{Source: prefix + diskName, Disconnected: timestamppb.Now()}}
}

// Versions returns the versions of the protocol that this package speaks. Calls came with the second.
func Versions() []uint32 { return []uint32{1, 2} }

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

// Reread judges the newest snapshot again and tells the controller what the host can do: to be called when that has changed. It does
// not wait, and may be called from anywhere at any time.
func (s *Source) Reread() {
	select {
	case s.reread <- struct{}{}:
	default:
	}
}

// errReread ends a session because the host can do other things than its Hello said.
var errReread = errors.New("the host's capabilities have changed")

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
		if errors.Is(err, errReread) {
			s.rejudge()
			i--
			continue
		}
		if time.Since(began) >= steady {
			retry.Reset()
		}
		pause := retry.Next()
		s.opts.Log.Warn("no session with a controller", "endpoint", endpoint, "error", err, "again in", pause.Round(time.Millisecond))
		s.pause(ctx, pause)
	}
}

func (s *Source) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-s.reread:
			s.rejudge()
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
	s.judging.Lock()
	defer s.judging.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = snapshot
}

func (s *Source) startFromDisk(ctx context.Context) {
	timer := time.NewTimer(s.opts.Patience)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	s.judging.Lock()
	defer s.judging.Unlock()
	if s.emitted || s.last == nil {
		return
	}
	s.opts.Log.Warn("no controller answers, the snapshot on disk comes into force", "revision", s.last.GetRevision())
	s.enforce(s.admit(s.last, nil), func(st *apiv1.SourceStatus) { st.FromDisk = timestamppb.Now() })
}

// rejudge looks at the newest snapshot again.
func (s *Source) rejudge() {
	s.judging.Lock()
	defer s.judging.Unlock()
	if s.emitted {
		now, stale := s.enforce(s.admit(s.last, s.inForce), func(*apiv1.SourceStatus) {})
		s.keep(now, stale, prefix+diskName)
	}
}

// take judges a snapshot of a controller and puts into force what is good of it. The answer goes back to the controller.
func (s *Source) take(endpoint string, snapshot *apiv1.Snapshot) *apiv1.SnapshotAnswer {
	s.judging.Lock()
	defer s.judging.Unlock()
	answer := &apiv1.SnapshotAnswer{Revision: snapshot.GetRevision()}
	if err := usable(snapshot, s.last); err != nil {
		answer.Refused = true
		answer.Findings = []*apiv1.Finding{{File: prefix + endpoint, Message: err.Error()}}
		s.update(func(st *apiv1.SourceStatus) { s.tell(st, answer.Findings) })
		return answer
	}
	if snapshot.GetUnchanged() {
		same := proto.CloneOf(s.last)
		same.Revision = snapshot.GetRevision()
		snapshot = same
	}
	if s.inForce == nil && s.last != nil {
		// What is on disk is what has been in force until now.
		s.inForce = s.admit(s.last, nil)
	}
	next := s.admit(snapshot, s.inForce)
	s.mu.Lock()
	s.last = snapshot
	s.mu.Unlock()
	now, stale := s.enforce(next, func(st *apiv1.SourceStatus) { st.FromDisk = nil })
	answer.Findings = s.keep(now, stale, prefix+endpoint)
	return answer
}

// enforce publishes the outcome of a judgement, then emits the Set if it is new. It returns the findings, and whether the copy on
// disk is another one.
func (s *Source) enforce(next *accepted, change func(*apiv1.SourceStatus)) (now *accepted, stale bool) {
	before := s.inForce
	emit := !s.emitted || !before.set.Equal(next.set)
	s.update(func(st *apiv1.SourceStatus) {
		s.inForce, s.emitted = next, true
		s.tell(st, next.findings)
		st.Revision = next.snapshot.GetRevision()
		if emit {
			st.Generation++
			st.Accepted = timestamppb.Now()
		}
		change(st)
	})
	if emit {
		s.opts.Log.Info("snapshot in force", "revision", next.snapshot.GetRevision(), "tunnels", len(next.set.Tunnels))
		s.emit(next.set)
	}
	return next, before == nil || !proto.Equal(before.snapshot, next.snapshot)
}

// keep writes what is in force to disk and returns what is to say about it. Without the copy only a restart while no controller can be
// reached would go wrong.
func (s *Source) keep(now *accepted, stale bool, from string) []*apiv1.Finding {
	if !stale {
		return now.findings
	}
	err := writeSnapshot(filepath.Join(s.opts.State, fileName), now.snapshot)
	if err == nil {
		return now.findings
	}
	findings := append(slices.Clone(now.findings), &apiv1.Finding{File: from, Message: err.Error(), Warning: true})
	s.update(func(st *apiv1.SourceStatus) { s.tell(st, findings) })
	return findings
}

// usable says whether a snapshot can be looked at at all.
func usable(snapshot, last *apiv1.Snapshot) error {
	switch {
	case last == nil && snapshot.GetUnchanged():
		return errors.New("the snapshot says that nothing changed, but none is in force")
	case snapshot.GetRevision() < last.GetRevision() && !snapshot.GetReset_():
		return fmt.Errorf("the snapshot's revision %d is older than %d, which is in force", snapshot.GetRevision(), last.GetRevision())
	case snapshot.GetUnchanged() && !slices.Equal(snapshot.GetDigest(), last.GetDigest()):
		return errors.New("the snapshot says that nothing changed, but another one is in force")
	}
	return nil
}

// tell notes what is to say about the newest snapshot, and logs what is new of it.
func (s *Source) tell(st *apiv1.SourceStatus, findings []*apiv1.Finding) {
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
	case !apiv1.Refused(findings):
		st.Refused = nil
	case st.Refused == nil:
		st.Refused = timestamppb.Now()
	}
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
