// Package resource carries out what the API promises: resources are written in transactions that keep every rule, and what a writer
// leaves open is chosen.
package resource

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/vault"
)

// Options is what a Service needs.
type Options struct {
	// Store must have been opened with model.Indexes.
	Store *store.Store
	Vault *vault.Vault
	// Quotas; fields that are zero stand for the default.
	Quotas apiv1.Quotas
	// InsidePools are where inside prefixes are taken from, in this order.
	InsidePools []netip.Prefix
	// Counters returns what a tunnel's agent told last, nil if it is not known here; it may be nil.
	Counters func(tunnel string) *apiv1.TunnelCounters
	Now      func() time.Time
	Log      *slog.Logger
}

// Service reads and writes resources. Any number of them may work on one store.
type Service struct {
	Options
	mu sync.Mutex
	// pending counts connections that are being written, by cloud address: without it many writers at once would all find
	// the same host the least loaded.
	pending map[netip.Addr]int
}

// New returns a Service.
func New(opts Options) *Service {
	return &Service{Options: opts, pending: map[netip.Addr]int{}}
}

// Actor is who asks for a write, for the audit log.
type Actor struct{ Name, Peer string }

// Write is how a write is to be done.
type Write struct {
	Actor Actor
	// DryRun: everything is checked and answered as if it had been written.
	DryRun bool
	// DefaultTunnels: a connection is created with the tunnels of the default layout, by Apply only if the write has none of its own.
	DefaultTunnels bool
}

// Result is one resource after a write.
type Result struct {
	// Action is Created, Changed, Unchanged or Deleted.
	Action string
	// Before is nil for what was created, After for what was deleted.
	Before, After model.Object
	// Secrets are the paths of those that were replaced.
	Secrets []string
}

// Result.Action.
const (
	Created   = "CREATED"
	Changed   = "CHANGED"
	Unchanged = "UNCHANGED"
	Deleted   = "DELETED"
)

// Create creates a resource; the first result is its. Defaults and choices are filled in.
func (s *Service) Create(ctx context.Context, w Write, o model.Object) ([]Result, []*apiv1.Finding, error) {
	return s.write(ctx, w, func(c *change) error {
		if err := c.put(o, mustNotExist); err != nil {
			return err
		}
		if conn, ok := o.(*apiv1.VPNConnection); ok && w.DefaultTunnels {
			return c.defaultTunnels(conn.GetName())
		}
		return nil
	})
}

// Update replaces a resource that has not changed since metadata.resourceVersion. Secrets and choices that are left out stay as they are.
func (s *Service) Update(ctx context.Context, w Write, o model.Object) (Result, []*apiv1.Finding, error) {
	results, warnings, err := s.write(ctx, w, func(c *change) error { return c.put(o, mustExist) })
	if err != nil {
		return Result{}, nil, err
	}
	return results[0], warnings, nil
}

// Delete deletes a resource; a version that is not empty must be the one it has.
func (s *Service) Delete(ctx context.Context, w Write, ref store.Ref, version string) error {
	_, _, err := s.write(ctx, w, func(c *change) error { return c.delete(ref, version) })
	return err
}

// Apply creates and replaces resources in one transaction; the results are in the order of the objects, those of default tunnels behind.
func (s *Service) Apply(ctx context.Context, w Write, objects []model.Object) ([]Result, []*apiv1.Finding, error) {
	return s.write(ctx, w, func(c *change) error {
		if err := c.apply(objects); err != nil || !w.DefaultTunnels {
			return err
		}
		return c.missingTunnels(objects)
	})
}
