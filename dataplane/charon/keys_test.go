package charon

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/secret"
	"github.com/google/go-cmp/cmp"
)

// keyed is a bench whose peer has only the key in the returned value.
func keyed(t *testing.T, initiate bool, scenario func(b *bench, peer *atomic.Value, tun Tunnel)) {
	t.Helper()
	var key atomic.Value
	key.Store("open-sesame")
	prepare := func(s *charontest.Server) { s.PeerKey = func(string) string { return key.Load().(string) } }
	inBubble(t, Options{}, prepare, func(b *bench) {
		tun := wanted("a")
		tun.Initiate = initiate
		b.apply("gw", tun)
		if !initiate {
			b.s.PeerInitiates("bgw-a")
		}
		b.pass(time.Minute)
		b.wantUp("a", 1)
		b.sent()
		scenario(b, &key, tun)
	})
}

// keys returns the ids of the keys in charon, sorted.
func (b *bench) keys() []string {
	var out []string
	for id := range b.s.Secrets() {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// wantKept fails when the SA is not the one that was there.
func (b *bench) wantKept(id uint32) {
	b.Helper()
	if st := b.wantUp("a", 1); len(st.Children) == 1 && st.Children[0].UniqueID != id {
		b.Errorf("SA %d was replaced by %d", id, st.Children[0].UniqueID)
	}
}

func TestKeyRotationPeerFirst(t *testing.T) {
	keyed(t, true, func(b *bench, peer *atomic.Value, tun Tunnel) {
		old := b.wantUp("a", 1).Children[0].UniqueID
		peer.Store("another-key")
		b.pass(time.Minute)
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(5 * time.Second)
		st := b.wantUp("a", 1)
		if st.Children[0].UniqueID == old || !st.KeyPending.IsZero() || len(st.Failures) > 0 {
			t.Errorf("not rotated: %+v", st)
		}
		if diff := cmp.Diff([]string{"bgw-a", "bgw-a.former"}, b.keys()); diff != "" {
			t.Errorf("during the overlap (-want +got):\n%s", diff)
		}
		b.pass(11 * time.Minute)
		if diff := cmp.Diff([]string{"bgw-a"}, b.keys()); diff != "" {
			t.Errorf("after the overlap (-want +got):\n%s", diff)
		}
		b.sent()
		b.pass(time.Hour)
		if sent := b.sent(); len(sent) > 0 {
			t.Errorf("afterwards %q", sent)
		}
	})
}

// The cloud changes first: the old SA stays as long as it takes, and a peer that begins with the old key meanwhile is welcome.
func TestKeyRotationCloudFirst(t *testing.T) {
	keyed(t, true, func(b *bench, peer *atomic.Value, tun Tunnel) {
		old := b.wantUp("a", 1).Children[0].UniqueID
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(10 * time.Minute)
		b.wantKept(old)
		st := b.d.State("a")
		if st.KeyPending.IsZero() || st.Failures["AUTHENTICATION_FAILED"] == 0 {
			t.Errorf("nothing tells: %+v", st)
		}
		n := b.count("initiate bgw-a") - 1
		if n < 15 || n > 45 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if ike, _ := b.s.PeerInitiates("bgw-a"); ike == 0 {
			t.Error("the peer cannot begin with the old key")
		}
		b.pass(time.Second)
		peer.Store("another-key")
		// The longest back-off, twice if the generations are through, and what closing takes.
		b.pass(70 * time.Second)
		st = b.wantUp("a", 1)
		if !st.KeyPending.IsZero() || st.Children[0].UniqueID == old {
			t.Errorf("not rotated: %+v", st)
		}
		b.pass(11 * time.Minute)
		if diff := cmp.Diff([]string{"bgw-a"}, b.keys()); diff != "" {
			t.Errorf("after the overlap (-want +got):\n%s", diff)
		}
	})
}

// Without SAs in force attempts take turns, so that the tunnel comes up with whichever key the peer has.
func TestKeyRotationWhileDown(t *testing.T) {
	keyed(t, true, func(b *bench, peer *atomic.Value, tun Tunnel) {
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(time.Second)
		b.s.PeerCloses("bgw-a")
		b.pass(time.Minute)
		if st := b.wantUp("a", 1); st.KeyPending.IsZero() {
			t.Error("the former key counts as the new one")
		}
		peer.Store("another-key")
		b.s.PeerCloses("bgw-a")
		b.pass(time.Minute)
		if st := b.wantUp("a", 1); !st.KeyPending.IsZero() {
			t.Error("the new key is still waited for")
		}
	})
}

func TestKeyRotationWherePeerBegins(t *testing.T) {
	keyed(t, false, func(b *bench, peer *atomic.Value, tun Tunnel) {
		old := b.wantUp("a", 1).Children[0].UniqueID
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(time.Hour)
		b.wantKept(old)
		b.s.PeerCloses("bgw-a")
		b.pass(time.Minute)
		if ike, _ := b.s.PeerInitiates("bgw-a"); ike == 0 {
			t.Fatal("the peer cannot begin with the old key")
		}
		b.pass(time.Second)
		peer.Store("another-key")
		for range 2 {
			b.s.PeerInitiates("bgw-a")
			b.pass(10 * time.Second)
		}
		if st := b.d.State("a"); !st.KeyPending.IsZero() {
			t.Errorf("the new key is still waited for: %+v", st)
		}
		if n := b.count("initiate bgw-a"); n != 0 {
			t.Errorf("initiated %d times", n)
		}
	})
}

// Back to the former key before the peer ever had the new one; and a second new key instead of the first.
func TestKeyRotationChangesItsMind(t *testing.T) {
	for _, last := range []string{"open-sesame", "third-key"} {
		keyed(t, true, func(b *bench, peer *atomic.Value, tun Tunnel) {
			tun.PSK = secret.New("another-key")
			b.apply("gw", tun)
			b.pass(time.Minute)
			tun.PSK = secret.New(last)
			b.apply("gw", tun)
			b.pass(time.Minute)
			st := b.wantUp("a", 1)
			if pending := last != "open-sesame"; st.KeyPending.IsZero() == pending {
				t.Errorf("pending %v: %+v", pending, st)
			}
			if ike, _ := b.s.PeerInitiates("bgw-a"); ike == 0 {
				t.Error("the peer cannot begin with the key it has")
			}
			peer.Store(last)
			b.pass(3 * time.Minute)
			if st := b.wantUp("a", 1); !st.KeyPending.IsZero() {
				t.Errorf("not rotated: %+v", st)
			}
			b.pass(11 * time.Minute)
			if diff := cmp.Diff([]string{"bgw-a"}, b.keys()); diff != "" {
				t.Errorf("after the overlap (-want +got):\n%s", diff)
			}
		})
	}
}

// charon forgets everything in the middle of it: both keys are given again.
func TestKeyRotationSurvivesCharon(t *testing.T) {
	keyed(t, true, func(b *bench, _ *atomic.Value, tun Tunnel) {
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(time.Minute)
		b.s.Kill()
		b.pass(time.Second)
		b.s.Start()
		b.pass(time.Minute)
		if diff := cmp.Diff([]string{"bgw-a", "bgw-a.former"}, b.keys()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		b.wantUp("a", 1)
		tun.Up = false
		b.apply("gw", tun)
		b.pass(time.Second)
		if got := b.keys(); len(got) > 0 {
			t.Errorf("left %v", got)
		}
	})
}

// A restarted agent does not know the former key; what it finds of it is swept.
func TestKeyRotationEndsWithTheAgent(t *testing.T) {
	keyed(t, true, func(b *bench, _ *atomic.Value, tun Tunnel) {
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(time.Minute)
		d := New(Options{Dial: b.s.Dial})
		second := &bench{T: b.T, s: b.s, d: d}
		stop := second.run()
		defer stop()
		second.apply("gw", tun)
		if err := d.Sweep(b.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"bgw-a"}, b.keys()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		second.wantUp("a", 1)
	})
}

// The event that tells of the new IKE_SA is lost: another one is made, which tells.
func TestKeyRotationWithoutItsEvent(t *testing.T) {
	var drop atomic.Bool
	prepare := func(s *charontest.Server) {
		s.Drop = func(event string, _ *vici.Message) bool { return event == "ike-updown" && drop.Swap(false) }
	}
	inBubble(t, Options{}, prepare, func(b *bench) {
		tun := wanted("a")
		b.apply("gw", tun)
		b.pass(time.Minute)
		drop.Store(true)
		tun.PSK = secret.New("another-key")
		b.apply("gw", tun)
		b.pass(time.Minute)
		if st := b.wantUp("a", 1); !st.KeyPending.IsZero() {
			t.Errorf("the new key is still waited for: %+v", st)
		}
	})
}
