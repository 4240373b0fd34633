package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Lease is a time after which the records that were put under it vanish, unless it is renewed. The zero Lease is none.
type Lease int64

// ErrLeaseEnded: it was not renewed in time; its records are gone.
var ErrLeaseEnded = errors.New("the lease has ended")

// Grant begins a lease. etcd counts in whole seconds; less becomes one.
func (s *Store) Grant(ctx context.Context, d time.Duration) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := s.client.Grant(ctx, max(1, int64((d+time.Second-1)/time.Second)))
	if err != nil {
		return 0, unavailable(err)
	}
	return Lease(resp.ID), nil
}

// Revoke ends a lease at once; its records vanish. A lease that has ended is no error.
func (s *Store) Revoke(ctx context.Context, l Lease) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.client.Revoke(ctx, clientv3.LeaseID(l))
	if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("revoke: %w", unavailable(err))
	}
	return nil
}

// Renew begins the time of a lease anew.
func (s *Store) Renew(ctx context.Context, l Lease) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.client.KeepAliveOnce(ctx, clientv3.LeaseID(l))
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return ErrLeaseEnded
	case err != nil:
		return fmt.Errorf("renew: %w", unavailable(err))
	}
	return nil
}
