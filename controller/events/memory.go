package events

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/store"
)

const (
	// remembered is how many events a controller remembers, as many as an agent.
	remembered = 4096
	// retryInterval is how long Run waits after the store could not be followed.
	retryInterval = time.Second
)

// Memory remembers the last events: those since Run began and, from before, what the store tells of the past: the transitions of
// connections, and since when tunnels and hosts are as they are.
type Memory struct {
	store *store.Store
	log   *slog.Logger

	mu  sync.Mutex
	now past
	// moved is closed, and replaced, whenever now changes.
	moved chan struct{}
}

// past is what has happened up to a revision.
type past struct {
	revision int64
	events   []*apiv1.Event
	tunnels  tunnels
}

// NewMemory returns a Memory that knows nothing before Run.
func NewMemory(s *store.Store, log *slog.Logger) *Memory {
	return &Memory{store: s, log: log, moved: make(chan struct{})}
}

// Run follows the store until ctx ends.
func (m *Memory) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := m.follow(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that was asked for
		}
		m.log.Warn("events are not remembered for the moment", "error", err)
		retry := time.NewTimer(retryInterval)
		select {
		case <-ctx.Done():
		case <-retry.C:
		}
		retry.Stop()
	}
	return nil
}

func (m *Memory) follow(ctx context.Context) error {
	if err := m.store.Sync(ctx); err != nil {
		return err
	}
	var begin past
	m.store.View(func(r store.Reader) { begin = recall(r) })
	m.change(func(now *past) { *now = begin })
	return m.store.Changes(ctx, begin.revision, func(changes []store.Change, revision int64) error {
		m.change(func(now *past) {
			now.revision = revision
			for _, c := range changes {
				if e := now.tunnels.event(c); e != nil {
					now.events = append(now.events, e)
				}
			}
			if n := len(now.events); n > 2*remembered {
				now.events = slices.Clone(now.events[n-remembered:])
			}
		})
		return nil
	})
}

func (m *Memory) change(fn func(now *past)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(&m.now)
	close(m.moved)
	m.moved = make(chan struct{})
}

// upTo returns the past as soon as it has a revision.
func (m *Memory) upTo(ctx context.Context, revision int64) (past, error) {
	for {
		m.mu.Lock()
		now, moved := m.now, m.moved
		if now.revision >= revision && now.revision > 0 {
			now.tunnels = maps.Clone(now.tunnels)
			m.mu.Unlock()
			return now, nil
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return past{}, ctx.Err()
		case <-moved:
		}
	}
}

// recall is what the store tells of the past.
func recall(r store.Reader) past {
	p := past{revision: r.Revision(), tunnels: tunnels{}}
	for _, rec := range r.All(fleet.KindAvailability) {
		for _, t := range rec.Value.GetAvailability().GetHistory() {
			p.events = append(p.events, transition(t))
		}
	}
	for _, kind := range []string{fleet.KindTunnelStatus, fleet.KindPresence, fleet.KindSilence} {
		for _, rec := range r.All(kind) {
			if e := p.tunnels.event(store.Change{Ref: rec.Ref, Record: rec}); e != nil {
				p.events = append(p.events, e)
			}
		}
	}
	slices.SortStableFunc(p.events, func(a, b *apiv1.Event) int { return a.GetTime().AsTime().Compare(b.GetTime().AsTime()) })
	return p
}

// newest is the revision of the last change that is an event, as the view has it.
func newest(r store.Reader) (revision int64) {
	for _, kind := range []string{fleet.KindAvailability, fleet.KindTunnelStatus, fleet.KindPresence, fleet.KindSilence} {
		for _, rec := range r.All(kind) {
			revision = max(revision, rec.Revision)
		}
	}
	return revision
}

// last returns the last n events about an object, of all when it is empty.
func (p past) last(n int, object string) []*apiv1.Event {
	about := slices.DeleteFunc(slices.Clone(p.events), func(e *apiv1.Event) bool { return object != "" && e.GetObject() != object })
	return about[len(about)-min(n, remembered, len(about)):]
}

// tunnels has when the state of each became what it is: it tells changes of state from other changes.
type tunnels map[string]*apiv1.VPNTunnelStatus

// event is what a change of a record means; nil when it means nothing.
func (s tunnels) event(c store.Change) *apiv1.Event {
	if c.Record == nil {
		if c.Kind == fleet.KindTunnelStatus {
			delete(s, c.Name)
		}
		return nil
	}
	host := apiv1.ObjectName(apiv1.KindGatewayHost, c.Name)
	switch c.Kind {
	case fleet.KindAvailability:
		if t := availability.Newest(c.Record.Value.GetAvailability()); t != nil {
			return transition(t)
		}
	case fleet.KindTunnelStatus:
		return s.tunnel(c.Name, c.Record.Value.GetTunnelStatus())
	case fleet.KindPresence:
		p := c.Record.Value.GetPresence()
		return &apiv1.Event{Time: p.GetSince(), Object: host, State: apiv1.HostReporting, Message: "reports to controller " + p.GetController(), Host: c.Name}
	case fleet.KindSilence:
		return &apiv1.Event{Time: c.Record.Value.GetSilence().GetSince(), Object: host, State: apiv1.HostIsSilent,
			Reasons: []string{apiv1.ReasonHostSilent}, Message: "has not been heard of for longer than its lease", Host: c.Name}
	}
	return nil
}

func transition(t *apiv1.Transition) *apiv1.Event {
	return &apiv1.Event{Time: t.GetTime(), Object: apiv1.ObjectName(apiv1.KindVPNConnection, t.GetConnection()), Before: t.GetBefore(),
		State: t.GetAfter(), Reasons: t.GetReasons(), Message: strings.Join(t.GetMessages(), " ")}
}

func (s tunnels) tunnel(name string, st *apiv1.VPNTunnelStatus) *apiv1.Event {
	before := s[name]
	s[name] = st
	if before != nil && before.GetSince().AsTime().Equal(st.GetSince().AsTime()) {
		return nil
	}
	e := &apiv1.Event{Time: st.GetSince(), Object: apiv1.ObjectName(apiv1.KindVPNTunnel, name), Before: before.GetRunning(), State: st.GetRunning(),
		Message: st.GetMessage(), Host: st.GetHost()}
	if r := st.GetReason(); r != "" {
		e.Reasons = []string{r}
	}
	return e
}
