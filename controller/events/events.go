// Package events tells what happens to hosts, tunnels and connections. All of it is read from the store, so that it is the same at every
// controller and can be resumed at another one.
package events

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/store"
)

// Watch calls fn with everything that happens after a revision, in order, and with the revision after which a later Watch can go on; with a
// nil event in quiet times. A revision of 0 is now. A tunnel's first change after a resumption may be one that was told before. Watch
// ends with fn's error, with ctx, or with store.ErrCompacted.
func Watch(ctx context.Context, s *store.Store, after int64, fn func(*apiv1.Event, int64) error) error {
	w := watcher{since: map[string]*timestamppb.Timestamp{}}
	if err := s.Sync(ctx); err != nil {
		return err
	}
	if after == 0 {
		s.View(func(r store.Reader) {
			after = r.Revision()
			for _, rec := range r.All(fleet.KindTunnelStatus) {
				w.since[rec.Name] = rec.Value.GetTunnelStatus().GetSince()
			}
		})
		if err := fn(nil, after); err != nil {
			return err
		}
	}
	return s.Changes(ctx, after, func(changes []store.Change, revision int64) error {
		if len(changes) == 0 {
			return fn(nil, revision)
		}
		for _, c := range changes {
			if e := w.event(c); e != nil {
				if err := fn(e, revision); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// watcher tells changes of state from other changes. since has when each tunnel's state became what it is.
type watcher struct {
	since map[string]*timestamppb.Timestamp
}

func (w watcher) event(c store.Change) *apiv1.Event {
	if c.Record == nil {
		if c.Kind == fleet.KindTunnelStatus {
			delete(w.since, c.Name)
		}
		return nil
	}
	switch c.Kind {
	case fleet.KindAvailability:
		return connection(c.Record.Value.GetAvailability())
	case fleet.KindTunnelStatus:
		return w.tunnel(c.Name, c.Record.Value.GetTunnelStatus())
	case fleet.KindPresence:
		p := c.Record.Value.GetPresence()
		return &apiv1.Event{Time: p.GetSince(), Object: apiv1.ObjectName(apiv1.KindGatewayHost, c.Name), State: apiv1.HostReporting,
			Message: "reports to controller " + p.GetController(), Host: c.Name}
	case fleet.KindSilence:
		return &apiv1.Event{Time: c.Record.Value.GetSilence().GetSince(), Object: apiv1.ObjectName(apiv1.KindGatewayHost, c.Name),
			State: apiv1.HostIsSilent, Reasons: []string{apiv1.ReasonHostSilent}, Message: "has not been heard of for longer than its lease", Host: c.Name}
	}
	return nil
}

func connection(record *apiv1.AvailabilityRecord) *apiv1.Event {
	t := availability.Newest(record)
	if t == nil {
		return nil
	}
	return &apiv1.Event{Time: t.GetTime(), Object: apiv1.ObjectName(apiv1.KindVPNConnection, t.GetConnection()), State: t.GetAfter(),
		Reasons: t.GetReasons(), Message: strings.Join(t.GetMessages(), " ")}
}

func (w watcher) tunnel(name string, st *apiv1.VPNTunnelStatus) *apiv1.Event {
	before, known := w.since[name]
	w.since[name] = st.GetSince()
	if known && before.AsTime().Equal(st.GetSince().AsTime()) {
		return nil
	}
	e := &apiv1.Event{Time: st.GetSince(), Object: apiv1.ObjectName(apiv1.KindVPNTunnel, name), State: st.GetRunning(), Message: st.GetMessage(), Host: st.GetHost()}
	if r := st.GetReason(); r != "" {
		e.Reasons = []string{r}
	}
	return e
}
