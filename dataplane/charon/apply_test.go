package charon

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/secret"
	"github.com/google/go-cmp/cmp"
)

func TestApplyLoadsOnceAndBringsUp(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		r := b.apply("gw", wanted("b"), wanted("a"))
		if diff := cmp.Diff(Result{Loaded: []string{"a", "b"}, Errors: map[string]error{}}, r); diff != "" {
			t.Error(diff)
		}
		b.pass(time.Second)
		b.wantUp("a", 1)
		st := b.wantUp("b", 1)
		if !st.Connected || !st.Loaded || st.IKE != IKEEstablished || st.Establishments != 1 || st.ESPSuite.Encryption != "AES_GCM_16" || !st.NATT {
			t.Errorf("state %+v", st)
		}
		want := []string{"version", "load-shared bgw-a", "load-conn bgw-a", "load-shared bgw-b", "load-conn bgw-b", "initiate bgw-a", "initiate bgw-b"}
		if diff := cmp.Diff(want, b.sent(), ignoreOrder); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(charontest.Secret{Type: "IKE", Data: "open-sesame", Owners: []string{"192.0.2.2"}}, b.s.Secrets()["bgw-a"]); diff != "" {
			t.Error(diff)
		}
		b.apply("gw", wanted("a"), wanted("b"))
		b.pass(time.Hour)
		if sent := b.sent(); len(sent) > 0 {
			t.Errorf("unchanged tunnels caused %v", sent)
		}
	})
}

var ignoreOrder = cmp.Transformer("set", func(list []string) map[string]int {
	out := make(map[string]int)
	for _, s := range list {
		out[s]++
	}
	return out
})

func TestApplyOneBadTunnelBlocksNobody(t *testing.T) {
	refuse := func(s *charontest.Server) {
		s.Refuse = func(conn string) string {
			if conn == "bgw-refused" {
				return "invalid value for: proposals, config discarded"
			}
			return ""
		}
	}
	inBubble(t, Options{}, refuse, func(b *bench) {
		invalid := wanted("invalid")
		invalid.RemoteID = "%any"
		set := []Tunnel{wanted("refused"), invalid, wanted("good"), wanted("good")}
		r := b.apply("gw", set...)
		if diff := cmp.Diff([]string{"good"}, r.Loaded, ignoreOrder); diff != "" {
			t.Error(diff)
		}
		if err := r.Errors["invalid"]; err == nil || !strings.HasPrefix(err.Error(), "remote id: ") {
			t.Errorf("invalid: %v", err)
		}
		var refusal *vici.CommandError
		if !errors.As(r.Errors["refused"], &refusal) {
			t.Errorf("refused: %v", r.Errors["refused"])
		}
		if r.Errors["good"] == nil {
			t.Error("a name given twice is no error")
		}
		if st := b.d.State("refused"); st.Loaded || !strings.Contains(st.LoadError, "config discarded") {
			t.Errorf("refused: %+v", st)
		}
		b.pass(time.Second)
		b.wantUp("good", 1)
		b.sent()
		if r := b.apply("gw", set...); r.Errors["refused"] == nil {
			t.Error("refused tunnel has no error any more")
		}
		if sent := b.sent(); len(sent) > 0 {
			t.Errorf("asked again: %v", sent)
		}
		if r := b.apply("other", wanted("good")); r.Errors["good"] == nil {
			t.Error("a tunnel of another gateway was taken")
		}
	})
}

func TestApplyRemovesLast(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.apply("gw", wanted("old"))
		b.pass(time.Second)
		b.took()
		b.sent()
		b.apply("gw", wanted("new"))
		want := []string{"load-shared bgw-new", "load-conn bgw-new", "unload-conn bgw-old", "unload-shared bgw-old", "terminate bgw-old"}
		sent := slices.DeleteFunc(b.sent(), func(c string) bool { return strings.HasPrefix(c, "initiate") })
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		b.pass(time.Minute)
		b.wantUp("old", 0)
		b.wantUp("new", 1)
		b.sent()
		b.apply("gw")
		b.pass(time.Minute)
		if len(b.s.Conns()) != 0 || len(b.s.Secrets()) != 0 {
			t.Errorf("left: %v", b.s.Conns())
		}
		if f := b.took(FailureSeen); len(f) > 0 {
			t.Errorf("removal reported as %v", f)
		}
		b.d.mu.Lock()
		defer b.d.mu.Unlock()
		if len(b.d.tunnels) > 0 || len(b.d.byRemote) > 0 {
			t.Errorf("not forgotten: %v", b.d.names(func(*tunnel) bool { return true }))
		}
	})
}

func TestApplyDownAndUp(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		tun := wanted("a")
		b.apply("gw", tun)
		b.pass(time.Minute)
		tun.Up = false
		b.took()
		b.apply("gw", tun)
		b.pass(2 * time.Second)
		if st := b.wantUp("a", 0); st.IKE != IKEDown || st.Loaded {
			t.Errorf("state %+v", st)
		}
		if f := b.took(FailureSeen); len(f) > 0 {
			t.Errorf("own closing reported as %v", f)
		}
		b.sent()
		b.apply("gw", tun)
		b.pass(time.Hour)
		if sent := b.sent(); len(sent) > 0 {
			t.Errorf("tunnel that is down caused %v", sent)
		}
		tun.Up = true
		b.apply("gw", tun)
		b.pass(time.Second)
		b.wantUp("a", 1)
	})
}

func TestApplyChangeIsHitless(t *testing.T) {
	changes := map[string]func(*Tunnel){
		"child settings": func(t *Tunnel) { t.ESPLifetime = 2 * time.Hour },
		"IKE settings":   func(t *Tunnel) { t.IKELifetime = 2 * time.Hour },
		"interface":      func(t *Tunnel) { t.IfID = 9 },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			var refusing atomic.Bool
			peer := func(s *charontest.Server) {
				s.Peer = func(string, int) charontest.Outcome {
					if refusing.Load() {
						return charontest.BadKey
					}
					return charontest.Up
				}
			}
			inBubble(t, Options{}, peer, func(b *bench) {
				tun := wanted("a")
				b.apply("gw", tun, wanted("other"))
				b.pass(time.Minute)
				old := b.wantUp("a", 1).Children[0].UniqueID
				other := b.wantUp("other", 1)
				change(&tun)
				// As long as the peer does not follow, the old SA stays.
				refusing.Store(true)
				b.apply("gw", tun, wanted("other"))
				b.pass(5 * time.Minute)
				if st := b.wantUp("a", 1); st.Children[0].UniqueID != old {
					t.Errorf("SA was replaced by %+v", st.Children)
				}
				refusing.Store(false)
				b.pass(time.Minute)
				if st := b.wantUp("a", 1); st.Children[0].UniqueID == old {
					t.Error("SA was not replaced")
				}
				if ikes, children := b.s.SAs("bgw-a"); children != 1 || ikes != 1 {
					t.Errorf("charon has %d IKE_SAs, %d CHILD_SAs", ikes, children)
				}
				if diff := cmp.Diff(other.Children, b.d.State("other").Children); diff != "" {
					t.Errorf("another tunnel changed: %s", diff)
				}
			})
		})
	}
}

func TestApplyChangeWhereOnlyThePeerInitiates(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		tun := wanted("a")
		tun.Initiate = false
		b.apply("gw", tun)
		b.s.PeerInitiates("bgw-a")
		b.pass(time.Minute)
		b.wantUp("a", 1)
		tun.ESPLifetime = 2 * time.Hour
		b.apply("gw", tun)
		b.pass(time.Second)
		b.wantUp("a", 0)
		if n := b.count("initiate bgw-a"); n != 0 {
			t.Errorf("initiated %d times", n)
		}
	})
}

func TestApplyKeyChangeReplacesSAs(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		tun := wanted("a")
		b.apply("gw", tun)
		b.pass(time.Minute)
		before := b.wantUp("a", 1).Children[0].UniqueID
		b.sent()
		tun.PSK = secret.New("another-one")
		b.apply("gw", tun)
		b.pass(time.Minute)
		want := []string{"load-shared bgw-a.former", "load-shared bgw-a", "load-conn bgw-a", "initiate bgw-a", "terminate"}
		if diff := cmp.Diff(want, b.kinds()); diff != "" {
			t.Error(diff)
		}
		if st := b.wantUp("a", 1); st.Children[0].UniqueID == before {
			t.Error("not replaced")
		}
		if b.s.Secrets()["bgw-a"].Data != "another-one" {
			t.Error("key not changed")
		}
	})
}

func TestApplyV1DPDTimeoutNeedsUnload(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		tun := wanted("a")
		tun.Version, tun.IKEProposals, tun.ESPProposals = 1, []string{"aes256-sha256-modp2048"}, []string{"aes256-sha256-modp2048"}
		b.apply("gw", tun)
		b.pass(time.Second)
		b.sent()
		tun.DPDTimeout = 40 * time.Second
		b.apply("gw", tun)
		if diff := cmp.Diff([]string{"unload-conn bgw-a", "load-conn bgw-a"}, b.sent()[:2]); diff != "" {
			t.Error(diff)
		}
		if got := b.s.Conn("bgw-a").Get("dpd_timeout"); got != "45" {
			t.Errorf("dpd_timeout %s", got)
		}
	})
}

func TestApplyRefusedChangeKeepsWhatWorks(t *testing.T) {
	var picky atomic.Bool
	refuse := func(s *charontest.Server) {
		s.Refuse = func(string) string {
			if picky.Load() {
				return "invalid value for: proposals, config discarded"
			}
			return ""
		}
	}
	inBubble(t, Options{}, refuse, func(b *bench) {
		tun := wanted("a")
		b.apply("gw", tun)
		b.pass(time.Minute)
		before := b.wantUp("a", 1)
		picky.Store(true)
		tun.IKEProposals = []string{"nonsense1"}
		if r := b.apply("gw", tun); r.Errors["a"] == nil || len(r.Loaded) != 0 {
			t.Errorf("result %+v", r)
		}
		b.pass(time.Minute)
		st := b.wantUp("a", 1)
		if diff := cmp.Diff(before.Children, st.Children); diff != "" || st.Loaded {
			t.Errorf("loaded %v, %s", st.Loaded, diff)
		}
		picky.Store(false)
		b.sent()
		b.apply("gw", wanted("a"))
		b.pass(time.Minute)
		if sent := b.sent(); len(sent) != 0 {
			t.Errorf("going back to what is loaded caused %v", sent)
		}
		if st := b.wantUp("a", 1); !st.Loaded || st.LoadError != "" {
			t.Errorf("state %+v", st)
		}
	})
}

func TestApplyWithoutCharonIsKept(t *testing.T) {
	inBubble(t, Options{}, (*charontest.Server).Kill, func(b *bench) {
		r, err := b.d.Apply(b.Context(), "gw", []Tunnel{wanted("a")})
		if !errors.Is(err, ErrUnavailable) || !errors.Is(r.Errors["a"], ErrUnavailable) || len(r.Loaded) > 0 {
			t.Errorf("Apply without charon: %+v, %v", r, err)
		}
		if err := b.d.Refresh(b.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Refresh: %v", err)
		}
		if err := b.d.Sweep(b.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("Sweep: %v", err)
		}
		b.s.Start()
		b.pass(10 * time.Second)
		b.wantUp("a", 1)
	})
}

func TestSweepRemovesOnlyOurLeftovers(t *testing.T) {
	leftovers := func(s *charontest.Server) {
		s.Adopt(3, func(i int) string { return fmt.Sprintf("bgw-gone%d", i) }, 7)
		s.Adopt(1, func(int) string { return "bgw-kept" }, 7)
		s.Adopt(1, func(int) string { return "foreign" }, 7)
	}
	inBubble(t, Options{}, leftovers, func(b *bench) {
		// A connection and a key without SAs, and foreign ones.
		c := vici.NewClient(must(b.s.Dial(b.Context())), func(vici.Event) {})
		for _, name := range []string{"bgw-idle", "foreign"} {
			tun := wanted("x")
			conn := connectionMessage(tun, capabilities{version: version{major: 5, minor: 9, patch: 8}}, 0).Section("bgw-x")
			if _, err := c.Call(b.Context(), "load-conn", new(vici.Message).SetSection(name, conn)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Call(b.Context(), "load-shared", new(vici.Message).Set("id", name).Set("type", "IKE").Set("data", "d")); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		b.apply("gw", wanted("kept"))
		b.pass(time.Second)
		before := b.wantUp("kept", 1)
		if err := b.d.Sweep(b.Context()); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Minute)
		if diff := cmp.Diff([]string{"foreign", "bgw-kept"}, b.s.Conns()); diff != "" {
			t.Errorf("connections (-want +got):\n%s", diff)
		}
		if len(b.s.Secrets()) != 2 {
			t.Errorf("keys left: %d", len(b.s.Secrets()))
		}
		for name, want := range map[string]int{"bgw-gone0": 0, "bgw-gone2": 0, "bgw-kept": 1, "foreign": 1} {
			if ikes, _ := b.s.SAs(name); ikes != want {
				t.Errorf("%s has %d IKE_SAs, want %d", name, ikes, want)
			}
		}
		if diff := cmp.Diff(before.Children, b.d.State("kept").Children); diff != "" {
			t.Error(diff)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestKeysAppearNowhere(t *testing.T) {
	var log bytes.Buffer
	opts := Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	refuse := func(s *charontest.Server) {
		s.Refuse = func(string) string { return "unknown option: x, config discarded" }
	}
	inBubble(t, opts, refuse, func(b *bench) {
		tun := wanted("a")
		r := b.apply("gw", tun)
		b.s.Kill()
		b.pass(time.Minute)
		fmt.Fprintf(&log, "%v %+v %#v", r, b.d.State("a"), tun)
	})
	if strings.Contains(log.String(), "sesame") {
		t.Errorf("key printed: %s", log.String())
	}
}
