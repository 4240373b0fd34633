package charon

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/google/go-cmp/cmp"
)

func TestFaultCharonKilled(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"), wanted("b"))
		b.pass(time.Minute)
		b.took()
		b.s.Kill()
		synctest.Wait()
		if diff := cmp.Diff([]string{"Disconnected"}, b.took(Disconnected, TunnelChanged, Resync)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		st := b.wantUp("a", 1)
		if st.Connected || !st.Since.Equal(time.Now()) || b.d.Connected() {
			t.Errorf("state %+v", st)
		}
		b.pass(time.Minute)
		b.s.Start()
		b.pass(6 * time.Second)
		if st := b.wantUp("a", 1); !st.Connected || !st.Loaded {
			t.Errorf("state %+v", st)
		}
		if len(b.s.Conns()) != 2 || len(b.s.Secrets()) != 2 {
			t.Errorf("charon has %v", b.s.Conns())
		}
		if got := b.took(Resync); len(got) != 1 {
			t.Errorf("events %v, want one Resync", got)
		}
	})
}

// An SA that ends by itself while it is being closed is as gone as was wanted.
func TestFaultSAEndsBeforeItIsClosed(t *testing.T) {
	for _, sas := range []int{1, 2} {
		inBubble(t, Options{}, func(s *charontest.Server) { s.Ends = func(string) bool { return true } }, func(b *bench) {
			b.apply("gw", wanted("a"))
			b.pass(time.Second)
			for range sas - 1 {
				b.s.PeerInitiates("bgw-a")
				b.pass(time.Second)
			}
			b.wantUp("a", sas)
			if r := b.apply("gw"); len(r.Errors) > 0 {
				t.Errorf("%d SAs: %v", sas, r.Errors)
			}
			b.pass(time.Second)
			b.wantUp("a", 0)
		})
	}
}

func TestFaultConnectionDropped(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		before := b.d.State("a")
		for range 5 {
			b.s.Disconnect()
			b.pass(time.Minute)
		}
		after := b.d.State("a")
		if diff := cmp.Diff(before.Children, after.Children); diff != "" || after.Establishments != 1 {
			t.Errorf("SAs disturbed, %d establishments: %s", after.Establishments, diff)
		}
		if n := b.count("initiate bgw-a"); n != 1 {
			t.Errorf("%d attempts", n)
		}
		if f := b.took(FailureSeen); len(f) > 0 {
			t.Errorf("failures %v", f)
		}
		if b.s.Sessions() != 1 {
			t.Errorf("%d connections to charon", b.s.Sessions())
		}
	})
}

func TestFaultEventsLost(t *testing.T) {
	var lossy atomic.Bool
	drop := func(s *charontest.Server) {
		s.Drop = func(event string, _ *vici.Message) bool { return lossy.Load() && event != "log" }
	}
	inBubble(t, Options{}, drop, func(b *bench) {
		tun := wanted("a")
		tun.Initiate = false
		b.apply("gw", tun, wanted("b"))
		lossy.Store(true)
		b.s.PeerInitiates("bgw-a")
		b.s.PeerCloses("bgw-b")
		b.pass(31 * time.Second)
		if st := b.wantUp("a", 1); st.Establishments != 1 {
			t.Errorf("%d establishments", st.Establishments)
		}
		// Initiated again, which only a listing shows.
		b.pass(31 * time.Second)
		if st := b.wantUp("b", 1); st.LastDown.IsZero() || !b.d.State("a").LastDown.IsZero() {
			t.Errorf("last down at %v", st.LastDown)
		}
		b.s.Lose("bgw-a")
		if err := b.d.Refresh(b.Context()); err != nil {
			t.Fatal(err)
		}
		b.wantUp("a", 0)
	})
}

func TestFaultConnectionRefusedUntilCharonIsReplaced(t *testing.T) {
	var picky atomic.Bool
	picky.Store(true)
	refuse := func(s *charontest.Server) {
		s.Refuse = func(string) string {
			if picky.Load() {
				return "invalid value for: esp_proposals, config discarded"
			}
			return ""
		}
	}
	inBubble(t, Options{}, refuse, func(b *bench) {
		if r := b.apply("gw", wanted("a")); r.Errors["a"] == nil {
			t.Error("no error")
		}
		b.pass(time.Minute)
		if n := b.count("initiate bgw-a"); n != 0 {
			t.Errorf("%d attempts for what is not loaded", n)
		}
		picky.Store(false)
		b.s.Kill()
		b.s.Start()
		b.pass(10 * time.Second)
		b.wantUp("a", 1)
	})
}

func TestConformanceDriverSevenSecondCommand(t *testing.T) {
	slow := func(s *charontest.Server) {
		s.Before = func(command string, _ *vici.Message) {
			if command == "load-conn" || command == "list-sas" {
				time.Sleep(7 * time.Second)
			}
		}
	}
	inBubble(t, Options{}, slow, func(b *bench) {
		b.pass(time.Minute)
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		b.wantUp("a", 1)
		if n := b.count("version"); n != 1 {
			t.Errorf("connected %d times", n)
		}
	})
}

func TestConformanceDriverHungCharon(t *testing.T) {
	var hung atomic.Bool
	release := make(chan struct{})
	hang := func(s *charontest.Server) {
		s.Before = func(string, *vici.Message) {
			if hung.Load() {
				<-release
			}
		}
	}
	synctestChannel(t, hang, &release, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Second)
		hung.Store(true)
		b.took()
		b.pass(2 * time.Minute)
		if b.d.Connected() {
			t.Error("a charon that answers nothing counts as connected")
		}
		if got := b.took(Disconnected); len(got) == 0 {
			t.Error("no Disconnected")
		}
		hung.Store(false)
		close(release)
		b.pass(2 * time.Minute)
		b.wantUp("a", 1)
		if !b.d.Connected() {
			t.Error("not connected again")
		}
	})
}

// synctestChannel is inBubble with a channel that is made inside the bubble.
func synctestChannel(t *testing.T, prepare func(*charontest.Server), c *chan struct{}, scenario func(*bench)) {
	inBubble(t, Options{}, func(s *charontest.Server) {
		*c = make(chan struct{})
		prepare(s)
	}, scenario)
}

func TestFaultRekeyings(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		b.took()
		first := b.wantUp("a", 1).Children[0].UniqueID
		b.s.Rekey("bgw-a", false)
		synctest.Wait()
		st := b.wantUp("a", 1)
		if st.Children[0].UniqueID == first || st.Rekeys != 1 {
			t.Errorf("after a rekeying: %+v", st)
		}
		// Both ends at once: one of the two new SAs does not exist.
		b.s.Rekey("bgw-a", true)
		b.pass(3 * time.Second)
		if st := b.wantUp("a", 1); st.Rekeys != 2 {
			t.Errorf("%d rekeyings", st.Rekeys)
		}
		ike := b.d.State("a").Children[0].IKEUniqueID
		b.s.RekeyIKE("bgw-a")
		b.pass(time.Minute)
		if st := b.wantUp("a", 1); st.Children[0].IKEUniqueID == ike || st.Establishments != 1 {
			t.Errorf("after an IKE rekeying: %+v", st)
		}
		if got := b.took(FailureSeen); len(got) > 0 {
			t.Errorf("rekeying reported as %v", got)
		}
		if n := b.count("initiate bgw-a"); n != 1 {
			t.Errorf("%d attempts", n)
		}
	})
}

// IKEv1 moves CHILD_SAs to a new IKE_SA without an event: whether a listing comes in between or not, the tunnel stays up all the time.
func TestFaultReauthenticationV1(t *testing.T) {
	for _, listed := range []bool{true, false} {
		inBubble(t, Options{}, nil, func(b *bench) {
			v1 := wanted("a")
			v1.Version, v1.IKEProposals = 1, []string{"aes256-sha256-modp2048"}
			b.apply("gw", v1)
			b.pass(20 * time.Second)
			b.took()
			first := b.wantUp("a", 1).Children[0]
			finish := b.s.ReauthenticateV1("bgw-a")
			if listed {
				if err := b.d.Refresh(b.Context()); err != nil {
					t.Fatal(err)
				}
				b.wantUp("a", 1)
			}
			finish()
			b.pass(time.Minute)
			if st := b.wantUp("a", 1); st.Children[0].UniqueID != first.UniqueID || st.Children[0].IKEUniqueID == first.IKEUniqueID || st.Establishments != 1 {
				t.Errorf("listed %v: %+v became %+v", listed, first, st)
			}
			if n := b.count("initiate bgw-a"); n != 1 || len(b.took(FailureSeen)) > 0 {
				t.Errorf("listed %v: %d attempts", listed, n)
			}
			b.s.PeerCloses("bgw-a")
			synctest.Wait()
			if st := b.d.State("a"); st.Failures["CLOSED_BY_PEER"] != 1 {
				t.Errorf("listed %v: the end of the new IKE_SA was missed: %+v", listed, st)
			}
		})
	}
}

func TestTrafficNeverGoesBack(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		total := uint64(0)
		for i := range 5 {
			b.s.Carry("bgw-a", 1000)
			total += 1000
			switch i {
			case 1:
				b.s.Rekey("bgw-a", false)
			case 3:
				b.s.PeerCloses("bgw-a")
			}
			if err := b.d.Refresh(b.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if st := b.d.State("a"); st.Traffic.BytesIn != total || st.Traffic.PacketsOut != total/100 {
				t.Errorf("step %d: %+v, want %d bytes", i, st.Traffic, total)
			}
		}
	})
}

// Before charon knows which connection a peer means, its log lines have no name.
func TestResponderFailuresFindTheirTunnel(t *testing.T) {
	stranger := func(b *bench, id int, lines ...string) {
		for _, line := range lines {
			b.s.Push("log", new(vici.Message).Set("group", "IKE").Set("level", "1").Set("ikesa-name", "(unnamed)").
				Set("ikesa-uniqueid", fmt.Sprint(id)).Set("msg", line))
		}
		synctest.Wait()
	}
	inBubble(t, Options{}, nil, func(b *bench) {
		one, two, three := wanted("one"), wanted("two"), wanted("three")
		two.Remote, two.RemoteID = netip.MustParseAddr("192.0.2.22"), "192.0.2.22"
		three.Remote, three.RemoteID, three.Local = two.Remote, "three.example", netip.MustParseAddr("192.0.2.3")
		one.Initiate, two.Initiate, three.Initiate = false, false, false
		b.apply("gw", one, two, three)
		b.took()
		stranger(b, 71, "192.0.2.2 is initiating an IKE_SA", "received proposals: IKE:AES_CBC_128/MODP_2048",
			"configured proposals: IKE:AES_GCM_16_256/ECP_384", "received proposals unacceptable")
		st := b.d.State("one")
		if st.LastFailure.Reason != diagnose.NoProposalChosen || !strings.Contains(st.LastFailure.Message, "peer offers IKE:AES_CBC_128") {
			t.Errorf("last failure %+v", st.LastFailure)
		}
		// Two tunnels to the same peer are told apart by our address.
		stranger(b, 72, "192.0.2.22 is initiating an IKE_SA", "looking for peer configs matching 192.0.2.3[192.0.2.3]...192.0.2.22[who.example]",
			"no matching peer config found")
		if st := b.d.State("three"); st.LastFailure.Reason != diagnose.AuthenticationFailed || !strings.Contains(st.LastFailure.Message, "who.example") {
			t.Errorf("last failure %+v", st.LastFailure)
		}
		stranger(b, 73, "198.51.100.9 is initiating an IKE_SA", "received proposals unacceptable")
		stranger(b, 74, "192.0.2.22 is initiating an IKE_SA", "received proposals unacceptable")
		want := []string{"FailureSeen one NO_PROPOSAL_CHOSEN", "FailureSeen three AUTHENTICATION_FAILED"}
		if diff := cmp.Diff(want, b.took(FailureSeen)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAlertsAndLogAreOneFailure(t *testing.T) {
	newer := func(s *charontest.Server) { s.Version = "6.0.3" }
	inBubble(t, Options{}, newer, func(b *bench) {
		tun := wanted("a")
		tun.Initiate = false
		b.apply("gw", tun)
		b.took()
		sa := new(vici.Message).Set("uniqueid", "77").Set("state", "CONNECTING").Set("local-host", "192.0.2.1").Set("remote-host", "192.0.2.2")
		b.s.Push("alert", new(vici.Message).Set("type", "proposal-mismatch-ike").
			SetSection("ike-sa", new(vici.Message).SetSection("(unnamed)", sa)))
		b.s.Push("log", new(vici.Message).Set("ikesa-name", "(unnamed)").Set("ikesa-uniqueid", "77").Set("msg", "received proposals unacceptable"))
		synctest.Wait()
		st := b.d.State("a")
		if st.Failures[diagnose.NoProposalChosen] != 1 || len(st.Failures) != 1 || !strings.Contains(st.LastFailure.Message, "received proposals") {
			t.Errorf("failures %v, last %+v", st.Failures, st.LastFailure)
		}
		if got := b.took(FailureSeen); len(got) != 1 {
			t.Errorf("announced %v", got)
		}
	})
}
