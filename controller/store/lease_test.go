package store_test

import (
	"errors"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

func TestLeases(t *testing.T) {
	endpoint := storetest.Start(t)
	s, other := open(t, storetest.Client(t, endpoint)), open(t, storetest.Client(t, endpoint))
	sub := other.Subscribe()
	defer sub.Close()
	lease, err := s.Grant(t.Context(), 900*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	ref := store.Ref{Kind: "K", Name: "leased"}
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error { tx.PutLeased(ref, &apiv1.Stored{}, lease); return nil }); err != nil {
		t.Fatal(err)
	}
	put(t, s, "stays", 1)
	there := func(x *store.Store) (yes bool) {
		x.View(func(r store.Reader) { yes = r.Get(ref) != nil })
		return yes
	}
	if !there(s) {
		t.Error("what is under a lease is not there")
	}
	if err := s.Renew(t.Context(), lease); err != nil {
		t.Errorf("renew: %v", err)
	}
	// Seen by another controller, which comes to know of the record later than the writer.
	gone := func() {
		t.Helper()
		if err := other.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for deadline := time.After(30 * time.Second); there(other); sub.Take() {
			select {
			case <-sub.Wake():
			case <-deadline:
				t.Fatal("the lease does not end")
			}
		}
	}
	gone()
	if err := s.Renew(t.Context(), lease); !errors.Is(err, store.ErrLeaseEnded) {
		t.Errorf("renew: %v", err)
	}
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error { tx.PutLeased(ref, &apiv1.Stored{}, lease); return nil }); !errors.Is(err, store.ErrLeaseEnded) {
		t.Errorf("put under a lease that has ended: %v", err)
	}
	if lease, err = s.Grant(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error { tx.PutLeased(ref, &apiv1.Stored{}, lease); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Revoke(t.Context(), lease), s.Revoke(t.Context(), lease)); err != nil {
		t.Errorf("revoke: %v", err)
	}
	gone()
	// The record may be made anew, and writes go on: the end of the lease is seen as a change like any other.
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error { tx.Put(ref, &apiv1.Stored{}); return nil }); err != nil || !there(s) {
		t.Errorf("put again: %v", err)
	}
	put(t, s, "new", 3)
}
