package resource

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/audit"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// change is one attempt at a write.
type change struct {
	*Service
	tx      *store.Tx
	now     *timestamppb.Timestamp
	reserve *reservation
	steps   []step
	// findings of what admission cannot know; the first one about a field wins over admission's.
	findings []*apiv1.Finding
	sort     error
	// unfilled objects: what admission would say about the fields that are missing follows from the finding that is there.
	unfilled map[string]bool
}

// step is what became of one object.
type step struct {
	ref           store.Ref
	action        string
	before, after *apiv1.Stored
	// revision of an object that stays as it is, or of the one before.
	revision int64
	// secrets that were replaced.
	secrets []string
}

func (s *Service) newChange(tx *store.Tx, now *timestamppb.Timestamp, reserve *reservation) *change {
	return &change{Service: s, tx: tx, now: now, reserve: reserve, unfilled: map[string]bool{}}
}

// write runs fn and the checks in one transaction.
func (s *Service) write(ctx context.Context, w Write, fn func(*change) error) ([]Result, []*apiv1.Finding, error) {
	now := timestamppb.New(s.Now().UTC().Truncate(time.Second))
	reserve := &reservation{service: s}
	defer reserve.release()
	var steps []step
	var warnings []*apiv1.Finding
	attempt := func(tx *store.Tx) error {
		reserve.release()
		c := s.newChange(tx, now, reserve)
		if err := fn(c); err != nil {
			return err
		}
		warned, err := c.check()
		if err != nil {
			return err
		}
		steps, warnings = c.steps, warned
		return c.record(w.Actor)
	}
	if w.DryRun {
		if err := s.Store.Try(ctx, attempt); err != nil {
			return nil, nil, err
		}
		return results(steps, 0), warnings, nil
	}
	revision, err := s.Store.Write(ctx, attempt)
	if err != nil {
		return nil, nil, err
	}
	for _, st := range steps {
		if st.action != Unchanged {
			s.Log.Info("resource written", "action", st.action, "resource", st.ref, "actor", w.Actor.Name, "peer", w.Actor.Peer, "revision", revision)
		}
	}
	return results(steps, revision), warnings, nil
}

func results(steps []step, revision int64) []Result {
	out := make([]Result, len(steps))
	for i, st := range steps {
		out[i].Action, out[i].Secrets = st.action, st.secrets
		if st.before != nil {
			out[i].Before = model.Show(st.before, st.revision)
		}
		switch {
		case st.action == Unchanged:
			out[i].After = model.Show(st.after, st.revision)
		case st.after != nil:
			out[i].After = model.Show(st.after, revision)
		}
	}
	return out
}

// record writes the audit log's entry in the same transaction, so that there is one exactly when the write took place.
func (c *change) record(actor Actor) error {
	var entries []*apiv1.AuditEntry
	for _, st := range c.steps {
		if st.action != Unchanged {
			entries = append(entries, &apiv1.AuditEntry{
				Time: c.now, Actor: actor.Name, Peer: actor.Peer, Action: st.action, Object: apiv1.ObjectName(st.ref.Kind, st.ref.Name),
				Before: st.before.GetResource(), After: st.after.GetResource(), Secrets: st.secrets,
			})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	name, value, err := audit.Encode(c.Now(), entries)
	if err != nil {
		return err
	}
	c.tx.PutAside(name, value)
	return nil
}

// cannotFill reports a choice that cannot be made.
func (c *change) cannotFill(ref store.Ref, field, format string, args ...any) {
	c.fail(model.ErrPrecondition, ref, field, format, args...)
	c.unfilled[apiv1.ObjectName(ref.Kind, ref.Name)] = true
}

func (c *change) fail(sort error, ref store.Ref, field, format string, args ...any) {
	r := model.Refuse(sort, ref, field, format, args...)
	c.findings = append(c.findings, r.Findings...)
	if c.sort == nil {
		c.sort = sort
	}
}

// apply stages objects so that each finds what it refers to, whatever order they come in.
func (c *change) apply(objects []model.Object) error {
	order := make([]int, len(objects))
	seen := map[store.Ref]bool{}
	for i, o := range objects {
		order[i] = i
		ref := model.RefOf(o)
		if seen[ref] {
			return model.Refuse(model.ErrInvalid, ref, "", "is there twice")
		}
		seen[ref] = true
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return slices.Index(model.Kinds(), model.KindOf(objects[a])) - slices.Index(model.Kinds(), model.KindOf(objects[b]))
	})
	sorted := make([]step, len(objects))
	for _, i := range order {
		if err := c.put(objects[i], mayExist); err != nil {
			return err
		}
		sorted[i] = c.steps[len(c.steps)-1]
	}
	c.steps = sorted
	return nil
}

// delete stages a deletion. What refers to the resource is left to the checks.
func (c *change) delete(ref store.Ref, version string) error {
	r := c.tx.Get(ref)
	if r == nil {
		return model.Refuse(model.ErrNotFound, ref, "", "does not exist")
	}
	if err := fresh(r, version); err != nil {
		return err
	}
	if conn, ok := model.Stored(r).(*apiv1.VPNConnection); ok {
		if names := recordNames(c.tx.Find(model.TunnelsOf(conn.GetSpec().GetBorderGateway(), ref.Name))); names != "" {
			c.fail(model.ErrPrecondition, ref, "", "cannot be deleted while it has tunnels; it has %s", names)
		}
	}
	c.tx.Delete(ref)
	c.steps = append(c.steps, step{ref: ref, action: Deleted, before: r.Value, revision: r.Revision})
	return nil
}

// fresh refuses a writer that has read another version than the one there is.
func fresh(r *store.Record, version string) error {
	if current := store.FormatRevision(r.Revision); version != "" && version != current {
		return model.Refuse(model.ErrStale, r.Ref, "metadata.resourceVersion",
			"is %s, but the resource has changed since: it is at %s; read it again and repeat the change", version, current)
	}
	return nil
}

func unchanged(a, b *apiv1.Stored) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, v := range []*apiv1.Stored{a, b} {
		m := model.Unwrap(v.GetResource()).GetMetadata()
		m.Updated, m.Generation = nil, 0
	}
	return proto.Equal(a, b)
}
