package resource

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/query"
	"github.com/bordergw/bordergw/controller/store"
)

// Get returns a resource as it was when Get was called, or later.
func (s *Service) Get(ctx context.Context, ref store.Ref) (model.Object, error) {
	if err := s.Store.Sync(ctx); err != nil {
		return nil, err
	}
	var o model.Object
	s.Store.View(func(r store.Reader) {
		if rec := r.Get(ref); rec != nil {
			o = s.show(r, rec)
		}
	})
	if o == nil {
		return nil, model.Refuse(model.ErrNotFound, ref, "", "does not exist")
	}
	return o, nil
}

// show returns a resource with what is true beside what is wanted.
func (s *Service) show(r store.Reader, rec *store.Record) model.Object {
	o := model.Show(rec.Value, rec.Revision)
	switch o := o.(type) {
	case *apiv1.VPNTunnel:
		o.Status = proto.CloneOf(fleet.TunnelStatus(r, o))
		if s.Counters != nil && o.Status.GetReason() != apiv1.ReasonHostSilent {
			addCounters(o.Status, s.Counters(o.GetName()))
		}
	case *apiv1.VPNConnection:
		o.Status = proto.CloneOf(fleet.ConnectionStatus(r, o.GetName()))
	case *apiv1.GatewayHost:
		o.Status = fleet.HostStatus(r, o.GetName())
		for _, a := range o.GetSpec().GetAddresses() {
			o.Status.Connections += uint32(r.Count(model.ConnectionsOn(a)))
			o.Status.Tunnels += uint32(r.Count(model.TunnelsOn(a)))
		}
	}
	return o
}

// addCounters adds what is not in the store because it changes all the time.
func addCounters(st *apiv1.VPNTunnelStatus, c *apiv1.TunnelCounters) {
	if c == nil {
		return
	}
	st.Counters = proto.CloneOf(c.GetCounters())
	if b := st.GetBgpSession(); b != nil {
		b.PrefixesReceived, b.PrefixesAccepted, b.PrefixesAnnounced = c.GetPrefixesReceived(), c.GetPrefixesAccepted(), c.GetPrefixesAnnounced()
	}
}

// Page is a part of a list.
type Page struct {
	Items []model.Object
	// Next is the name behind which the next page begins; empty on the last one.
	Next string
	// Revision is the state that the page shows.
	Revision int64
}

// List returns the resources of a kind behind a name that match, at most limit.
func (s *Service) List(ctx context.Context, kind string, f query.Filter, after string, limit int) (Page, error) {
	if err := s.Store.Sync(ctx); err != nil {
		return Page{}, err
	}
	var p Page
	s.Store.View(func(r store.Reader) {
		p.Revision = r.Revision()
		all := r.All(kind)
		i, found := slices.BinarySearchFunc(all, after, func(rec *store.Record, name string) int {
			if rec.Name < name {
				return -1
			}
			if rec.Name > name {
				return 1
			}
			return 0
		})
		if found {
			i++
		}
		for _, rec := range all[i:] {
			o := s.show(r, rec)
			if !f.Match(o) {
				continue
			}
			if len(p.Items) == limit {
				p.Next = p.Items[limit-1].GetName()
				return
			}
			p.Items = append(p.Items, o)
		}
	})
	return p, nil
}

// Event is one step of a Watch.
type Event struct {
	// Type is EventPut, EventDeleted, EventSynced or EventProgress.
	Type string
	// Object has kind and name only after a deletion; nil for EventSynced and EventProgress.
	Object   model.Object
	Revision int64
}

// Event.Type.
const (
	EventPut      = "PUT"
	EventDeleted  = "DELETED"
	EventSynced   = "SYNCED"
	EventProgress = "PROGRESS"
)

// ErrFuture: a revision that was never returned.
var ErrFuture = errors.New("is not one that was returned: it is still to come")

// Watch calls fn with every change after a revision; with 0, first with all that is there. It ends with fn's error, with ctx, or with
// store.ErrCompacted.
func (s *Service) Watch(ctx context.Context, kinds map[string]bool, after int64, fn func(Event) error) error {
	if err := s.Store.Sync(ctx); err != nil {
		return err
	}
	var now []Event
	current := int64(0)
	s.Store.View(func(r store.Reader) {
		current = r.Revision()
		if after > 0 {
			return
		}
		for _, kind := range model.Kinds() {
			if kinds[kind] {
				for _, rec := range r.All(kind) {
					now = append(now, Event{EventPut, s.show(r, rec), rec.Revision})
				}
			}
		}
	})
	if after > current {
		return ErrFuture
	}
	if after == 0 {
		after = current
		for _, e := range append(now, Event{EventSynced, nil, current}) {
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	return s.Store.Changes(ctx, after, func(changes []store.Change, revision int64) error {
		for _, c := range changes {
			if !kinds[c.Kind] {
				continue
			}
			e := Event{EventDeleted, model.Tombstone(c.Ref), c.Revision}
			if c.Record != nil {
				e.Type, e.Object = EventPut, model.Show(c.Record.Value, c.Revision)
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		if len(changes) == 0 {
			return fn(Event{EventProgress, nil, revision})
		}
		return nil
	})
}
