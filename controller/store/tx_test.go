package store_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

// Whatever is put and deleted, a Tx finds and counts what there will be. What that costs does not grow with the number of writes: a
// manifest may have thousands of documents.
func TestTxFindsByIndex(t *testing.T) {
	var asked atomic.Int64
	s, err := store.Open(t.Context(), store.Options{Client: storetest.Client(t, storetest.Start(t)), Prefix: "/bordergw/", Log: storetest.Log(t),
		Index: func(ref store.Ref, v *apiv1.Stored) []store.Index {
			asked.Add(1)
			return index(ref, v)
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	const numbers, writes = 3, 400
	there := map[string]int{}
	for i := range 20 {
		name := fmt.Sprintf("r%02d", i)
		put(t, s, name, i%numbers)
		there[name] = i % numbers
	}
	rng := rand.New(rand.NewPCG(1, 2))
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error {
		asked.Store(0)
		for range writes {
			name, n := fmt.Sprintf("r%02d", rng.IntN(30)), rng.IntN(numbers+1)
			if n == numbers {
				tx.Delete(store.Ref{Kind: "K", Name: name})
				delete(there, name)
			} else {
				tx.Put(store.Ref{Kind: "K", Name: name}, value(n))
				there[name] = n
			}
			compare(t, there, tx, numbers)
		}
		if n := asked.Load(); n > 3*writes {
			t.Errorf("%d writes ask %d times for indexes", writes, n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.View(func(r store.Reader) { compare(t, there, r, numbers) })
}

// compare holds a reader against the numbers that there must be, by name.
func compare(t *testing.T, there map[string]int, r store.Reader, numbers int) {
	t.Helper()
	refs := func(records []*store.Record) (out []string) {
		for _, x := range records {
			out = append(out, x.Name+"="+x.Value.GetClaim().GetOwner())
		}
		return out
	}
	var all []string
	by := make([][]string, numbers)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		text := name + "=" + strconv.Itoa(there[name])
		all, by[there[name]] = append(all, text), append(by[there[name]], text)
	}
	if diff := cmp.Diff(all, refs(r.All("K"))); diff != "" {
		t.Fatalf("all (-want +got):\n%s", diff)
	}
	for n, want := range by {
		i := number(strconv.Itoa(n))
		if diff := cmp.Diff(want, refs(r.Find(i))); diff != "" || r.Count(i) != len(want) {
			t.Fatalf("number %d: %d, (-want +got):\n%s", n, r.Count(i), diff)
		}
	}
}
