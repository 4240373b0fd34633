package agent

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/bfd"
)

// bfdWires carry the control packets between the two ends of tunnels. An end is named after its local address.
type bfdWires struct {
	mu   sync.Mutex
	cut  map[netip.Addr]bool // what this end sends is lost
	ends map[netip.Addr]*bfdEnd
}

func newBFDWires() *bfdWires {
	return &bfdWires{cut: map[netip.Addr]bool{}, ends: map[netip.Addr]*bfdEnd{}}
}

type bfdEnd struct {
	wires       *bfdWires
	local, peer netip.Addr
	packets     chan []byte
	interrupt   chan struct{}
}

func (w *bfdWires) listen(t bfd.Target) (bfd.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends[t.Local] != nil {
		return nil, fmt.Errorf("%v is in use", t.Local)
	}
	e := &bfdEnd{wires: w, local: t.Local, peer: t.Peer, packets: make(chan []byte, 64), interrupt: make(chan struct{}, 1)}
	w.ends[t.Local] = e
	return e, nil
}

func (w *bfdWires) silence(local string, silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[netip.MustParseAddr(local)] = silent
}

func (e *bfdEnd) Send(packet []byte) error {
	e.wires.mu.Lock()
	defer e.wires.mu.Unlock()
	if to := e.wires.ends[e.peer]; to != nil && !e.wires.cut[e.local] {
		select {
		case to.packets <- slices.Clone(packet):
		default:
		}
	}
	return nil
}

func (e *bfdEnd) Receive(buf []byte, deadline time.Time) ([]byte, error) {
	select {
	case p := <-e.packets:
		return buf[:copy(buf, p)], nil
	default:
	}
	var end <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		end = timer.C
	}
	select {
	case p := <-e.packets:
		return buf[:copy(buf, p)], nil
	case <-e.interrupt:
	case <-end:
	}
	return nil, os.ErrDeadlineExceeded
}

func (e *bfdEnd) Interrupt() {
	select {
	case e.interrupt <- struct{}{}:
	default:
	}
}

func (e *bfdEnd) Close() error {
	e.wires.mu.Lock()
	defer e.wires.mu.Unlock()
	delete(e.wires.ends, e.local)
	return nil
}

// customer runs the customer's end of shop's first tunnel until the returned function is called.
func (w *bfdWires) customer(t *testing.T) (stop func()) {
	t.Helper()
	d := bfd.New(bfd.Options{Listen: w.listen})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	_, err := d.Apply(ctx, "customer", []bfd.Target{{Tunnel: shop1, Device: "xfrm1", Local: netip.MustParseAddr(bfdCustomer),
		Peer: netip.MustParseAddr("169.254.10.1"), Interval: 300 * time.Millisecond, Multiplier: 3}})
	if err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the customer's BFD: %v", err)
		}
	})
}

const bfdCustomer = "169.254.10.2"

// inBFDWorld has a tenant with BGP and BFD on its first tunnel, whose session is up.
func inBFDWorld(t *testing.T, test func(t *testing.T, w *world, f *speakers, stopCustomer func())) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		f := newSpeakers(w.kernel)
		w.speakers = f
		tenant := speaking()
		tenant.routes = []string{lan}
		tenant.specs[shop1] = "bgp: {bfd: on}, probe: {mode: OFF}"
		stop := w.bfd.customer(t)
		defer stop()
		w.startWith(manifests(tenant), shop1, shop2)
		w.until("BFD up at its rate", func() bool {
			st := w.tunnel(shop1)
			return st.GetBfd() == apiv1.BFDUp && st.GetBfdSession().GetDetection().AsDuration() == 900*time.Millisecond
		})
		if st := w.tunnel(shop2); st.GetBfd() != apiv1.BFDOff || st.GetBfdSession() != nil {
			t.Errorf("a tunnel without BFD: %v", st)
		}
		w.routed(shop1, shop2)
		test(t, w, f, stop)
	})
}

// routed waits until the static route leads to these tunnels.
func (w *world) routed(tunnels ...string) {
	w.t.Helper()
	var want []string
	for _, name := range tunnels {
		want = append(want, w.device(name))
	}
	slices.Sort(want)
	w.until(fmt.Sprintf("routed over %q", tunnels), func() bool { return slices.Equal(w.devicesOf("shop", lan), want) })
}

// TestBFDTakesTheNexthopOut: silence takes the tunnel out of all routes within the detection time, by one deleted nexthop, without making it
// DOWN; its BGP session starts afresh; the return of BFD brings it back.
func TestBFDTakesTheNexthopOut(t *testing.T) {
	inBFDWorld(t, func(t *testing.T, w *world, f *speakers, _ func()) {
		f.refuse(plan.TunnelNeighbor(shop1), true)
		w.rest()
		nexthop := w.nexthop(w.device(shop1))
		w.kernel.TakeWrites()
		w.bfd.silence(bfdCustomer, true)
		start := time.Now()
		w.routed(shop2)
		if took := time.Since(start); took > time.Second {
			t.Errorf("out after %v", took)
		}
		if got, want := w.kernel.TakeWrites(), fmt.Sprintf("delete nexthop %#x", nexthop); len(got) == 0 || got[0] != want {
			t.Errorf("wrote %q, want %q first", got, want)
		}
		w.until("a fresh BGP session", func() bool { return f.restarts(plan.TunnelNeighbor(shop1)) == 1 })
		w.rest()
		st := w.tunnel(shop1)
		if b := st.GetBfdSession(); st.GetRunning() != apiv1.RunningUp || st.GetBfd() != apiv1.BFDDown || !b.GetArmed() || b.GetDowns() != 1 ||
			b.GetMessage() == "" {
			t.Errorf("status %v", st)
		}
		w.pass(time.Minute)
		w.routed(shop2)
		// What carries nothing is replaced, beside what is there: a peer that lost its SAs without a word has new ones long before DPD.
		if n := w.tunnel(shop1).GetCounters().GetRenegotiations(); n == 0 {
			t.Error("the SAs are those that carry nothing")
		}
		w.bfd.silence(bfdCustomer, false)
		w.routed(shop1, shop2)
		w.rest()
		renegotiations := w.tunnel(shop1).GetCounters().GetRenegotiations()
		w.pass(10 * time.Minute)
		if n := w.tunnel(shop1).GetCounters().GetRenegotiations(); n != renegotiations {
			t.Errorf("%d renegotiations after its return", n-renegotiations)
		}
		if n := f.restarts(plan.TunnelNeighbor(shop1)); n != 1 {
			t.Errorf("the session was started afresh %d times", n)
		}
	})
}

// TestBFDEndsInOrder: a peer that says it wants no BFD loses nothing.
func TestBFDEndsInOrder(t *testing.T) {
	inBFDWorld(t, func(t *testing.T, w *world, f *speakers, stopCustomer func()) {
		w.rest()
		w.kernel.TakeWrites()
		stopCustomer()
		w.until("BFD down", func() bool { return w.tunnel(shop1).GetBfd() == apiv1.BFDDown })
		w.pass(time.Minute)
		if writes := w.kernel.TakeWrites(); len(writes) > 0 {
			t.Errorf("wrote %q", writes)
		}
		if n := f.restarts(plan.TunnelNeighbor(shop1)); n > 0 {
			t.Errorf("the session was started afresh %d times", n)
		}
		if b := w.tunnel(shop1).GetBfdSession(); b.GetArmed() || b.GetDowns() != 0 {
			t.Errorf("status %v", b)
		}
	})
}

// TestBFDForgottenByThePeer: a peer whose BFD is gone without a word is out until BGP has come back over the tunnel.
func TestBFDForgottenByThePeer(t *testing.T) {
	inBFDWorld(t, func(t *testing.T, w *world, f *speakers, _ func()) {
		f.refuse(plan.TunnelNeighbor(shop1), true)
		w.bfd.silence(bfdCustomer, true)
		w.routed(shop2)
		w.pass(time.Minute)
		w.routed(shop2)
		f.refuse(plan.TunnelNeighbor(shop1), false)
		w.routed(shop1, shop2)
		w.pass(time.Minute)
		w.routed(shop1, shop2)
	})
}
