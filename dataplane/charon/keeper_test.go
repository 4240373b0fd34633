package charon

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/google/go-cmp/cmp"
)

func peers(outcome charontest.Outcome) func(*charontest.Server) {
	return func(s *charontest.Server) { s.Peer = func(string, int) charontest.Outcome { return outcome } }
}

func TestKeeperRetriesWithReason(t *testing.T) {
	tests := []struct {
		outcome charontest.Outcome
		reason  string
		// attempts within ten minutes.
		min, max int
	}{
		{charontest.BadKey, diagnose.AuthenticationFailed, 20, 45},
		{charontest.BadChild, diagnose.TrafficSelectorsUnacceptable, 20, 45},
		{charontest.Silent, diagnose.PeerUnreachable, 20, 45},
		{charontest.Vanish, diagnose.PeerUnreachable, 12, 30},
		{charontest.Hang, diagnose.PeerUnreachable, 11, 20},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.outcome), func(t *testing.T) {
			inBubble(t, Options{}, peers(tt.outcome), func(b *bench) {
				b.apply("gw", wanted("a"))
				b.pass(10 * time.Minute)
				st := b.wantUp("a", 0)
				n := b.count("initiate bgw-a")
				if n < tt.min || n > tt.max {
					t.Errorf("%d attempts in ten minutes, want %d to %d", n, tt.min, tt.max)
				}
				failures := st.Failures[tt.reason]
				if len(st.Failures) != 1 || failures < uint64(n-1) || failures > uint64(n) || st.LastFailure.Reason != tt.reason || st.LastFailure.Message == "" {
					t.Errorf("%d attempts, failures %v, last %+v", n, st.Failures, st.LastFailure)
				}
				if got := len(b.took(FailureSeen)); got != int(failures) {
					t.Errorf("%d failures announced, %d counted", got, failures)
				}
				if ikes, _ := b.s.SAs("bgw-a"); ikes > 1 {
					t.Errorf("%d IKE_SAs pile up", ikes)
				}
			})
		})
	}
}

func TestKeeperFirstAttemptIsImmediateAndSuccessEndsBackoff(t *testing.T) {
	var willing atomic.Bool
	peer := func(s *charontest.Server) {
		s.Peer = func(string, int) charontest.Outcome {
			if willing.Load() {
				return charontest.Up
			}
			return charontest.BadKey
		}
	}
	inBubble(t, Options{}, peer, func(b *bench) {
		b.apply("gw", wanted("a"))
		if n := b.count("initiate bgw-a"); n != 1 {
			t.Errorf("%d attempts at once, want 1", n)
		}
		b.pass(5 * time.Minute)
		willing.Store(true)
		b.pass(31 * time.Second)
		b.wantUp("a", 1)
		b.pass(time.Minute)
		n := b.count("initiate bgw-a")
		// Closed after it was up for a while: tried again at once, in spite of all failures before.
		b.s.PeerCloses("bgw-a")
		b.pass(0)
		if got := b.count("initiate bgw-a"); got != n+1 {
			t.Errorf("%d attempts after the peer closed, want %d", got, n+1)
		}
		st := b.wantUp("a", 1)
		if st.LastFailure.Reason != diagnose.ClosedByPeer {
			t.Errorf("last failure %+v", st.LastFailure)
		}
		// A tunnel that flaps is not initiated without pause.
		for range 20 {
			b.s.PeerCloses("bgw-a")
			b.pass(time.Second)
		}
		if got := b.count("initiate bgw-a"); got > n+10 {
			t.Errorf("%d attempts in 20 s for a flapping tunnel", got-n)
		}
	})
}

func TestKeeperDeadPeer(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		b.took()
		b.s.PeerDies("bgw-a")
		b.pass(0)
		if diff := cmp.Diff([]string{"FailureSeen a DPD_TIMEOUT"}, b.took(FailureSeen)); diff != "" {
			t.Error(diff)
		}
		b.wantUp("a", 1)
	})
}

func TestKeeperRefusedInitiate(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		// Somebody else unloads it.
		b.unload("bgw-a")
		b.s.PeerCloses("bgw-a")
		b.pass(time.Second)
		if st := b.wantUp("a", 0); st.LastFailure.Reason != diagnose.CharonRefused {
			t.Errorf("last failure %+v", st.LastFailure)
		}
	})
}

// A charon that was built without IKEv1 takes such a connection and refuses to begin.
func TestKeeperRefusedInitiateOfIKEv1(t *testing.T) {
	for version, hint := range map[string]bool{"6.0.6": false, "6.1.0": true} {
		t.Run(version, func(t *testing.T) {
			inBubble(t, Options{}, func(s *charontest.Server) { s.Version = version }, func(b *bench) {
				tun := wanted("a")
				tun.Version = 1
				b.apply("gw", tun)
				b.pass(time.Minute)
				b.unload("bgw-a")
				b.s.PeerCloses("bgw-a")
				b.pass(time.Second)
				st := b.wantUp("a", 0)
				if st.LastFailure.Reason != diagnose.CharonRefused || strings.Contains(st.LastFailure.Message, "without IKEv1") != hint {
					t.Errorf("last failure %+v", st.LastFailure)
				}
			})
		})
	}
}

func TestKeeperOnlyWaitsWhereThePeerInitiates(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		tun := wanted("a")
		tun.Initiate = false
		b.apply("gw", tun)
		b.pass(time.Hour)
		if n := b.count("initiate bgw-a"); n != 0 {
			t.Errorf("initiated %d times", n)
		}
		b.s.PeerInitiates("bgw-a")
		b.pass(time.Second)
		b.wantUp("a", 1)
	})
}

func TestKeeperLimitsAttemptsPerSecond(t *testing.T) {
	inBubble(t, Options{AttemptsPerSecond: 50}, nil, func(b *bench) {
		var set []Tunnel
		for i := range 200 {
			set = append(set, wanted(fmt.Sprintf("t%d", i)))
		}
		b.apply("gw", set...)
		attempts := func() int {
			return len(slices.DeleteFunc(b.s.Commands(), func(c string) bool { return !strings.HasPrefix(c, "initiate") }))
		}
		b.pass(time.Second)
		if n := attempts(); n < 50 || n > 52 {
			t.Errorf("%d attempts in a second", n)
		}
		b.pass(3 * time.Second)
		if n := attempts(); n != 200 {
			t.Errorf("%d attempts in four seconds", n)
		}
	})
}

func TestKeeperAdoptsWhatIsThere(t *testing.T) {
	there := func(s *charontest.Server) {
		s.Adopt(100, func(i int) string { return fmt.Sprintf("bgw-t%d", i) }, 7)
	}
	inBubble(t, Options{}, there, func(b *bench) {
		var set []Tunnel
		for i := range 100 {
			set = append(set, wanted(fmt.Sprintf("t%d", i)))
		}
		before := b.wantUp("t42", 1)
		b.apply("gw", set...)
		b.pass(time.Hour)
		for _, c := range b.sent() {
			if strings.HasPrefix(c, "initiate") || strings.HasPrefix(c, "terminate") {
				t.Fatalf("adopted SAs disturbed: %s", c)
			}
		}
		st := b.wantUp("t42", 1)
		if diff := cmp.Diff(before.Children, st.Children); diff != "" {
			t.Error(diff)
		}
		if st.Establishments != 0 {
			t.Error("an SA from before counts as established by us")
		}
		b.s.PeerDies("bgw-t42")
		b.pass(0)
		if st := b.wantUp("t42", 1); st.LastFailure.Reason != diagnose.DPDTimeout {
			t.Errorf("last failure %+v", st.LastFailure)
		}
	})
}

func TestKeeperReplacesAdoptedSAOfAnotherInterface(t *testing.T) {
	there := func(s *charontest.Server) { s.Adopt(1, func(int) string { return "bgw-a" }, 8) }
	inBubble(t, Options{}, there, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		if st := b.wantUp("a", 1); st.Children[0].IfID != 7 {
			t.Errorf("if_id %d", st.Children[0].IfID)
		}
	})
}

func TestKeeperRemovesDuplicates(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.s.PeerInitiates("bgw-a")
		b.pass(30 * time.Second)
		b.wantUp("a", 2)
		b.pass(40 * time.Second)
		b.wantUp("a", 1)
		if f := b.took(FailureSeen); len(f) > 0 {
			t.Errorf("reported %v", f)
		}
		b.pass(time.Hour)
		b.wantUp("a", 1)
		if n := b.count("initiate bgw-a"); n != 1 {
			t.Errorf("initiated %d times", n)
		}
	})
}

// A peer that brings the duplicate back is left with it for longer each time.
func TestKeeperGivesInToAStubbornPeer(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		for _, grace := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
			b.s.PeerInitiates("bgw-a")
			b.pass(grace - 10*time.Second)
			b.wantUp("a", 2)
			// Half as long again where the survivor is the peer's, and what a rekeying takes.
			b.pass(grace/2 + 20*time.Second)
			b.wantUp("a", 1)
		}
		// The patience ends with the tunnel.
		b.s.PeerCloses("bgw-a")
		b.pass(time.Minute)
		b.s.PeerInitiates("bgw-a")
		b.pass(110 * time.Second)
		b.wantUp("a", 1)
	})
}
