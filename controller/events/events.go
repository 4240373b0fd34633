// Package events tells what happens to hosts, tunnels and connections. All of it is read from the store, so that it is the same at every
// controller and can be resumed at another one.
package events

import (
	"context"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
)

// watch calls fn with everything that happens after the past, in order, and with the revision after which a later watch can go on; with a
// nil event in quiet times. Of a tunnel that the past does not know the first change may be one that was told before. watch ends with
// fn's error, with ctx, or with store.ErrCompacted.
func watch(ctx context.Context, s *store.Store, after past, fn func(*apiv1.Event, int64) error) error {
	return s.Changes(ctx, after.revision, func(changes []store.Change, revision int64) error {
		if len(changes) == 0 {
			return fn(nil, revision)
		}
		for _, c := range changes {
			if e := after.tunnels.event(c); e != nil {
				if err := fn(e, revision); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
