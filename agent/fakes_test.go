package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/firewall"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// folder is source.File without file notifications, which do not work in a bubble: it is read when the test says so.
type folder struct {
	dir  string
	wake chan struct{}
	// changed is called after each reading.
	changed func()
	// mlkem is asked at each reading, when set.
	mlkem func() apiv1.Capability
	// quotas are the defaults where they are zero.
	quotas apiv1.Quotas
	// locallyDown is source.FileOptions.LocallyDown.
	locallyDown func(string) bool

	mu     sync.Mutex
	status *apiv1.SourceStatus
	last   *apiv1.Set
}

var _ Source = (*folder)(nil)

func newFolder(dir string) *folder {
	return &folder{dir: dir, wake: make(chan struct{}, 1), status: &apiv1.SourceStatus{Source: "file:" + dir}}
}

// begin forgets everything, as a new process has.
func (f *folder) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.last = &apiv1.SourceStatus{Source: "file:" + f.dir}, nil
	f.reread()
}

func (f *folder) reread() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *folder) Status() *apiv1.SourceStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return proto.CloneOf(f.status)
}

func (f *folder) Run(ctx context.Context, emit func(*apiv1.Set)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		set := f.read()
		f.changed()
		if set != nil {
			emit(set)
		}
	}
}

func (f *folder) options() manifest.LoadOptions {
	options := manifest.LoadOptions{Underlay: "eth0", Quotas: f.quotas, Owns: func(a netip.Addr) bool {
		return a == netip.MustParseAddr("198.51.100.1") || a == netip.MustParseAddr("198.51.100.2")
	}}
	if f.mlkem != nil {
		options.MLKEM = f.mlkem()
	}
	return options
}

// parse reads files that are not in the folder.
func (f *folder) parse(files []manifest.File) (*apiv1.Set, []*apiv1.Finding, *manifest.Positions) {
	return manifest.Parse(f.dir, files, f.options())
}

// read returns the set when it is good and new.
func (f *folder) read() *apiv1.Set {
	set, findings := manifest.Load(f.dir, f.options())
	f.mu.Lock()
	defer f.mu.Unlock()
	if set != nil && f.last != nil {
		findings = append(findings, apiv1.AdmitChange(f.last.WithDown(f.locallyDown), set)...)
	}
	f.status.Findings = findings
	if set == nil || apiv1.Refused(findings) {
		f.status.Refused = timestamppb.Now()
		return nil
	}
	f.status.Refused = nil
	if f.last != nil && f.last.Equal(set) {
		return nil
	}
	f.last = set
	f.status.Generation++
	f.status.Accepted = timestamppb.Now()
	return set
}

// fakeFirewall remembers what it was given and counts what the driver would have written.
type fakeFirewall struct {
	mu       sync.Mutex
	gateways map[string]firewall.Gateway
	writes   int
	swept    int
	wire     map[firewall.Endpoints]firewall.Traffic
	passed   map[string]firewall.Traffic
	// held makes Apply of a gateway wait.
	held map[string]chan struct{}
}

var _ Firewall = (*fakeFirewall)(nil)

func newFakeFirewall() *fakeFirewall {
	return &fakeFirewall{gateways: map[string]firewall.Gateway{}, held: map[string]chan struct{}{},
		wire: map[firewall.Endpoints]firewall.Traffic{}, passed: map[string]firewall.Traffic{}}
}

// hold makes the next Apply of a gateway wait until release is closed.
func (f *fakeFirewall) hold(gateway string, release chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held[gateway] = release
}

func (f *fakeFirewall) Apply(_ context.Context, want firewall.Gateway) error {
	f.mu.Lock()
	if release, ok := f.held[want.Name]; ok {
		delete(f.held, want.Name)
		f.mu.Unlock()
		<-release
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	if want.Name == "" {
		return errors.New("name missing")
	}
	if have, ok := f.gateways[want.Name]; !ok || fmt.Sprint(have) != fmt.Sprint(want) {
		f.gateways[want.Name] = want
		f.writes++
	}
	return nil
}

func (f *fakeFirewall) Remove(_ context.Context, gateway string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.gateways[gateway]; ok {
		delete(f.gateways, gateway)
		f.writes++
	}
	return nil
}

func (f *fakeFirewall) Sweep(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swept++
	return nil
}

// Wire says what was carried for the tunnels that there are, and fails when that is nil.
func (f *fakeFirewall) Wire(context.Context) (map[firewall.Endpoints]firewall.Traffic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wire == nil {
		return nil, errors.New("no such table")
	}
	out := map[firewall.Endpoints]firewall.Traffic{}
	for _, g := range f.gateways {
		for _, t := range g.Tunnels {
			e := firewall.Endpoints{Local: t.Local, Remote: t.Remote}
			if traffic, ok := f.wire[e]; ok {
				out[e] = traffic
			}
		}
	}
	return out, nil
}

// Forwarded says what passed over tunnels that are watched.
func (f *fakeFirewall) Forwarded(context.Context) (map[string]firewall.Traffic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]firewall.Traffic{}
	for _, g := range f.gateways {
		for _, t := range g.Tunnels {
			if t.Watched {
				out[t.Interface] = f.passed[t.Interface]
			}
		}
	}
	return out, nil
}

// forward is one packet from a tunnel and one to it.
func (f *fakeFirewall) forward(device string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.passed[device]
	t.In.Packets++
	t.Out.Packets++
	f.passed[device] = t
}

func (f *fakeFirewall) carry(wire map[firewall.Endpoints]firewall.Traffic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wire = wire
}

func (f *fakeFirewall) Watch(ctx context.Context, _ func(dataplane.Hint)) error {
	<-ctx.Done()
	return nil
}

// Invalidate has nothing to forget: the fake is what it remembers.
func (f *fakeFirewall) Invalidate() {}

func (f *fakeFirewall) take() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.writes
	f.writes = 0
	return n
}

// gateway is what the table says of a gateway.
func (f *fakeFirewall) gateway(name string) (firewall.Gateway, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g, ok := f.gateways[name]
	return g, ok
}

// peers are the inside addresses of customers, which answer probes unless they are silenced.
type peers struct {
	mu     sync.Mutex
	silent map[string]bool
}

func newPeers() *peers { return &peers{silent: map[string]bool{}} }

func (p *peers) silence(tunnel string, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent[tunnel] = silent
}

func (p *peers) listen(t probe.Target) (probe.Conn, error) {
	return &echo{peers: p, tunnel: t.Tunnel, answers: make(chan []byte, 16), closed: make(chan struct{})}, nil
}

type echo struct {
	peers   *peers
	tunnel  string
	answers chan []byte
	closed  chan struct{}
	once    sync.Once
}

func (e *echo) Send(message []byte) error {
	e.peers.mu.Lock()
	defer e.peers.mu.Unlock()
	if e.peers.silent[e.tunnel] {
		return nil
	}
	reply := append([]byte(nil), message...)
	reply[0] = 0 // ICMP echo reply; the request's type was 8, and the checksum is a one's complement sum (RFC 1624).
	sum := uint32(reply[2])<<8 + uint32(reply[3]) + 0x0800
	sum = sum>>16 + sum&0xffff
	reply[2], reply[3] = byte(sum>>8), byte(sum)
	select {
	case e.answers <- reply:
	default:
	}
	return nil
}

func (e *echo) Receive(buf []byte) ([]byte, error) {
	select {
	case <-e.closed:
		return nil, os.ErrClosed
	case m := <-e.answers:
		return buf[:copy(buf, m)], nil
	}
}

func (e *echo) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}
