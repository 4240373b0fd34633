package store

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Subscription tells one reader of the view which records changed since it last asked. It holds each record once, however often it
// changed, so a slow reader costs nothing.
type Subscription struct {
	store   *Store
	wake    chan struct{}
	changed map[Ref]struct{} // guarded by store.mu
	resync  bool
}

// Subscribe begins with everything: the first Take says so. Close ends it.
func (s *Store) Subscribe() *Subscription {
	sub := &Subscription{store: s, wake: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	sub.add(nil, true)
	return sub
}

// Wake delivers when there is something to Take.
func (sub *Subscription) Wake() <-chan struct{} { return sub.wake }

// Take returns what changed, and whether anything may have: then the records are not told, and the view must be compared as a whole.
func (sub *Subscription) Take() (changed map[Ref]struct{}, all bool) {
	sub.store.mu.Lock()
	defer sub.store.mu.Unlock()
	changed, all = sub.changed, sub.resync
	sub.changed, sub.resync = nil, false
	return changed, all
}

// Close ends the subscription.
func (sub *Subscription) Close() {
	sub.store.mu.Lock()
	defer sub.store.mu.Unlock()
	delete(sub.store.subs, sub)
}

// add notes changes; the store's lock is held.
func (sub *Subscription) add(refs []Ref, resync bool) {
	if resync {
		sub.changed, sub.resync = nil, true
	}
	if !sub.resync {
		if sub.changed == nil {
			sub.changed = map[Ref]struct{}{}
		}
		for _, ref := range refs {
			sub.changed[ref] = struct{}{}
		}
	}
	select {
	case sub.wake <- struct{}{}:
	default:
	}
}

// Change is one step of a record's history.
type Change struct {
	Ref
	// Record is nil after a deletion.
	Record *Record
	// Revision is that of the change.
	Revision int64
}

// Changes calls fn with every change after a revision, in order; the changes of one write come together. In quiet times it calls fn with
// none, and with the revision up to which nothing happened. It ends with fn's error, with ctx, or with ErrCompacted.
func (s *Store) Changes(ctx context.Context, after int64, fn func(changes []Change, revision int64) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	watch := s.client.Watch(ctx, s.keys.records(), clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithProgressNotify())
	for resp := range watch {
		if err := resp.Err(); err != nil {
			return watchError(err)
		}
		var batch []Change
		for i, e := range resp.Events {
			ref, _ := s.keys.parse(string(e.Kv.Key))
			c := Change{Ref: ref, Revision: e.Kv.ModRevision}
			if e.Type == mvccpb.PUT {
				r, err := decode(ref, e.Kv)
				if err != nil {
					return err
				}
				c.Record = r
			}
			batch = append(batch, c)
			if i+1 == len(resp.Events) || resp.Events[i+1].Kv.ModRevision != c.Revision {
				if err := fn(batch, c.Revision); err != nil {
					return err
				}
				batch = nil
			}
		}
		if resp.IsProgressNotify() {
			if err := fn(nil, resp.Header.Revision); err != nil {
				return err
			}
		}
	}
	return context.Cause(ctx)
}
