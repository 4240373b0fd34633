package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// pageSize bounds how much one request of a listing returns, in keys.
const pageSize = 2000

// retryInterval is how long the watch waits before it begins anew.
const retryInterval = time.Second / 4

// load reads everything as of one revision.
func (s *Store) load(ctx context.Context) (*state, error) {
	next := newState(s.index)
	from, end := s.keys.data(), clientv3.GetPrefixRangeEnd(s.keys.data())
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize)}
		if next.revision > 0 {
			opts = append(opts, clientv3.WithRev(next.revision))
		}
		reqCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		resp, err := s.client.Get(reqCtx, from, opts...)
		cancel()
		if err != nil {
			return nil, unavailable(err)
		}
		if next.revision == 0 {
			next.revision = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			if _, err := s.fold(next, &clientv3.Event{Type: mvccpb.PUT, Kv: kv}); err != nil {
				return nil, err
			}
		}
		if !resp.More {
			return next, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// fold applies one event and returns the record it is about, if it is about one.
func (s *Store) fold(st *state, e *clientv3.Event) (Ref, error) {
	ref, guard := s.keys.parse(string(e.Kv.Key))
	deleted := e.Type == mvccpb.DELETE
	switch {
	case guard != "" && deleted:
		delete(st.guards, guard)
	case guard != "":
		st.guards[guard] = e.Kv.ModRevision
	case ref != Ref{} && deleted:
		st.delete(ref)
	case ref != Ref{}:
		r, err := decode(ref, e.Kv)
		if err != nil {
			return ref, err
		}
		st.put(r)
	}
	return ref, nil
}

func decode(ref Ref, kv *mvccpb.KeyValue) (*Record, error) {
	v := &apiv1.Stored{}
	if err := proto.Unmarshal(kv.Value, v); err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return &Record{Ref: ref, Value: v, Revision: kv.ModRevision}, nil
}

// watch follows etcd until ctx ends. What etcd no longer knows is read anew.
func (s *Store) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("the watch of the store ended; beginning anew", "error", err)
		if errors.Is(err, ErrCompacted) || errors.Is(err, errFold) {
			next, err := s.load(ctx)
			if err == nil {
				s.replace(next)
				continue
			}
			s.log.Error("the store cannot be read", "error", err)
		}
		retry := time.NewTimer(retryInterval)
		select {
		case <-ctx.Done():
		case <-retry.C:
		}
		retry.Stop()
	}
}

// errFold: something that is stored cannot be read.
var errFold = errors.New("a stored value cannot be read")

func (s *Store) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	s.mu.RLock()
	from := s.state.revision + 1
	s.mu.RUnlock()
	for resp := range s.client.Watch(ctx, s.keys.data(), clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if err := resp.Err(); err != nil {
			return watchError(err)
		}
		if len(resp.Events) == 0 {
			continue
		}
		if err := s.apply(resp); err != nil {
			return err
		}
	}
	return errors.New("the watch was closed")
}

func watchError(err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return ErrCompacted
	}
	return unavailable(err)
}

// apply takes all events of one answer at once: etcd never splits a revision.
func (s *Store) apply(resp clientv3.WatchResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []Ref
	for _, e := range resp.Events {
		ref, err := s.fold(s.state, e)
		if err != nil {
			return fmt.Errorf("%w: %w", errFold, err)
		}
		if ref != (Ref{}) {
			refs = append(refs, ref)
		}
		s.state.revision = e.Kv.ModRevision
	}
	s.announce(refs, false)
	return nil
}

// replace puts a state that was read anew in place of the one the watch had lost track of.
func (s *Store) replace(next *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = next
	s.announce(nil, true)
}

// announce wakes who waits; the lock is held.
func (s *Store) announce(refs []Ref, resync bool) {
	close(s.reached)
	s.reached = make(chan struct{})
	for sub := range s.subs {
		sub.add(refs, resync)
	}
}
