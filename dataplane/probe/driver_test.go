package probe

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFailAndRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", 20*time.Millisecond)
		b := start(t, net, target("a"))
		b.expect("a", StateWaiting)
		if s := b.until("a", StatePassing); s.RTT != 20*time.Millisecond || s.Sent != 1 || s.Lost != 0 {
			t.Errorf("after the first answer: %+v", s)
		}
		net.silence("a")
		s := b.until("a", StateFailing)
		if s.Lost != 3 || s.RTT != 20*time.Millisecond {
			t.Errorf("after three losses: %+v", s)
		}
		// The third echo lost went out early, and its time is over three intervals after the last one that was answered went out.
		sent := net.sentBy("a")
		if !s.Since.Equal(sent[3].at.Add(leastPatience)) || !s.Since.Equal(sent[0].at.Add(3*time.Second)) {
			t.Errorf("failing since %v, echoes sent at %v", s.Since, sent)
		}
		b.nextEcho("a")
		net.answers("a", 30*time.Millisecond)
		for range RecoverAnswers - 1 {
			b.nextEcho("a")
			b.expect("a", StateFailing)
		}
		if s := b.until("a", StatePassing); s.RTT != 30*time.Millisecond || s.Lost != 5 {
			t.Errorf("recovered: %+v", s)
		}
		want := []string{StateWaiting, StatePassing, StateFailing, StatePassing}
		if diff := cmp.Diff(want, b.states("a")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestAutoWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		on := target("on")
		on.Mode = On
		b := start(t, net, target("auto"), on)
		began := time.Now()
		pass(10 * time.Minute)
		if s := b.expect("auto", StateWaiting); s.Sent != 600 || s.Lost < 599 {
			t.Errorf("auto: %+v", s)
		}
		if s := b.expect("on", StateFailing); s.Since.Sub(began) > 4*time.Second {
			t.Errorf("on: failing %v after the start", s.Since.Sub(began))
		}
	})
}

func TestOneLossFewerIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		b := start(t, net, target("a"))
		b.until("a", StatePassing)
		for range 5 {
			net.silence("a")
			b.nextEcho("a")
			b.nextEcho("a")
			net.answers("a", time.Millisecond)
			b.nextEcho("a")
			pass(10 * time.Millisecond)
		}
		if s := b.expect("a", StatePassing); s.Lost != 10 {
			t.Errorf("%+v", s)
		}
		if got := b.states("a"); len(got) != 2 {
			t.Errorf("events %v", got)
		}
	})
}

// TestSlowPath: every answer comes later than the interval. That loses all echoes and is no reason to fail.
func TestSlowPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", 2500*time.Millisecond)
		b := start(t, net, target("a"))
		b.until("a", StatePassing)
		pass(time.Minute)
		if s := b.expect("a", StatePassing); s.Lost < 60 || s.RTT != 2500*time.Millisecond {
			t.Errorf("%+v", s)
		}
		net.silence("a")
		b.until("a", StateFailing)
		net.answers("a", 2500*time.Millisecond)
		b.until("a", StatePassing)
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", 900*time.Millisecond)
		b := start(t, net, target("a"))
		b.until("a", StatePassing)
		b.nextEcho("a")
		net.silence("a")
		pass(100 * time.Millisecond)
		before := time.Now()
		b.Reset("a")
		s := b.expect("a", StateWaiting)
		if !s.Since.Equal(before) || s.RTT != 0 || s.Sent != 2 {
			t.Errorf("%+v", s)
		}
		pass(10 * time.Second) // the answer that was on its way when the target was armed is not heard
		if s := b.expect("a", StateWaiting); s.Sent != 12 {
			t.Errorf("%+v", s)
		}
		net.answers("a", time.Millisecond)
		b.until("a", StatePassing)
		b.Reset("unknown")
		if diff := cmp.Diff([]string{StateWaiting, StatePassing, StateWaiting, StatePassing}, b.states("a")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestChangeOfInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		a := target("a")
		b := start(t, net, a)
		b.until("a", StatePassing)
		since := b.State("a").Since
		for _, interval := range []time.Duration{MinInterval, 3 * time.Second, time.Second} {
			a.Interval = interval
			already := len(net.sentBy("a"))
			b.apply("gw", a)
			pass(10*interval + interval/2)
			sent := net.sentBy("a")[already:]
			if len(sent) < 10 || len(sent) > 11 {
				t.Errorf("%v: %d echoes in ten and a half intervals", interval, len(sent))
			}
			for i := range sent[1:] {
				if gap := sent[i+1].at.Sub(sent[i].at); gap != interval {
					t.Errorf("%v: gap %v", interval, gap)
				}
			}
		}
		if s := b.expect("a", StatePassing); s.Lost != 0 || !s.Since.Equal(since) {
			t.Errorf("%+v, want passing since %v", s, since)
		}
		net.with(func() {
			if net.opened != 1 {
				t.Errorf("%d sockets opened", net.opened)
			}
		})
	})
}

// TestPhases: the echoes of many tunnels with one interval are spread over it, and stay where they are.
func TestPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		var targets []Target
		for i := range 400 {
			targets = append(targets, target(fmt.Sprintf("t-%d", i)))
			net.answers(targets[i].Tunnel, time.Millisecond)
		}
		start(t, net, targets...)
		began := time.Now()
		pass(4 * time.Second)
		if got := len(tunnels(net)); got != 400 {
			t.Fatalf("%d tunnels probed", got)
		}
		var buckets [10]int
		for _, to := range targets {
			sent := net.sentBy(to.Tunnel)
			if len(sent) != 4 {
				t.Errorf("%s: %d echoes in 4 s", to.Tunnel, len(sent))
			}
			buckets[sent[0].at.Sub(began)/(100*time.Millisecond)]++
			for i := range sent[1:] {
				if gap := sent[i+1].at.Sub(sent[i].at); gap != time.Second {
					t.Errorf("%s: gap %v", to.Tunnel, gap)
				}
			}
		}
		for i, n := range buckets {
			if n < 20 || n > 65 {
				t.Errorf("%d of 400 tunnels send in tenth %d of a second: %v", n, i, buckets)
			}
		}
	})
}

// TestForeignAndDuplicates: only the own answers count, each once.
func TestForeignAndDuplicates(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mangle func([]byte) []byte
		copies int
		want   string
	}{
		{"duplicates", nil, 3, StateFailing},
		{"another process's token", func(b []byte) []byte { b[20] ^= 0xff; return b }, 1, StateWaiting},
		{"cut short", func(b []byte) []byte { return b[:12] }, 1, StateWaiting},
		{"an unreachable message", func(b []byte) []byte { b[0] = 3; return b }, 1, StateWaiting},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t)
				net.mangle, net.copies = tc.mangle, tc.copies
				b := start(t, net, target("a"))
				if tc.want == StateFailing {
					net.answers("a", time.Millisecond)
					b.until("a", StatePassing)
					net.silence("a")
					b.until("a", StateFailing)
				}
				net.answers("a", time.Millisecond)
				b.nextEcho("a")
				pass(500 * time.Millisecond)
				b.expect("a", tc.want) // three copies of one answer are not three answers
			})
		})
	}
}

func TestIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("six", time.Millisecond)
		six := target("six")
		six.Local, six.Peer = netip.MustParseAddr("fd00:10::1"), netip.MustParseAddr("fd00:10::2")
		b := start(t, net, six)
		b.until("six", StatePassing)
	})
}

// TestSendErrors: what the kernel says without an SA, with the device down or its queue full is a loss and nothing more.
func TestSendErrors(t *testing.T) {
	for _, errno := range []syscall.Errno{
		syscall.ENETDOWN, syscall.ENOBUFS, syscall.EPERM, syscall.EAGAIN, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ESRCH, syscall.EREMOTE,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(t)
				net.answers("a", time.Millisecond)
				b := start(t, net, target("a"))
				b.until("a", StatePassing)
				net.refuse(os.NewSyscallError("sendto", errno))
				if s := b.until("a", StateFailing); s.Lost != 3 {
					t.Errorf("%+v", s)
				}
				net.refuse(nil)
				b.until("a", StatePassing)
				net.with(func() {
					if net.opened != 1 {
						t.Errorf("%d sockets opened", net.opened)
					}
				})
			})
		})
	}
}
