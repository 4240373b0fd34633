//go:build lab

// Package selftest shows that the lab itself tells the truth. Its tests run inside labrun's environment:
//
//	go test -c -tags lab -o bin/labselftest ./test/lab/selftest
//	go run ./test/lab/labrun -- bin/labselftest -test.v
package selftest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// chain joins a - router - b, with addresses of both families.
func chain(t *testing.T) (l *lab.Lab, a, router, b *lab.Host) {
	l = lab.New(t)
	a, router, b = l.Host("a"), l.Host("router"), l.Host("b")
	router.Forward()
	l.Wire(a, "eth0", router, "a", lab.WireOptions{A: []string{"192.0.2.1/31", "2001:db8:a::1/64"}, B: []string{"192.0.2.0/31", "2001:db8:a::f/64"}})
	l.Wire(b, "eth0", router, "b", lab.WireOptions{A: []string{"192.0.2.3/31", "2001:db8:b::1/64"}, B: []string{"192.0.2.2/31", "2001:db8:b::f/64"}})
	a.Route("default", "192.0.2.0")
	a.Route("default", "2001:db8:a::f")
	b.Route("default", "192.0.2.2")
	b.Route("default", "2001:db8:b::f")
	return l, a, router, b
}

func TestPingerLosesNothing(t *testing.T) {
	_, a, _, _ := chain(t)
	for _, dst := range []string{"192.0.2.3", "2001:db8:b::1"} {
		s := a.Ping(lab.PingOptions{Dst: dst, Interval: 10 * time.Millisecond, Count: 100}).Wait()
		if s.Sent != 100 || s.Received != 100 || s.Lost != 0 || s.Duplicates != 0 || s.LongestGap > time.Second {
			t.Errorf("%s: %v", dst, s)
		}
	}
}

// The router counts what it drops; the pinger must miss exactly as much, and name which.
func TestPingerSeesExactlyWhatWasDropped(t *testing.T) {
	_, a, router, _ := chain(t)
	for _, dst := range []string{"192.0.2.3", "2001:db8:b::1"} {
		p := a.Ping(lab.PingOptions{Dst: dst, Interval: 10 * time.Millisecond})
		received := func(n int) func() error {
			return func() error {
				if s := p.Stats(); s.Received < n {
					return fmt.Errorf("%v", s)
				}
				return nil
			}
		}
		lab.Eventually(t, 10*time.Second, "replies before the loss", received(20))
		drop := router.Drop(lab.DropMatch{Interface: "a", Dst: dst})
		lab.Eventually(t, 10*time.Second, "dropped packets", func() error {
			if n, err := drop.Packets(); err != nil || n < 17 {
				return fmt.Errorf("%d packets, %v", n, err)
			}
			return nil
		})
		dropped := int(drop.Remove())
		lab.Eventually(t, 10*time.Second, "replies after the loss", received(p.Stats().Received+20))
		s := p.Stop()
		if s.Lost != dropped || s.Sent != s.Received+s.Lost || len(s.LostSeqs) != s.Lost {
			t.Errorf("%s: the router dropped %d; %v %v", dst, dropped, s, s.LostSeqs)
		}
		if first, last := s.LostSeqs[0], s.LostSeqs[len(s.LostSeqs)-1]; last-first != s.Lost-1 {
			t.Errorf("%s: lost requests are not in one row: %v", dst, s.LostSeqs)
		}
		if gap := time.Duration(s.Lost+1) * 10 * time.Millisecond; s.LongestGap < gap/2 {
			t.Errorf("%s: longest gap %v with %d lost in a row at 10 ms", dst, s.LongestGap, s.Lost)
		}
	}
}

func TestPingerCountsRefusedRequests(t *testing.T) {
	l := lab.New(t)
	s := l.Host("alone").Ping(lab.PingOptions{Dst: "192.0.2.1", Interval: time.Millisecond, Count: 5}).Wait()
	if s.SendErrors != 5 || s.Lost != 5 || s.SendError == nil {
		t.Errorf("%v", s)
	}
}

func TestWireCutAndRestore(t *testing.T) {
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	w := l.Wire(a, "eth0", b, "eth0", lab.WireOptions{A: []string{"192.0.2.0/31"}, B: []string{"192.0.2.1/31"}})
	ping := func(want int) {
		t.Helper()
		s := a.Ping(lab.PingOptions{Dst: "192.0.2.1", Interval: 10 * time.Millisecond, Count: 10, Grace: time.Second}).Wait()
		if s.Received != want {
			t.Errorf("want %d replies: %v", want, s)
		}
	}
	ping(10)
	w.Cut()
	ping(0)
	if out, err := a.Run("ip", "-br", "link", "show", "eth0"); err != nil || !strings.Contains(out, "LOWER_UP") {
		t.Errorf("a cut wire must look up: %q, %v", out, err)
	}
	w.Restore()
	ping(10)
	w.CutFrom(b)
	before, err := b.LinkStats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	ping(0)
	after, err := b.LinkStats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if got := after.RxPackets - before.RxPackets; got < 10 {
		t.Errorf("with one direction cut the other must still arrive: %d packets", got)
	}
	w.Restore()
	ping(10)
	w.Delay(a, 100*time.Millisecond)
	s := a.Ping(lab.PingOptions{Dst: "192.0.2.1", Interval: 10 * time.Millisecond, Count: 5}).Wait()
	if s.Received != 5 || s.MaxRTT < 100*time.Millisecond {
		t.Errorf("delayed: %v", s)
	}
}
