//go:build lab

package charon

import (
	"slices"
	"testing"

	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/internal/secret"
)

// TestConformanceRealAlerts takes the log away, so that alerts alone have to say that the keys differ. A charon that has none is asked
// for them, says no, and the log does it (TestConformanceRealReasons).
func TestConformanceRealAlerts(t *testing.T) {
	a, b := newHosts(t)
	for _, h := range []*host{a, b} {
		h.only = slices.DeleteFunc(wantedEvents(), func(name string) bool { return name == "log" })
		h.drive()
	}
	can, _ := a.d.Capabilities()
	a.d.mu.Lock()
	want := a.d.can.version.atLeast(6, 0, 3)
	a.d.mu.Unlock()
	t.Logf("charon %s, alerts %v", can.Version, can.Alerts)
	if can.Alerts != want {
		t.Fatalf("charon %s has alerts: %v", can.Version, can.Alerts)
	}
	if !can.Alerts {
		return
	}
	x, y := a.tunnel(b), b.tunnel(a)
	y.Initiate, y.PSK = false, secret.New("another-one")
	b.apply(y)
	a.apply(x)
	for _, h := range []*host{a, b} {
		st := h.until("t", "failed", func(st State) bool { return len(st.Failures) > 0 })
		if st.LastFailure.Reason != diagnose.AuthenticationFailed {
			t.Errorf("%s says %+v", h.netns, st.LastFailure)
		}
	}
}
