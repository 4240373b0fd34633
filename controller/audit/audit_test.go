package audit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/audit"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestListAndPrune(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{
		Client: storetest.Client(t, storetest.Start(t)), Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	begin := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for i, names := range [][]string{{"a", "b"}, {"c"}, {"a"}} {
		var entries []*apiv1.AuditEntry
		for _, n := range names {
			entries = append(entries, &apiv1.AuditEntry{Action: "CREATED", After: model.Wrap(&apiv1.BorderGateway{Name: n})})
		}
		name, value, err := audit.Encode(begin.Add(time.Duration(i)*time.Hour), entries)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(t.Context(), func(tx *store.Tx) error { tx.PutAside(name, value); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	list := func(f audit.Filter, limit int) (out []string) {
		t.Helper()
		for before := ""; ; {
			items, next, err := audit.List(t.Context(), s, f, before, limit)
			if err != nil || !audit.ValidToken(next) {
				t.Fatal(next, err)
			}
			for _, e := range items {
				out = append(out, e.GetAfter().GetBorderGateway().GetName())
			}
			if before = next; next == "" {
				return out
			}
		}
	}
	for _, limit := range []int{1, 2, 10} {
		if diff := cmp.Diff([]string{"a", "c", "b", "a"}, list(audit.Filter{}, limit)); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
		if diff := cmp.Diff([]string{"a", "a"}, list(audit.Filter{Kind: "BorderGateway", Name: "a"}, limit)); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
	if err := audit.PruneOnce(t.Context(), s, begin.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "c"}, list(audit.Filter{}, 10)); diff != "" {
		t.Error(diff)
	}
}
