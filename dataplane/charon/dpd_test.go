package charon

import (
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
)

// dpd sets up tunnels with a DPD interval of 10 s and the given timeouts, called a, b, …
func (b *bench) dpd(timeouts ...time.Duration) {
	var set []Tunnel
	for i, timeout := range timeouts {
		t := wanted(string(rune('a' + i)))
		t.DPDTimeout = timeout
		set = append(set, t)
	}
	b.apply("gw", set...)
	b.pass(time.Second)
}

// says has charon log a line about every IKE_SA of a tunnel.
func (b *bench) says(tunnel, line string) {
	for _, id := range b.s.IKESAs(Prefix + tunnel) {
		b.s.Log(Prefix+tunnel, id, line)
	}
	b.pass(0)
}

// silent is a peer that falls silent now; charon asks ten seconds later and again and again, for longer than any timeout.
func (b *bench) silent(tunnel string) {
	b.says(tunnel, "parsed INFORMATIONAL response 7 [ ]")
	b.pass(10 * time.Second)
	b.says(tunnel, "sending DPD request")
	b.says(tunnel, "retransmit 1 of request with message ID 8")
}

// lastUp returns how long the tunnel's first CHILD_SA was there, to a quarter of a second.
func (b *bench) lastUp(tunnel string, limit time.Duration) time.Duration {
	b.Helper()
	first := b.d.State(tunnel).Children[0].UniqueID
	start := time.Now()
	for time.Since(start) < limit {
		if st := b.d.State(tunnel); !st.Up() || st.Children[0].UniqueID != first {
			return time.Since(start)
		}
		b.pass(250 * time.Millisecond)
	}
	b.Fatalf("%s is still up after %v", tunnel, limit)
	return 0
}

func TestDPDTimeoutIsTheTunnels(t *testing.T) {
	for _, timeout := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, MaxDPDTimeout} {
		inBubble(t, Options{}, nil, func(b *bench) {
			b.dpd(timeout, timeout)
			b.silent("a")
			if took := 10*time.Second + b.lastUp("a", timeout); took < timeout || took > timeout+time.Second {
				t.Errorf("down %v after the last sign of life, want %v", took, timeout)
			}
			st := b.wantUp("a", 1)
			if st.LastFailure.Reason != diagnose.DPDTimeout || st.Failures[diagnose.DPDTimeout] != 1 || len(st.Failures) != 1 {
				t.Errorf("failures %v, last %+v", st.Failures, st.LastFailure)
			}
			if st := b.wantUp("b", 1); len(st.Failures) > 0 || st.Establishments != 1 {
				t.Errorf("the other tunnel: %+v", st)
			}
		})
	}
}

func TestDPDTimeoutCountsFromTheLastSignOfLife(t *testing.T) {
	t.Run("an answer", func(t *testing.T) {
		inBubble(t, Options{}, nil, func(b *bench) {
			b.dpd(15 * time.Second)
			b.silent("a")
			b.pass(4 * time.Second)
			b.says("a", "parsed INFORMATIONAL response 8 [ ]")
			b.pass(time.Hour)
			if st := b.wantUp("a", 1); len(st.Failures) > 0 || st.Establishments != 1 {
				t.Errorf("closed although it answered: %+v", st)
			}
		})
	})
	t.Run("what cannot be read is none", func(t *testing.T) {
		inBubble(t, Options{}, nil, func(b *bench) {
			b.dpd(15 * time.Second)
			b.silent("a")
			b.says("a", "received packet: from 192.0.2.2[500] to 192.0.2.1[500] (57 bytes)")
			b.lastUp("a", 6*time.Second)
		})
	})
	t.Run("ESP", func(t *testing.T) {
		inBubble(t, Options{}, nil, func(b *bench) {
			b.dpd(15 * time.Second)
			b.silent("a")
			b.pass(4 * time.Second)
			b.s.Carry("bgw-a", 100)
			if took := b.lastUp("a", time.Minute); took < 15*time.Second || took > 16*time.Second {
				t.Errorf("down %v after the last ESP packet", took)
			}
		})
	})
	t.Run("any request that has to be repeated", func(t *testing.T) {
		inBubble(t, Options{}, nil, func(b *bench) {
			b.dpd(15 * time.Second)
			b.says("a", "parsed IKE_AUTH response 1 [ IDr AUTH SA TSi TSr ]")
			b.says("a", "retransmit 1 of request with message ID 2")
			if took := b.lastUp("a", time.Minute); took < 15*time.Second || took > 16*time.Second {
				t.Errorf("down after %v", took)
			}
		})
	})
	t.Run("not while DPD is off", func(t *testing.T) {
		inBubble(t, Options{}, nil, func(b *bench) {
			tun := wanted("a")
			tun.DPDInterval = 0
			b.apply("gw", tun)
			b.pass(time.Second)
			b.says("a", "retransmit 1 of request with message ID 2")
			b.pass(time.Hour)
			b.wantUp("a", 1)
		})
	})
}

// charon tells in whole seconds when ESP last came in. Whatever the part of a second, and however often is asked, the timeout is kept to half a one.
func TestDPDTimeoutIsKeptToHalfASecond(t *testing.T) {
	for part := time.Duration(0); part < time.Second; part += 250 * time.Millisecond {
		for _, asked := range []time.Duration{0, 400 * time.Millisecond, 800 * time.Millisecond} {
			inBubble(t, Options{}, nil, func(b *bench) {
				b.dpd(15 * time.Second)
				b.pass(time.Until(time.Now().Truncate(time.Second).Add(time.Second + part)))
				b.s.Carry("bgw-a", 100)
				b.pass(10*time.Second + asked)
				b.says("a", "sending DPD request")
				for range 3 {
					b.pass(900 * time.Millisecond)
					if err := b.d.Refresh(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				took := 10*time.Second + asked + 2700*time.Millisecond + b.lastUp("a", 5*time.Second)
				if limit := 15500*time.Millisecond + 250*time.Millisecond; took < 14500*time.Millisecond || took > limit {
					t.Errorf("last ESP at %v of a second, asked %v later: down after %v", part, asked, took)
				}
			})
		}
	}
}

// Of two IKE_SAs the dead one goes, and the tunnel stays up: that is no failure.
func TestDPDTimeoutOfADuplicate(t *testing.T) {
	inBubble(t, Options{}, nil, func(b *bench) {
		b.dpd(15 * time.Second)
		ike, _ := b.s.PeerInitiates("bgw-a")
		b.pass(time.Second)
		b.wantUp("a", 2)
		b.s.Log("bgw-a", ike, "parsed INFORMATIONAL response 7 [ ]")
		b.s.Log("bgw-a", ike, "retransmit 1 of request with message ID 8")
		b.pass(17 * time.Second)
		if st := b.wantUp("a", 1); len(st.Failures) > 0 {
			t.Errorf("failures %v", st.Failures)
		}
	})
}

// A whole host's peers fall silent together: one listing serves them all.
func TestDPDTimeoutOfManyTunnels(t *testing.T) {
	inBubble(t, Options{RefreshInterval: time.Hour}, nil, func(b *bench) {
		var set []Tunnel
		for i := range 100 {
			set = append(set, wanted(fmt.Sprintf("t%d", i)))
		}
		b.apply("gw", set...)
		b.pass(10 * time.Second)
		for i := range 100 {
			for _, line := range []string{"parsed INFORMATIONAL response 7 [ ]", "retransmit 1 of request with message ID 8"} {
				for _, id := range b.s.IKESAs(fmt.Sprintf("bgw-t%d", i)) {
					b.s.Log(fmt.Sprintf("bgw-t%d", i), id, line)
				}
			}
		}
		b.pass(29 * time.Second)
		n := b.count("list-sas")
		b.pass(1500 * time.Millisecond)
		if got := b.count("list-sas") - n; got > 4 {
			t.Errorf("%d listings", got)
		}
		for i := range 100 {
			if st := b.d.State(fmt.Sprintf("t%d", i)); st.LastFailure.Reason != diagnose.DPDTimeout {
				t.Fatalf("t%d: %+v", i, st)
			}
		}
	})
}

// An attempt of which something is heard has longer; a silent one is over as soon as charon's own would have been.
func TestAttemptEndsWhenNothingIsHeard(t *testing.T) {
	inBubble(t, Options{}, peers(charontest.Hang), func(b *bench) {
		b.dpd(30 * time.Second)
		for range 5 {
			b.pass(15 * time.Second)
			b.says("a", "parsed IKE_SA_INIT response 0 [ SA KE No ]")
		}
		if st := b.wantUp("a", 0); len(st.Failures) > 0 {
			t.Errorf("failures %v", st.Failures)
		}
		b.pass(21500 * time.Millisecond)
		if st := b.wantUp("a", 0); st.LastFailure.Reason != diagnose.PeerUnreachable {
			t.Errorf("last failure %+v", st.LastFailure)
		}
	})
}
