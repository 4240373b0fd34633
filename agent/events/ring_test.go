package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fill(r *Ring, n int) {
	for range n {
		r.Publish(&apiv1.HostEvent{Type: apiv1.EventAgentReady})
	}
}

func TestTheLastOnes(t *testing.T) {
	for _, tc := range []struct {
		published, last int
		want            []uint64
	}{
		{0, 5, nil}, {3, 0, nil}, {3, 2, []uint64{2, 3}}, {3, 99, []uint64{1, 2, 3}}, {4, 4, []uint64{1, 2, 3, 4}},
		{11, 99, []uint64{8, 9, 10, 11}}, {11, -1, nil},
	} {
		t.Run(fmt.Sprint(tc.published, " ", tc.last), func(t *testing.T) {
			r := New("gw-a", 4)
			fill(r, tc.published)
			var got []uint64
			err := r.Watch(t.Context(), tc.last, false, func(e *apiv1.HostEvent) error {
				if e.GetHost() != "gw-a" || e.GetTime() == nil || e.GetDropped() != 0 {
					t.Errorf("event %v", e)
				}
				got = append(got, e.GetSequence())
				return nil
			})
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("%v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New("gw-a", 4)
		fill(r, 2)
		var got []uint64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- r.Watch(ctx, 1, true, func(e *apiv1.HostEvent) error { got = append(got, e.GetSequence()); return nil })
		}()
		synctest.Wait()
		fill(r, 1)
		synctest.Wait()
		fill(r, 1)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !slices.Equal(got, []uint64{2, 3, 4}) {
			t.Errorf("%v, %v", got, err)
		}
		broken := errors.New("broken")
		if err := r.Watch(t.Context(), 1, true, func(*apiv1.HostEvent) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}

// TestASlowReaderLosesEventsAndIsTold: publishing takes no time, however slow a reader is.
func TestASlowReaderLosesEventsAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New("gw-a", 4)
		fill(r, 1)
		var got []string
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- r.Watch(ctx, 1, true, func(e *apiv1.HostEvent) error {
				got = append(got, fmt.Sprint(e.GetSequence(), " ", e.GetDropped()))
				time.Sleep(time.Minute) // The bubble's time.
				return nil
			})
		}()
		synctest.Wait()
		start := time.Now()
		fill(r, 10)
		if took := time.Since(start); took != 0 {
			t.Errorf("publishing took %v", took)
		}
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if want := []string{"1 0", "8 6", "9 0", "10 0", "11 0"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
