// Package audit keeps who changed what. Entries are written with the change itself, in one transaction, so that there is an entry exactly
// when there was a change; any controller lists those of all.
package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// folder of the names, which sort by time.
const folder = "audit/"

func nameAt(t time.Time) string { return fmt.Sprintf("%s%020d", folder, t.UnixNano()) }

// Encode returns the name and the value to be put aside for one transaction.
func Encode(now time.Time, entries []*apiv1.AuditEntry) (name string, value []byte, err error) {
	// Two controllers may write in the same nanosecond.
	tail := make([]byte, 8)
	if _, err := rand.Read(tail); err != nil {
		return "", nil, err
	}
	value, err = proto.Marshal(&apiv1.StoredAudit{Entries: entries})
	return nameAt(now) + "-" + hex.EncodeToString(tail), value, err
}

// Filter is what List shows; empty fields match everything.
type Filter struct{ Kind, Name string }

func (f Filter) match(object string) bool {
	kind, name, _ := strings.Cut(object, "/")
	return (f.Kind == "" || f.Kind == kind) && (f.Name == "" || f.Name == name)
}

// objectOf says what an entry is about. Those of older controllers only have the resource.
func objectOf(e *apiv1.AuditEntry) string {
	for _, r := range []*apiv1.Resource{e.GetAfter(), e.GetBefore()} {
		if o := model.Unwrap(r); o != nil && e.GetObject() == "" {
			return apiv1.ObjectName(model.KindOf(o), o.GetName())
		}
	}
	return e.GetObject()
}

// scanned bounds how many transactions one List looks at, so that a filter that nothing matches does not read everything.
const scanned = 10000

// List returns entries, newest first, and where the next page begins; that is empty after the last one. A page is at least limit
// entries long if there are as many, and never splits a transaction.
func List(ctx context.Context, s *store.Store, f Filter, before string, limit int) (out []*apiv1.AuditEntry, next string, err error) {
	for looked := 0; len(out) < limit && looked < scanned; {
		items, err := s.ListAside(ctx, folder, before, limit)
		if err != nil {
			return nil, "", err
		}
		for _, item := range items {
			v := &apiv1.StoredAudit{}
			if err := proto.Unmarshal(item.Value, v); err != nil {
				return nil, "", fmt.Errorf("%s: %w", item.Name, err)
			}
			slices.Reverse(v.Entries)
			for _, e := range v.Entries {
				if e.Object = objectOf(e); f.match(e.GetObject()) {
					e.ResourceVersion = store.FormatRevision(item.Revision)
					out = append(out, e)
				}
			}
			before, looked = item.Name, looked+1
			if len(out) >= limit {
				return out, before, nil
			}
		}
		if len(items) < limit {
			return out, "", nil
		}
	}
	return out, before, nil
}

// ValidToken says whether a text may be what List returned as next.
func ValidToken(text string) bool {
	return text == "" || len(text) > len(folder) && text[:len(folder)] == folder && len(text) < 64
}

// Prune deletes what is older than retention, every hour until ctx ends. Controllers do it all alike: deleting twice is no harm.
func Prune(ctx context.Context, s *store.Store, retention time.Duration, now func() time.Time, log *slog.Logger) {
	for tick := time.NewTicker(time.Hour); ; {
		if err := PruneOnce(ctx, s, now().Add(-retention)); err != nil && ctx.Err() == nil {
			log.Warn("the audit log cannot be shortened", "error", err)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// PruneOnce deletes entries from before a time.
func PruneOnce(ctx context.Context, s *store.Store, before time.Time) error {
	_, err := s.DeleteAside(ctx, folder, nameAt(before))
	return err
}
