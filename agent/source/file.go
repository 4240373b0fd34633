// Package source brings the desired state to the agent: complete, admitted Sets, one after the other. What was once accepted stays
// in force while a newer reading is refused.
package source

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const (
	defaultDebounce = 100 * time.Millisecond
	defaultInterval = 30 * time.Second
)

// FileOptions configures a File source.
type FileOptions struct {
	// Dir is the folder of manifests; it may be a link, may be replaced, and may come into being later.
	Dir string
	// Load reads the folder; manifest.Load with the host's options. A nil Set means refused, for the reasons in the findings.
	Load func(dir string) (*apiv1.Set, []*apiv1.Finding)
	// Changed, when set, is called after each change of Status, from Run's goroutine.
	Changed func(*apiv1.SourceStatus)
	// LocallyDown, when set, says that a tunnel was taken down on this host: for rules about changes it counts as admin DOWN.
	LocallyDown func(tunnel string) bool
	Log         *slog.Logger
	// Debounce is how long the folder must have been quiet before it is read; 0: 100 ms. Steady writing delays a reading by ten
	// times as much at most.
	Debounce time.Duration
	// Interval is how often the folder is read although nobody told of a change: secrets outside of it may have changed, and
	// notifications may be lost or not available. 0: 30 s.
	Interval time.Duration
}

// File is a folder of manifests, watched.
type File struct {
	opts   FileOptions
	reread chan struct{}

	mu     sync.Mutex
	status *apiv1.SourceStatus

	// Run's own.
	last  *apiv1.Set
	watch func(dir string) (*watcher, error) // newWatcher, but for tests.
}

// NewFile returns a source that has read nothing yet.
func NewFile(opts FileOptions) *File {
	if opts.Debounce == 0 {
		opts.Debounce = defaultDebounce
	}
	if opts.Interval == 0 {
		opts.Interval = defaultInterval
	}
	return &File{opts: opts, reread: make(chan struct{}, 1), watch: newWatcher, status: &apiv1.SourceStatus{Source: "file:" + opts.Dir}}
}

// Status tells about the newest reading and the one in force. The message is the caller's own. Accepted is when the Set in
// force was first read, Refused since when the newest reading is not the one in force (unset while it is), Findings what is to
// say about the newest reading, warnings included.
func (f *File) Status() *apiv1.SourceStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return proto.CloneOf(f.status)
}

// Reread asks for a reading now: SIGHUP, or because what Load depends on has changed. It does not wait, and may be called from
// anywhere at any time.
func (f *File) Reread() {
	select {
	case f.reread <- struct{}{}:
	default:
	}
}

// Run reads the folder, then again after each change, and calls emit with every Set that is good and new; emit must not change
// the Set. Unchanged content emits nothing. Run returns nil when ctx ends, and may not be called twice. Without file
// notifications (the kernel's limits) it goes on with the periodic readings.
func (f *File) Run(ctx context.Context, emit func(*apiv1.Set)) error {
	w, err := f.watch(f.opts.Dir)
	if err != nil {
		f.opts.Log.Warn("no notifications of changed manifests, reading them periodically", "folder", f.opts.Dir, "interval", f.opts.Interval, "error", err)
		f.loop(ctx, nil, func() {}, emit)
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(w.run)
	f.loop(ctx, w.hints, func() {
		if err := w.refresh(); err != nil {
			f.opts.Log.Warn("manifests are not watched, reading them periodically", "folder", f.opts.Dir, "error", err)
		}
	}, emit)
	w.close()
	wg.Wait()
	return nil
}

// loop waits for hints, lets the folder come to rest, and reads. watch is called before each reading, so that no change
// between the two is missed.
func (f *File) loop(ctx context.Context, hints <-chan struct{}, watch func(), emit func(*apiv1.Set)) {
	ticker := time.NewTicker(f.opts.Interval)
	defer ticker.Stop()
	quiet := time.NewTimer(0)
	defer quiet.Stop()
	var first time.Time // of the hints since the last reading
	for {
		select {
		case <-ctx.Done():
			return
		case <-hints:
			if first.IsZero() {
				first = time.Now()
			}
			if left := time.Until(first.Add(10 * f.opts.Debounce)); left > 0 {
				quiet.Reset(min(f.opts.Debounce, left))
			}
			continue
		case <-quiet.C:
		case <-f.reread:
		case <-ticker.C:
		}
		quiet.Stop()
		first = time.Time{}
		watch()
		f.read(emit)
	}
}

// read does one reading.
func (f *File) read(emit func(*apiv1.Set)) {
	set, findings := f.opts.Load(f.opts.Dir)
	if set != nil {
		findings = append(slices.Clone(findings), apiv1.AdmitChange(f.inForce(), set)...)
	}
	switch {
	case set == nil || apiv1.Refused(findings):
		f.settle(findings, func(s *apiv1.SourceStatus, now *timestamppb.Timestamp) {
			if s.Refused == nil {
				s.Refused = now
			}
		})
	case f.last != nil && f.last.Equal(set):
		f.settle(findings, func(s *apiv1.SourceStatus, _ *timestamppb.Timestamp) { s.Refused = nil })
	default:
		f.last = set
		f.settle(findings, func(s *apiv1.SourceStatus, now *timestamppb.Timestamp) {
			s.Generation++
			s.Accepted, s.Refused = now, nil
		})
		emit(set)
	}
}

// inForce is the Set in force as the rules about changes see it.
func (f *File) inForce() *apiv1.Set {
	if f.last == nil || f.opts.LocallyDown == nil {
		return f.last
	}
	return f.last.WithDown(f.opts.LocallyDown)
}

// settle publishes the outcome of a reading and logs it when it differs from the one before.
func (f *File) settle(findings []*apiv1.Finding, update func(*apiv1.SourceStatus, *timestamppb.Timestamp)) {
	f.mu.Lock()
	before := f.status
	after := proto.CloneOf(before)
	after.Findings = findings
	update(after, timestamppb.Now())
	f.status = after
	f.mu.Unlock()
	if proto.Equal(before, after) {
		return
	}
	for _, finding := range findings {
		if slices.ContainsFunc(before.GetFindings(), func(b *apiv1.Finding) bool { return proto.Equal(b, finding) }) {
			continue
		}
		level := slog.LevelError
		if finding.GetWarning() {
			level = slog.LevelWarn
		}
		f.opts.Log.Log(context.Background(), level, "manifest", "finding", manifest.Format(finding))
	}
	switch {
	case after.GetGeneration() != before.GetGeneration():
		f.opts.Log.Info("manifests accepted", "folder", f.opts.Dir, "generation", after.GetGeneration())
	case after.GetRefused() != nil && before.GetRefused() == nil:
		f.opts.Log.Error("manifests refused, the last good ones stay in force", "folder", f.opts.Dir, "generation", after.GetGeneration())
	case after.GetRefused() == nil && before.GetRefused() != nil:
		f.opts.Log.Info("manifests are those in force again", "folder", f.opts.Dir, "generation", after.GetGeneration())
	}
	if f.opts.Changed != nil {
		f.opts.Changed(proto.CloneOf(after))
	}
}
