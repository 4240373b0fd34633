package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// well is a tunnel all of whose layers are as they should be.
func well() Layers {
	return Layers{
		AdminUp: true, Initiate: true,
		Charon: charon.State{Connected: true, Since: noon().Add(-time.Hour), Loaded: true, IKE: charon.IKEEstablished,
			Children: []charon.ChildSA{{UniqueID: 1, State: apiv1.ChildInstalled}}},
		Interface: link.InterfaceState{Name: "bgwx1", Exists: true, OperUp: true},
		Probe:     probe.State{State: probe.StatePassing},
	}
}

func TestJudge(t *testing.T) {
	noChild := func(l *Layers) { l.Charon.Children, l.Charon.IKE = nil, charon.IKEDown }
	fail := func(l *Layers, reason string, at time.Time) {
		noChild(l)
		l.Charon.LastFailure = charon.Failure{Reason: reason, Message: "peer said so", Time: at}
	}
	tests := []struct {
		name    string
		edit    func(*Layers)
		reason  string
		message string
	}{
		{name: "all is well", edit: func(*Layers) {}},
		{name: "admin state comes first", reason: apiv1.ReasonAdminDown, message: "adminState",
			edit: func(l *Layers) { l.AdminUp = false; l.Charon.Connected = false }},
		{name: "charon away, nothing known to be up", reason: apiv1.ReasonCharonUnavailable, message: "does not answer",
			edit: func(l *Layers) { noChild(l); l.Charon.Connected = false }},
		{name: "charon away for a moment keeps what the kernel has", edit: func(l *Layers) {
			l.Charon.Connected, l.Charon.Since, l.KernelCarries = false, noon().Add(-CharonHold/2), true
		}},
		{name: "charon away and the kernel's SAs gone with it", reason: apiv1.ReasonCharonUnavailable, message: "11:59:55",
			edit: func(l *Layers) { l.Charon.Connected, l.Charon.Since = false, noon().Add(-CharonHold/2) }},
		{name: "charon away for long", reason: apiv1.ReasonCharonUnavailable, message: "11:59:40", edit: func(l *Layers) {
			l.Charon.Connected, l.Charon.Since, l.KernelCarries = false, noon().Add(-2*CharonHold), true
		}},
		{name: "charon back without memory, the kernel carries on", edit: func(l *Layers) {
			noChild(l)
			l.Charon.Since, l.KernelCarries = noon().Add(-time.Second), true
		}},
		{name: "charon back without memory, and the peer refuses", reason: apiv1.ReasonAuthenticationFailed, message: "peer said so",
			edit: func(l *Layers) {
				fail(l, apiv1.ReasonAuthenticationFailed, noon())
				l.Charon.Since, l.KernelCarries = noon().Add(-time.Second), true
			}},
		{name: "charon back without memory for too long", reason: apiv1.ReasonConnecting, message: "negotiating", edit: func(l *Layers) {
			noChild(l)
			l.Charon.Since, l.KernelCarries = noon().Add(-2*CharonHold), true
		}},
		{name: "configuration refused", reason: apiv1.ReasonCharonRefused, message: "unknown option",
			edit: func(l *Layers) { noChild(l); l.Charon.LoadError = "unknown option: x" }},
		{name: "a refused change leaves the running SA", edit: func(l *Layers) { l.Charon.LoadError = "unknown option: x" }},
		{name: "failure after it was last up", reason: apiv1.ReasonDPDTimeout, message: "peer said so",
			edit: func(l *Layers) { fail(l, apiv1.ReasonDPDTimeout, noon().Add(-time.Second)) }},
		{name: "failure from before it was last up explains nothing", reason: apiv1.ReasonConnecting, message: "negotiating",
			edit: func(l *Layers) { fail(l, apiv1.ReasonAuthenticationFailed, noon().Add(-time.Hour)) }},
		{name: "IKE without a child yet", reason: apiv1.ReasonConnecting, message: "no CHILD_SA",
			edit: func(l *Layers) { l.Charon.Children = nil }},
		{name: "the customer has to begin", reason: apiv1.ReasonWaitingForPeer, message: "RESPOND",
			edit: func(l *Layers) { noChild(l); l.Initiate = false }},
		{name: "first attempt", reason: apiv1.ReasonConnecting, message: "negotiating",
			edit: func(l *Layers) { noChild(l); l.Charon.IKE = charon.IKEConnecting }},
		{name: "foreign interface", reason: apiv1.ReasonInterfaceConflict, message: "bgwx1 is not ours",
			edit: func(l *Layers) { l.InterfaceErr = fmt.Errorf("bgwx1 is not ours: %w", link.ErrConflict) }},
		{name: "interface not made", reason: apiv1.ReasonInterfaceDown, message: "no such device", edit: func(l *Layers) {
			l.Interface, l.InterfaceErr = link.InterfaceState{}, errors.New("eth0: no such device")
		}},
		{name: "interface missing", reason: apiv1.ReasonInterfaceDown, message: "does not exist",
			edit: func(l *Layers) { l.Interface = link.InterfaceState{} }},
		{name: "interface down", reason: apiv1.ReasonInterfaceDown, message: "bgwx1 is down",
			edit: func(l *Layers) { l.Interface.OperUp = false }},
		{name: "probe fails", reason: apiv1.ReasonProbeFailed, message: "answers no probes",
			edit: func(l *Layers) { l.Probe.State = probe.StateFailing }},
		{name: "a probe that was never answered does not count", edit: func(l *Layers) { l.Probe.State = probe.StateWaiting }},
		{name: "BGP does not decide", edit: func(l *Layers) { l.BGPWanted = true }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := well()
			test.edit(&l)
			got := Judge(l, Past{Up: true, LastUp: noon().Add(-time.Minute)}, noon())
			if got.Up != (test.reason == "") || got.Reason != test.reason || !strings.Contains(got.Message, test.message) {
				t.Errorf("got %+v, want reason %q and a message with %q", got, test.reason, test.message)
			}
			if got.Up && got.Message != "" {
				t.Errorf("a tunnel that is up needs no message: %q", got.Message)
			}
			if !got.Up && !slices.Contains(apiv1.TunnelReasons(), got.Reason) {
				t.Errorf("%q is not in the closed set of reasons", got.Reason)
			}
		})
	}
}

func TestTrackerRemembersSinceAndLog(t *testing.T) {
	now := noon()
	tr := NewTracker("gw-a", func() time.Time { return now })
	step := func(after time.Duration, edit func(*Layers), wantRunning, wantReason string, wantSince time.Time, wantChanged bool) {
		t.Helper()
		now = now.Add(after)
		l := well()
		edit(&l)
		st, changed := tr.Tunnel("t1", l)
		if st.GetRunning() != wantRunning || st.GetReason() != wantReason || !st.GetSince().AsTime().Equal(wantSince) || changed != wantChanged {
			t.Errorf("at %s: %s %q since %s changed %v; want %s %q since %s changed %v", now.Format(time.TimeOnly), st.GetRunning(),
				st.GetReason(), st.GetSince().AsTime().Format(time.TimeOnly), changed, wantRunning, wantReason,
				wantSince.Format(time.TimeOnly), wantChanged)
		}
	}
	ok := func(*Layers) {}
	gone := func(reason string) func(*Layers) {
		return func(l *Layers) {
			l.Charon.Children, l.Charon.IKE = nil, charon.IKEDown
			l.Charon.LastFailure = charon.Failure{Reason: reason, Message: "m", Time: now}
		}
	}
	start := now
	step(0, ok, "UP", "", start, true)
	step(time.Minute, ok, "UP", "", start, false)
	down := now.Add(time.Minute)
	step(time.Minute, gone(apiv1.ReasonDPDTimeout), "DOWN", apiv1.ReasonDPDTimeout, down, true)
	// Another reason is a change worth telling, but it is down since the same moment.
	step(time.Minute, gone(apiv1.ReasonPeerUnreachable), "DOWN", apiv1.ReasonPeerUnreachable, down, true)
	step(time.Minute, gone(apiv1.ReasonPeerUnreachable), "DOWN", apiv1.ReasonPeerUnreachable, down, false)
	step(time.Minute, ok, "UP", "", now.Add(time.Minute), true)

	// DOWN and UP again between two looks: it is UP since the second, and the log has both.
	blink := now.Add(time.Minute)
	step(2*time.Minute, func(l *Layers) {
		l.Charon.LastDown = blink
		l.Charon.LastFailure = charon.Failure{Reason: apiv1.ReasonNoProposalChosen, Message: "n", Time: blink}
	}, "UP", "", blink.Add(time.Minute), true)
	step(time.Minute, func(l *Layers) { l.Charon.LastDown = blink }, "UP", "", blink.Add(time.Minute), false)
	// Not so when charon has come back without memory and the kernel carried on meanwhile.
	step(time.Minute, func(l *Layers) { l.Charon.Since, l.Charon.LastDown = now.Add(-time.Second), now }, "UP", "", blink.Add(time.Minute), false)

	var lines []string
	for _, e := range tr.Logs("t1") {
		lines = append(lines, e.GetMessage())
	}
	want := []string{"running: UP", "running: DOWN DPD_TIMEOUT: m", "running: DOWN PEER_UNREACHABLE: m", "running: UP", "running: DOWN NO_PROPOSAL_CHOSEN: n",
		"running: UP"}
	if !slices.Equal(lines, want) {
		t.Errorf("log %q, want %q", lines, want)
	}
	for i := range 3 * logLength {
		tr.Log("t1", now, fmt.Sprint(i))
	}
	logs := tr.Logs("t1")
	if len(logs) != logLength || logs[logLength-1].GetMessage() != fmt.Sprint(3*logLength-1) {
		t.Errorf("log has %d entries, the last is %v", len(logs), logs[len(logs)-1])
	}
	tr.Keep(func(string) bool { return false }, func(string) bool { return false })
	if tr.Logs("t1") != nil {
		t.Error("a tunnel that is gone is still remembered")
	}
}

// TestOnlyWhatWasUpIsHeld: SAs that an earlier charon left do not make a tunnel UP.
func TestOnlyWhatWasUpIsHeld(t *testing.T) {
	l := well()
	l.Charon.Children, l.Charon.Since, l.KernelCarries = nil, noon(), true
	if got := Judge(l, Past{}, noon()); got.Up {
		t.Errorf("got %+v", got)
	}
}

func TestTrackerConnectionSince(t *testing.T) {
	now := noon()
	tr := NewTracker("gw-a", func() time.Time { return now })
	verdict := func(availability string, reasons ...string) time.Time {
		v := &apiv1.VPNConnectionStatus{Availability: availability, Reasons: reasons}
		tr.Connection("c", v)
		return v.GetSince().AsTime()
	}
	start := now
	if got := verdict(apiv1.HighlyAvailable); !got.Equal(start) {
		t.Errorf("since %s", got)
	}
	now = now.Add(time.Hour)
	if got := verdict(apiv1.HighlyAvailable); !got.Equal(start) {
		t.Errorf("unchanged verdict since %s", got)
	}
	if got := verdict(apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp); !got.Equal(now) {
		t.Errorf("changed verdict since %s", got)
	}
}
