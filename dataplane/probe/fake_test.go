package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is what lies behind the sockets of a driver under test: peers that answer, or not, after a delay.
type network struct {
	t  *testing.T
	mu sync.Mutex
	// By tunnel name. A missing entry of rtt means that the peer is silent.
	rtt       map[string]time.Duration
	copies    int                  // answers per echo, 0 means 1
	listenErr error                // of the next openings
	sendErr   error                // of every Send
	sent      map[string][]sending // every echo that reached the wire
	open      map[*fakeConn]bool
	opened    int
	listens   []time.Time // attempts
	mangle    func(reply []byte) []byte
	linger    time.Duration // how long Close takes
	onListen  func()        // called before the next opening
}

type sending struct {
	at     time.Time
	target Target
	seq    uint64
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, rtt: map[string]time.Duration{}, sent: map[string][]sending{}, open: map[*fakeConn]bool{}}
}

func (n *network) with(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *network) answers(tunnel string, rtt time.Duration) { n.with(func() { n.rtt[tunnel] = rtt }) }
func (n *network) silence(tunnel string)                    { n.with(func() { delete(n.rtt, tunnel) }) }
func (n *network) refuse(err error)                         { n.with(func() { n.sendErr = err }) }

func (n *network) sentBy(tunnel string) []sending {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent[tunnel])
}

func (n *network) devices() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for c := range n.open {
		names = append(names, c.target.Device)
	}
	slices.Sort(names)
	return names
}

func (n *network) listen(t Target) (Conn, error) {
	var hook func()
	n.with(func() { hook, n.onListen = n.onListen, nil })
	if hook != nil {
		hook()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listens = append(n.listens, time.Now())
	if n.listenErr != nil {
		return nil, n.listenErr
	}
	for c := range n.open {
		if c.target.Tunnel == t.Tunnel {
			n.t.Errorf("a second socket for %s", t.Tunnel)
		}
	}
	c := &fakeConn{net: n, target: t, in: make(chan []byte, 64), closed: make(chan struct{})}
	n.open[c] = true
	n.opened++
	return c, nil
}

type fakeConn struct {
	net    *network
	target Target
	in     chan []byte
	closed chan struct{}
	fail   error // returned by Receive after in was closed
}

func (c *fakeConn) Send(message []byte) error {
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.open[c] {
		n.t.Error("send on a closed socket")
		return os.ErrClosed
	}
	if n.sendErr != nil {
		return n.sendErr
	}
	request := byte(icmpEchoRequest)
	if c.target.Local.Is6() {
		request = icmpv6EchoRequest
	}
	if len(message) != messageLen || message[0] != request || message[1] != 0 {
		n.t.Errorf("not an echo request: %x", message)
	}
	seq := binary.BigEndian.Uint64(message[24:])
	n.sent[c.target.Tunnel] = append(n.sent[c.target.Tunnel], sending{time.Now(), c.target, seq})
	rtt, ok := n.rtt[c.target.Tunnel]
	if !ok {
		return nil
	}
	reply := replyTo(message)
	if n.mangle != nil {
		reply = n.mangle(reply)
	}
	for range max(1, n.copies) {
		time.AfterFunc(rtt, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.open[c] {
				c.in <- reply
			}
		})
	}
	return nil
}

func (c *fakeConn) Receive(buf []byte) ([]byte, error) {
	select {
	case message, ok := <-c.in:
		if !ok {
			return nil, c.fail
		}
		return buf[:copy(buf, message)], nil
	case <-c.closed:
		return nil, os.ErrClosed
	}
}

func (c *fakeConn) Close() error {
	var linger time.Duration
	c.net.with(func() { linger = c.net.linger })
	if linger > 0 {
		<-time.After(linger)
	}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if !c.net.open[c] {
		return errors.New("closed twice")
	}
	delete(c.net.open, c)
	close(c.closed)
	return nil
}

// breakAll makes every open socket's Receive fail.
func (n *network) breakAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.open {
		c.fail = io.ErrUnexpectedEOF
		close(c.in)
		n.rtt = map[string]time.Duration{}
	}
}

// replyTo makes of a request what a host answers (RFC 792: only the type and the checksum change).
func replyTo(request []byte) []byte {
	reply := slices.Clone(request)
	if reply[0] == icmpv6EchoRequest {
		reply[0] = icmpv6EchoReply
		return reply
	}
	reply[0] = icmpEchoReply
	reply[2], reply[3] = 0, 0
	binary.BigEndian.PutUint16(reply[2:], checksum(reply))
	return reply
}

// target returns a target with the defaults of a VPNTunnel.
func target(tunnel string) Target {
	return Target{
		Tunnel: tunnel, Device: "bgw-" + tunnel, Mode: Auto, Interval: time.Second, Failures: 3,
		Local: netip.MustParseAddr("169.254.10.1"), Peer: netip.MustParseAddr("169.254.10.2"),
	}
}

// bench is a driver that runs in a synctest bubble. With -race, the timers of one bubble may fire about 16,000 times
// before the race detector gives up (go.dev/issue/78156), so tests stay well below that.
type bench struct {
	*Driver
	t   *testing.T
	net *network
	// log is every event, as a watcher that keeps up sees them.
	mu   sync.Mutex
	log  []Event
	news chan struct{} // something was added to log
	end  func()
}

// start runs a driver with these targets under the gateway "gw" and returns before their first echoes.
func start(t *testing.T, net *network, targets ...Target) *bench {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &bench{Driver: New(Options{Listen: net.listen}), t: t, net: net, news: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	wg.Go(func() {
		b.Watch(ctx, func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.log = append(b.log, e)
			select {
			case b.news <- struct{}{}:
			default:
			}
		})
	})
	b.end = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(b.end)
	synctest.Wait()
	b.apply("gw", targets...)
	return b
}

// apply applies what must be without errors.
func (b *bench) apply(gateway string, targets ...Target) {
	b.t.Helper()
	r, err := b.Apply(b.t.Context(), gateway, targets)
	if err != nil || len(r.Errors) != 0 {
		b.t.Fatalf("apply: %v %v", err, r.Errors)
	}
	var want []string
	for _, t := range targets {
		want = append(want, t.Tunnel)
	}
	slices.Sort(want)
	if !slices.Equal(r.Installed, want) {
		b.t.Fatalf("installed %v, want %v", r.Installed, want)
	}
	synctest.Wait()
}

// until lets time pass to the moment at which the tunnel's state becomes this one, and fails after a bubble's minute.
func (b *bench) until(tunnel, state string) State {
	b.t.Helper()
	timeout := time.After(time.Minute)
	for {
		synctest.Wait()
		if s := b.State(tunnel); s.State == state {
			return s
		}
		select {
		case <-b.news:
		case <-timeout:
			b.t.Fatalf("%s is %+v, not %s, after a minute", tunnel, b.State(tunnel), state)
		}
	}
}

// expect fails unless the tunnel's state is this one.
func (b *bench) expect(tunnel, state string) State {
	b.t.Helper()
	s := b.State(tunnel)
	if s.State != state {
		b.t.Fatalf("%s is %+v, want %s", tunnel, s, state)
	}
	return s
}

// states returns the states that the watcher saw for a tunnel, in order.
func (b *bench) states(tunnel string) []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	var states []string
	for _, e := range b.log {
		if e.Tunnel == tunnel {
			states = append(states, e.State.State)
		}
	}
	return states
}

// pass lets d of the bubble's time pass: this blocks on the fake clock only.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// nextEcho lets time pass until the tunnel's next echo was sent, or would have been.
func (b *bench) nextEcho(tunnel string) {
	b.t.Helper()
	before := b.State(tunnel).Sent
	p := b.tunnels[tunnel].prober
	// Again for one that was brought forward meanwhile.
	for start := time.Now(); b.State(tunnel).Sent == before && time.Since(start) < time.Minute; {
		p.mu.Lock()
		next := p.next
		p.mu.Unlock()
		pass(max(min(time.Until(next), leastPatience/2), time.Microsecond))
	}
	if b.State(tunnel).Sent != before+1 {
		b.t.Fatalf("%s sends no more", tunnel)
	}
}

func tunnels(n *network) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.sent))
}
