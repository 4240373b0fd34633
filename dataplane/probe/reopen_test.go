package probe

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (n *network) missing(err error) { n.with(func() { n.listenErr = err; n.listens = nil }) }

// gaps returns the times between attempts to open a socket, in seconds.
func (n *network) gaps() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var gaps []int
	for i := 1; i < len(n.listens); i++ {
		gaps = append(gaps, int(n.listens[i].Sub(n.listens[i-1])/time.Second))
	}
	return gaps
}

// TestMissingDevice: echoes go on being counted while the socket cannot be opened, and attempts become rarer.
func TestMissingDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		net.missing(errors.New("no such device"))
		on := target("a")
		on.Mode = On
		b := start(t, net, on)
		if s := b.until("a", StateFailing); s.Lost != 3 {
			t.Errorf("%+v", s)
		}
		pass(30 * time.Second)
		if diff := cmp.Diff([]int{1, 2, 4, 6, 6, 6}, net.gaps()[:6]); diff != "" {
			t.Errorf("seconds between attempts (-want +got):\n%s", diff)
		}
		net.missing(nil)
		b.until("a", StatePassing)
	})
}

// TestResetOpensAtOnce: a tunnel that comes up does not wait for the back-off of its missing socket.
func TestResetOpensAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		net.missing(errors.New("no such device"))
		b := start(t, net, target("a"))
		pass(time.Minute)
		net.missing(nil)
		b.Reset("a")
		reset := time.Now()
		s := b.until("a", StatePassing)
		if after := s.Since.Sub(reset); after > time.Second+time.Millisecond {
			t.Errorf("passing %v after the reset", after)
		}
	})
}

// TestStaleDevice: the device is recreated under its name while its tunnel passes.
func TestStaleDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		b := start(t, net, target("a"))
		b.until("a", StatePassing)
		for range 10 { // a recreated device that works does not lengthen the next one's back-off
			net.refuse(fmt.Errorf("send: %w", ErrStale))
			b.nextEcho("a")
			if got := net.devices(); len(got) != 0 {
				t.Errorf("open sockets %v", got)
			}
			net.refuse(nil)
			b.nextEcho("a")
			pass(10 * time.Millisecond)
			if s := b.expect("a", StatePassing); s.RTT != time.Millisecond {
				t.Errorf("%+v", s)
			}
			b.nextEcho("a")
		}
		if s := b.State("a"); s.Lost != 10 {
			t.Errorf("%+v", s)
		}
	})
}

// TestBrokenSocket: a socket whose receiving end fails is replaced, and not in a hot loop.
func TestBrokenSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(t)
		net.answers("a", time.Millisecond)
		b := start(t, net, target("a"))
		b.until("a", StatePassing)
		net.missing(nil)
		net.breakAll()
		b.nextEcho("a")
		net.answers("a", time.Millisecond)
		b.nextEcho("a")
		pass(10 * time.Millisecond)
		b.expect("a", StatePassing)
		net.with(func() {
			if len(net.listens) != 1 {
				t.Errorf("%d attempts to open a socket", len(net.listens))
			}
			net.listens = nil
		})

		// It breaks again and again as soon as it is opened.
		net.silence("a")
		for range 60 {
			net.breakAll()
			b.nextEcho("a")
		}
		net.with(func() {
			if n := len(net.listens); n < 8 || n > 20 {
				t.Errorf("%d attempts to open a socket in 60 s", n)
			}
		})
	})
}
