package firewall

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestForwardedIsCountedForWatchedTunnelsOnly(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	expect := func(want map[string]Traffic) {
		t.Helper()
		got, err := d.Forwarded(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("forwarded (-want +got):\n%s", diff)
		}
	}
	expect(nil)
	gateway := measured()
	gateway.Tunnels[0].Watched = true
	apply(t, d, gateway)
	k.forward("bgw1", false, 100)
	k.forward("bgw1", true, 50)
	k.forward("bgw1", true, 50)
	k.forward("bgw2", true, 7)
	want := map[string]Traffic{"bgw1": {In: Counters{1, 100}, Out: Counters{2, 100}}}
	expect(want)

	// What changes elsewhere leaves the counts alone.
	apply(t, d, open())
	expect(want)
	k.faults[forwardedFails] = true
	if got, err := d.Forwarded(t.Context()); err == nil {
		t.Errorf("no error, but %v", got)
	}

	gateway.Tunnels[0].Watched = false
	apply(t, d, gateway)
	expect(map[string]Traffic{})
}
