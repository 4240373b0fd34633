package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A numbered record belongs to the set of its number and to the set of all.
func index(ref store.Ref, v *apiv1.Stored) []store.Index {
	return []store.Index{number(v.GetClaim().GetOwner()), {Set: "all", Guard: "all"}}
}

func number(n string) store.Index { return store.Index{Set: "number/" + n, Guard: "number/" + n} }

func value(n int) *apiv1.Stored { return &apiv1.Stored{Claim: &apiv1.Claim{Owner: strconv.Itoa(n)}} }

func open(t *testing.T, client *clientv3.Client) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Client: client, Prefix: "/bordergw/", Index: index, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func put(t *testing.T, s *store.Store, name string, n int) int64 {
	t.Helper()
	rev, err := s.Write(t.Context(), func(tx *store.Tx) error {
		tx.Put(store.Ref{Kind: "K", Name: name}, value(n))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func names(s *store.Store, kind string) (out []string) {
	s.View(func(r store.Reader) {
		for _, x := range r.All(kind) {
			out = append(out, x.Name+"="+x.Value.GetClaim().GetOwner())
		}
	})
	return out
}

func TestOneWritesOthersSee(t *testing.T) {
	endpoint := storetest.Start(t)
	a, b := open(t, storetest.Client(t, endpoint)), open(t, storetest.Client(t, endpoint))
	put(t, a, "x", 1)
	put(t, a, "y", 2)
	put(t, b, "x", 3)
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"x=3", "y=2"}
	if diff := cmp.Diff(want, names(a, "K")); diff != "" {
		t.Error(diff)
	}
	late := open(t, storetest.Client(t, endpoint))
	if diff := cmp.Diff(want, names(late, "K")); diff != "" {
		t.Error(diff)
	}
	if _, err := a.Write(t.Context(), func(tx *store.Tx) error { tx.Delete(store.Ref{Kind: "K", Name: "x"}); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"y=2"}, names(b, "K")); diff != "" {
		t.Error(diff)
	}
	b.View(func(r store.Reader) {
		if got := r.Find(number("3")); len(got) > 0 {
			t.Errorf("a deleted record is still in its set: %v", got[0].Ref)
		}
		if got := r.Find(number("2")); len(got) != 1 {
			t.Errorf("%d records have number 2", len(got))
		}
	})
}

// Two stores give out numbers at once: each write reads which numbers are taken and takes the least free one.
func TestNothingIsGivenOutTwice(t *testing.T) {
	endpoint := storetest.Start(t)
	const writers, each = 20, 10
	stores := []*store.Store{open(t, storetest.Client(t, endpoint)), open(t, storetest.Client(t, endpoint))}
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		s := stores[w%2]
		wg.Go(func() {
			for i := range each {
				_, err := s.Write(t.Context(), func(tx *store.Tx) error {
					n := 0
					for len(tx.Find(number(strconv.Itoa(n)))) > 0 {
						n++
					}
					tx.Put(store.Ref{Kind: "K", Name: fmt.Sprintf("%d-%d", w, i)}, value(n))
					return nil
				})
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	for _, s := range stores {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, x := range names(s, "K") {
			_, n, _ := strings.Cut(x, "=")
			if seen[n] {
				t.Errorf("%s was given out twice", n)
			}
			seen[n] = true
		}
		for n := range writers * each {
			if !seen[strconv.Itoa(n)] {
				t.Errorf("%d was left out", n)
			}
		}
	}
}

// A count is kept although no two writes touch the same record.
func TestCountsAreKept(t *testing.T) {
	endpoint := storetest.Start(t)
	stores := []*store.Store{open(t, storetest.Client(t, endpoint)), open(t, storetest.Client(t, endpoint))}
	errFull := errors.New("full")
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			_, err := stores[w%2].Write(t.Context(), func(tx *store.Tx) error {
				if len(tx.Find(store.Index{Set: "all", Guard: "all"})) >= 7 {
					return errFull
				}
				tx.Put(store.Ref{Kind: "K", Name: strconv.Itoa(w)}, value(w))
				return nil
			})
			if err != nil && !errors.Is(err, errFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(names(stores[0], "K")); got != 7 {
		t.Errorf("%d records, the limit is 7", got)
	}
}

func TestTxSeesItsOwnWrites(t *testing.T) {
	s := open(t, storetest.Client(t, storetest.Start(t)))
	put(t, s, "a", 1)
	put(t, s, "b", 1)
	_, err := s.Write(t.Context(), func(tx *store.Tx) error {
		tx.Put(store.Ref{Kind: "K", Name: "c"}, value(1))
		tx.Put(store.Ref{Kind: "K", Name: "a"}, value(2))
		tx.Delete(store.Ref{Kind: "K", Name: "b"})
		for _, tc := range []struct {
			what string
			got  []*store.Record
			want string
		}{
			{"number 1", tx.Find(number("1")), "c"}, {"number 2", tx.Find(number("2")), "a"}, {"all", tx.All("K"), "a c"},
			{"number 1 before", tx.Before().Find(number("1")), "a b"},
		} {
			var got []string
			for _, r := range tc.got {
				got = append(got, r.Name)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%s: %v, want %s", tc.what, got, tc.want)
			}
		}
		if tx.Get(store.Ref{Kind: "K", Name: "b"}) != nil {
			t.Error("a deleted record is found")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Try(t.Context(), func(tx *store.Tx) error { tx.Delete(store.Ref{Kind: "K", Name: "a"}); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a=2", "c=1"}, names(s, "K")); diff != "" {
		t.Error(diff)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	client := storetest.Client(t, storetest.Start(t))
	s := open(t, client)
	put(t, s, "a", 1)
	if _, err := client.Put(t.Context(), "/bordergw/schema", "2"); err != nil {
		t.Fatal(err)
	}
	const want = "the store has a newer schema: 2; this controller knows 1: upgrade it"
	_, err := store.Open(t.Context(), store.Options{Client: client, Prefix: "/bordergw/", Index: index, Log: storetest.Log(t)})
	if !errors.Is(err, store.ErrNewerSchema) || err.Error() != want {
		t.Errorf("opening: %v", err)
	}
	_, err = s.Write(t.Context(), func(tx *store.Tx) error { tx.Put(store.Ref{Kind: "K", Name: "b"}, value(1)); return nil })
	if !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("a controller that runs while another one changes the schema: %v", err)
	}
	if got := len(names(s, "K")); got != 1 {
		t.Errorf("%d records", got)
	}
}

func TestChangesResumeAndCompaction(t *testing.T) {
	client := storetest.Client(t, storetest.Start(t))
	s := open(t, client)
	first := put(t, s, "a", 1)
	put(t, s, "b", 2)
	last := put(t, s, "a", 3)
	errDone := errors.New("done")
	read := func(after int64) (out []string, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err = s.Changes(ctx, after, func(changes []store.Change, revision int64) error {
			for _, c := range changes {
				out = append(out, c.Name+"="+c.Record.Value.GetClaim().GetOwner())
			}
			if revision >= last {
				return errDone
			}
			return nil
		})
		return out, err
	}
	got, err := read(first)
	if diff := cmp.Diff([]string{"b=2", "a=3"}, got); diff != "" || !errors.Is(err, errDone) {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := client.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if _, err := read(first); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("after a compaction: %v", err)
	}
}

func TestSubscription(t *testing.T) {
	endpoint := storetest.Start(t)
	a, b := open(t, storetest.Client(t, endpoint)), open(t, storetest.Client(t, endpoint))
	sub := b.Subscribe()
	defer sub.Close()
	<-sub.Wake()
	if changed, all := sub.Take(); !all || changed != nil {
		t.Errorf("at first: %v %v", changed, all)
	}
	put(t, a, "x", 1)
	put(t, a, "x", 2)
	put(t, a, "y", 2)
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-sub.Wake()
	changed, all := sub.Take()
	want := map[store.Ref]struct{}{{Kind: "K", Name: "x"}: {}, {Kind: "K", Name: "y"}: {}}
	if diff := cmp.Diff(want, changed); diff != "" || all {
		t.Error(all, diff)
	}
}

func TestAside(t *testing.T) {
	s := open(t, storetest.Client(t, storetest.Start(t)))
	for _, n := range []string{"log/1", "log/2", "log/3"} {
		if _, err := s.Write(t.Context(), func(tx *store.Tx) error { tx.PutAside(n, []byte(n)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	list := func(before string, limit int) (out []string) {
		items, err := s.ListAside(t.Context(), "log/", before, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			out = append(out, i.Name)
		}
		return out
	}
	if diff := cmp.Diff([]string{"log/3", "log/2"}, list("", 2)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"log/1"}, list("log/2", 2)); diff != "" {
		t.Error(diff)
	}
	if n, err := s.DeleteAside(t.Context(), "log/", "log/3"); n != 2 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff([]string{"log/3"}, list("", 9)); diff != "" {
		t.Error(diff)
	}
}
