package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// queues is how many unrelated races are told apart.
const queues = 256

// maxFirst bounds the writes of this process that are tried for the first time at once. More would only make each other lose, and
// with many hundreds on their way to etcd all of them time out together.
const maxFirst = 16

// Options is what a Store needs.
type Options struct {
	Client *clientv3.Client
	// Prefix of all keys, such as "/bordergw/".
	Prefix string
	Index  IndexFunc
	Log    *slog.Logger
}

// Store is one controller's view of the records. All methods may be called at once.
type Store struct {
	client *clientv3.Client
	keys   keyspace
	log    *slog.Logger
	index  IndexFunc

	mu      sync.RWMutex
	state   *state
	reached chan struct{} // closed and replaced with every new revision
	subs    map[*Subscription]struct{}

	// queues let the writers of this process that lost a race try again one by one, each in the queue of what it lost; which queue that
	// is follows from a hash.
	queues [queues]chan struct{}
	seed   maphash.Seed
	// first lets writers in; those that lost a race are in the queues and need no place here.
	first chan struct{}
	stop  context.CancelFunc
	done  chan struct{}
}

// Open checks the schema, reads everything and begins to watch. Close ends it; the client stays the caller's.
func Open(ctx context.Context, opts Options) (*Store, error) {
	s := &Store{
		client: opts.Client, seed: maphash.MakeSeed(), first: make(chan struct{}, maxFirst), keys: keyspace{opts.Prefix}, log: opts.Log, index: opts.Index,
		reached: make(chan struct{}), subs: map[*Subscription]struct{}{}, done: make(chan struct{}),
	}
	for i := range s.queues {
		s.queues[i] = make(chan struct{}, 1)
	}
	if err := s.checkSchema(ctx); err != nil {
		return nil, err
	}
	next, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	s.state = next
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() {
		defer close(s.done)
		s.watch(watching)
	}()
	return s, nil
}

// Close ends the watch and waits for it.
func (s *Store) Close() {
	s.stop()
	<-s.done
}

// checkSchema writes our version into an empty store and refuses a newer one.
func (s *Store) checkSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key := s.keys.schema()
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, strconv.Itoa(SchemaVersion))).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return unavailable(err)
	}
	if resp.Succeeded {
		return nil
	}
	return schemaError(resp.Responses[0].GetResponseRange().GetKvs()[0].Value)
}

func schemaError(value []byte) error {
	version, err := strconv.Atoi(string(value))
	switch {
	case err != nil:
		return fmt.Errorf("schema version %q is no number", value)
	case version > SchemaVersion:
		return fmt.Errorf("%w: %d; this controller knows %d: upgrade it", ErrNewerSchema, version, SchemaVersion)
	}
	return nil
}

// View runs fn on the records of one revision. fn must be quick and must not write.
func (s *Store) View(fn func(Reader)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fn(s.state)
}

// Sync returns once View shows at least all that had been acknowledged, by any controller, when Sync was called.
func (s *Store) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := s.client.Get(ctx, s.keys.head())
	if err != nil {
		return unavailable(err)
	}
	if len(resp.Kvs) == 0 {
		return nil
	}
	return s.reach(ctx, resp.Kvs[0].ModRevision)
}

// reach waits until the view has a revision.
func (s *Store) reach(ctx context.Context, revision int64) error {
	for {
		s.mu.RLock()
		current, changed := s.state.revision, s.reached
		s.mu.RUnlock()
		if current >= revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the watch is behind: %w", ErrUnavailable, ctx.Err())
		case <-changed:
		}
	}
}

// Write runs fn and commits what it staged, again and again until nothing of what fn read was changed by others meanwhile. fn must have
// no effects but those on the Tx. It returns the revision of the write once View shows it, and 0 when fn staged nothing. An error
// of fn is returned as it is; it may rest on a view that is behind, therefore fn runs again after a Sync before it counts.
func (s *Store) Write(ctx context.Context, fn func(*Tx) error) (int64, error) {
	synced := false
	// place is where this writer counts: in first, later in a queue.
	place := s.first
	if err := enter(ctx, place); err != nil {
		return 0, err
	}
	defer func() {
		if place != nil {
			<-place
		}
	}()
	for attempt := 0; ; attempt++ {
		b, err := s.attempt(fn)
		if err != nil {
			if synced {
				return 0, err
			}
			if err := s.Sync(ctx); err != nil {
				return 0, err
			}
			synced = true
			continue
		}
		if len(b.writes) == 0 {
			return 0, nil
		}
		revision, ok, err := s.commit(ctx, b)
		if ok || err != nil {
			return revision, err
		}
		if place == s.first {
			queue := s.queues[maphash.String(s.seed, s.lost(b))%queues]
			<-place
			place = nil
			if err := enter(ctx, queue); err != nil {
				return 0, err
			}
			place = queue
		} else if err := pause(ctx, attempt); err != nil {
			return 0, err
		}
	}
}

func enter(ctx context.Context, place chan struct{}) error {
	select {
	case place <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Try runs fn on what had been acknowledged when Try was called, and forgets what it staged.
func (s *Store) Try(ctx context.Context, fn func(*Tx) error) error {
	if err := s.Sync(ctx); err != nil {
		return err
	}
	_, err := s.attempt(fn)
	return err
}

// batch is what one attempt wants etcd to do, and on what condition.
type batch struct {
	conditions []clientv3.Cmp
	writes     []clientv3.Op
	// guards and records that were read, with their revisions.
	guards  map[string]int64
	records map[Ref]int64
}

// lost names what another writer has changed since the batch was made.
func (s *Store) lost(b batch) (name string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	least := func(candidate string) {
		if name == "" || candidate < name {
			name = candidate
		}
	}
	for guard, revision := range b.guards {
		if s.state.guards[guard] != revision {
			least(guard)
		}
	}
	for ref, revision := range b.records {
		if s.state.revisionOf(ref) != revision {
			least(ref.String())
		}
	}
	return name
}

// attempt takes the conditions while the view is still what fn read.
func (s *Store) attempt(fn func(*Tx) error) (batch, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tx := newTx(s.keys, s.state)
	if err := fn(tx); err != nil {
		return batch{}, err
	}
	if len(tx.staged) == 0 && len(tx.extra) == 0 {
		return batch{}, nil
	}
	return tx.batch()
}

// commit reports false when something that was read has changed; the view has it by then.
func (s *Store) commit(ctx context.Context, b batch) (int64, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	timeout := commitTimeout
	if len(b.writes) > smallCommit {
		timeout = requestTimeout
	}
	committing, ended := context.WithTimeout(ctx, timeout)
	defer ended()
	resp, err := s.client.Txn(committing).If(b.conditions...).Then(b.writes...).
		Else(clientv3.OpGet(s.keys.head()), clientv3.OpGet(s.keys.schema())).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return 0, false, fmt.Errorf("%w: it needs %d conditions and %d writes: write less at a time, or raise --max-txn-ops of etcd",
			ErrTooLarge, len(b.conditions), len(b.writes))
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return 0, false, fmt.Errorf("%w: write less at a time, or raise --max-request-bytes of etcd", ErrTooLarge)
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return 0, false, ErrLeaseEnded
	case err != nil:
		return 0, false, unavailable(err)
	case resp.Succeeded:
		return resp.Header.Revision, true, s.reach(ctx, resp.Header.Revision)
	}
	if schema := resp.Responses[1].GetResponseRange().GetKvs(); len(schema) > 0 {
		if err := schemaError(schema[0].Value); err != nil {
			return 0, false, err
		}
	}
	if head := resp.Responses[0].GetResponseRange().GetKvs(); len(head) > 0 {
		return 0, false, s.reach(ctx, head[0].ModRevision)
	}
	return 0, false, nil
}

// pause keeps two controllers from losing against each other in step.
func pause(ctx context.Context, attempt int) error {
	d := time.Duration(rand.Int64N(int64(time.Millisecond) << min(attempt, 6)))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
