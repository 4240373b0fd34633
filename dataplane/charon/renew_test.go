package charon

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/google/go-cmp/cmp"
)

// kinds are the commands sent since the last call, without arguments that vary.
func (b *bench) kinds() []string {
	var out []string
	for _, c := range b.sent() {
		verb, object, _ := strings.Cut(c, " ")
		if strings.Contains(object, "=") {
			c = verb
		}
		out = append(out, c)
	}
	return out
}

func TestRenegotiateMakesBeforeItBreaks(t *testing.T) {
	for _, version := range []int{1, 2} {
		inBubble(t, Options{}, nil, func(b *bench) {
			tun := wanted("a")
			tun.Version = version
			b.apply("gw", tun)
			b.pass(time.Minute)
			old := b.wantUp("a", 1).Children[0].UniqueID
			b.sent()
			b.d.Renegotiate("a", "test")
			b.d.Renegotiate("a", "said twice")
			b.pass(0)
			b.wantUp("a", 2)
			b.pass(5 * time.Second)
			if diff := cmp.Diff([]string{"load-conn bgw-a", "initiate bgw-a", "terminate"}, b.kinds()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			st := b.wantUp("a", 1)
			if st.Children[0].UniqueID == old || st.Renegotiations != 1 {
				t.Errorf("not replaced: %+v", st)
			}
			b.d.Trust("a")
			b.pass(time.Hour)
			if sent := b.sent(); len(sent) > 0 {
				t.Errorf("trusted, and yet %q", sent)
			}
		})
	}
}

// What does not help is done again, less and less often; what helps ends it.
func TestRenegotiateBacksOff(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		b.d.Renegotiate("a", "test")
		b.pass(time.Hour)
		n := b.count("initiate bgw-a") - 1
		if n < 12 || n > 35 {
			t.Errorf("%d renegotiations in an hour", n)
		}
		b.d.Trust("a")
		b.pass(10 * time.Second)
		b.wantUp("a", 1)
		// Trusted for a moment only: the back-off goes on.
		b.d.Renegotiate("a", "test")
		b.pass(10 * time.Second)
		if got := b.count("initiate bgw-a") - 1; got > n+1 {
			t.Errorf("%d renegotiations at once", got-n)
		}
		b.d.Trust("a")
		b.pass(10 * time.Minute)
		n = b.count("initiate bgw-a")
		b.d.Renegotiate("a", "test")
		b.pass(0)
		if got := b.count("initiate bgw-a"); got != n+1 {
			t.Errorf("%d at once after a long good time", got-n)
		}
	})
}

// While the peer refuses or is silent the old SAs stay, and one attempt is in flight at most.
func TestRenegotiateKeepsOldWhileNewFails(t *testing.T) {
	for _, outcome := range []charontest.Outcome{charontest.BadKey, charontest.BadChild, charontest.Silent, charontest.Hang, charontest.Vanish} {
		var refuse atomic.Bool
		peer := func(s *charontest.Server) {
			s.Peer = func(string, int) charontest.Outcome {
				if refuse.Load() {
					return outcome
				}
				return charontest.Up
			}
		}
		inBubble(t, Options{}, peer, func(b *bench) {
			b.apply("gw", wanted("a"))
			b.pass(time.Minute)
			old := b.wantUp("a", 1).Children[0].UniqueID
			refuse.Store(true)
			b.d.Renegotiate("a", "test")
			for range 600 {
				b.pass(time.Second)
				if ikes, children := b.s.SAs("bgw-a"); ikes > 2 || children != 1 {
					t.Fatalf("outcome %d: %d IKE_SAs, %d CHILD_SAs", outcome, ikes, children)
				}
			}
			if got := b.wantUp("a", 1).Children[0].UniqueID; got != old {
				t.Errorf("outcome %d: the old SA is gone", outcome)
			}
			if n := b.count("initiate bgw-a") - 1; n < 9 || n > 45 {
				t.Errorf("outcome %d: %d attempts in ten minutes", outcome, n)
			}
			// Packets come through again before the peer is willing: nothing more is done.
			b.d.Trust("a")
			b.pass(40 * time.Second)
			b.sent()
			b.pass(time.Hour)
			if sent := b.sent(); len(sent) > 0 {
				t.Errorf("outcome %d: trusted, and yet %q", outcome, sent)
			}
			b.d.Renegotiate("a", "test")
			refuse.Store(false)
			b.pass(time.Minute)
			b.d.Trust("a")
			b.pass(10 * time.Second)
			if got := b.wantUp("a", 1).Children[0].UniqueID; got == old {
				t.Errorf("outcome %d: the old SA is still there", outcome)
			}
		})
	}
}

func TestRenegotiateWherePeerBegins(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		tun := wanted("a")
		tun.Initiate = false
		b.apply("gw", tun)
		b.s.PeerInitiates("bgw-a")
		b.pass(time.Minute)
		b.sent()
		b.d.Renegotiate("a", "test")
		b.pass(0)
		if diff := cmp.Diff([]string{"rekey"}, b.kinds()); diff != "" {
			t.Errorf("first (-want +got):\n%s", diff)
		}
		b.wantUp("a", 1)
		b.pass(20 * time.Second)
		if diff := cmp.Diff([]string{"terminate bgw-a"}, b.kinds()); diff != "" {
			t.Errorf("then (-want +got):\n%s", diff)
		}
		if st := b.wantUp("a", 0); st.LastFailure.Reason != "" {
			t.Errorf("our own doing is a failure: %+v", st.LastFailure)
		}
		b.pass(time.Minute)
		if sent := b.sent(); len(sent) > 0 {
			t.Errorf("%q", sent)
		}
	})
}

// A peer that dies while its SAs are in doubt is a dead peer, and the attempt in flight is not taken for over.
func TestRenegotiateDeadPeer(t *testing.T) {
	var dead atomic.Bool
	peer := func(s *charontest.Server) {
		s.Peer = func(string, int) charontest.Outcome {
			if dead.Load() {
				return charontest.Hang
			}
			return charontest.Up
		}
	}
	inBubble(t, Options{}, peer, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		dead.Store(true)
		b.d.Renegotiate("a", "test")
		b.pass(10 * time.Second)
		n := b.count("initiate bgw-a")
		b.s.PeerDies("bgw-a")
		b.pass(time.Second)
		if st := b.wantUp("a", 0); st.LastFailure.Reason != diagnose.DPDTimeout {
			t.Errorf("last failure %+v", st.LastFailure)
		}
		if got := b.count("initiate bgw-a"); got != n {
			t.Errorf("%d more attempts beside the one in flight", got-n)
		}
	})
}

// SAs that an earlier agent made may have the generation that this one loads: charon then refuses the duplicate, and the next one is taken.
func TestRenegotiateAfterRestart(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		b.d.Renegotiate("a", "test")
		b.pass(time.Minute)
		b.d.Trust("a")
		// charon has generation 1 and SAs of it; the new driver loads 0 and goes to 1.
		d := New(Options{Dial: b.s.Dial})
		second := &bench{T: b.T, s: b.s, d: d}
		stop := second.run()
		second.apply("gw", wanted("a"))
		old := second.wantUp("a", 1).Children[0].UniqueID
		d.Renegotiate("a", "test")
		b.pass(20 * time.Second)
		d.Trust("a")
		b.pass(10 * time.Second)
		if got := second.wantUp("a", 1).Children[0].UniqueID; got == old {
			t.Error("not replaced")
		}
		stop()
	})
}

// When both ends set up an SA at the same time, charon's policy may lead to the wrong one: the survivor is rekeyed at once.
func TestSuspiciousPolicyIsRewritten(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Second)
		ike, _ := b.s.PeerInitiates("bgw-a")
		b.pass(time.Second)
		b.wantUp("a", 2)
		b.sent()
		b.s.Log("bgw-a", ike, suspicious)
		b.pass(time.Second)
		if diff := cmp.Diff([]string{"rekey"}, b.kinds()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		b.pass(10 * time.Minute)
		b.wantUp("a", 1)
		if sent := b.kinds(); slices.Contains(sent, "rekey") || len(sent) != 1 {
			t.Errorf("afterwards %q", sent)
		}
	})
	// Alone it means nothing: a killed charon's policies are found again.
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Second)
		b.sent()
		b.s.Log("bgw-a", 1, suspicious)
		b.pass(time.Hour)
		if sent := b.sent(); len(sent) > 0 {
			t.Errorf("%q", sent)
		}
	})
}

// The duplicates are closed only after the survivor was rekeyed, and an unwilling peer does not hold that up for ever.
func TestDuplicatesAreClosedAfterARekey(t *testing.T) {
	for _, willing := range []bool{true, false} {
		prepare := func(s *charontest.Server) {
			s.Before = func(command string, in *vici.Message) {
				if command == "rekey" && !willing {
					in.Set("child-id", "4000000000")
				}
			}
		}
		inBubble(t, Options{}, prepare, func(b *bench) {
			b.apply("gw", wanted("a"))
			b.s.PeerInitiates("bgw-a")
			b.pass(time.Second)
			b.sent()
			b.pass(2 * time.Minute)
			if diff := cmp.Diff([]string{"rekey", "terminate"}, b.kinds()); diff != "" {
				t.Errorf("willing %v (-want +got):\n%s", willing, diff)
			}
			b.wantUp("a", 1)
		})
	}
}
