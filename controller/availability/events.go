package availability

import (
	"context"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/store"
)

// History returns the last transitions of a connection, oldest first; of all connections in no order when connection is empty. revision
// is the state it is taken from, after which Watch can go on.
func History(s *store.Store, connection string) (out []*apiv1.Transition, revision int64) {
	s.View(func(r store.Reader) {
		revision = r.Revision()
		for _, rec := range r.All(fleet.KindAvailability) {
			if connection == "" || rec.Name == connection {
				out = append(out, rec.Value.GetAvailability().GetHistory()...)
			}
		}
	})
	return out, revision
}

// Watch calls fn with every transition after a revision, whichever controller wrote it, in order and once, and with the revision after
// which a later Watch can go on. It ends with fn's error, with ctx, or with store.ErrCompacted when too much has happened since.
func Watch(ctx context.Context, s *store.Store, after int64, fn func(*apiv1.Transition, int64) error) error {
	return s.Changes(ctx, after, func(changes []store.Change, revision int64) error {
		for _, c := range changes {
			if c.Kind != fleet.KindAvailability || c.Record == nil {
				continue
			}
			if t := Newest(c.Record.Value.GetAvailability()); t != nil {
				if err := fn(t, revision); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Newest returns the transition that a write of the record brought; nil when it brought none: records are written for lesser changes, too.
func Newest(record *apiv1.AvailabilityRecord) *apiv1.Transition {
	if n := len(record.GetHistory()); n > 0 && record.GetChanged() {
		return record.GetHistory()[n-1]
	}
	return nil
}
