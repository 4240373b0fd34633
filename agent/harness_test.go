package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp/gobgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/probe"
	"github.com/bordergw/bordergw/dataplane/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway host: an Agent with the real drivers over a kernel, a charon, peers and a folder that live in the test. It is
// made for synctest bubbles, in which hours pass at once and Wait tells that nothing moves any more.
type world struct {
	t        testing.TB
	kernel   *netlinktest.Kernel
	charon   *charontest.Server
	firewall *fakeFirewall
	peers    *peers
	bfd      *bfdWires
	folder   *folder
	// state is the agent's state folder.
	state string
	log   *lockedBuffer

	// xfrmStat is the kernel's count of dropped packets, for the next start.
	xfrmStat func() (map[string]uint64, error)

	// links is the kernel as the link driver of the next start sees it, when it is set.
	links netlink.Kernel

	// cut keeps the agent from reaching charon, which is there.
	cut atomic.Bool

	agent *Agent
	bgp   *gobgp.Driver
	// speakers takes the place of bgp when it is set.
	speakers BGP
	stop     func()
	// settle waits until nothing moves any more, as far as that can be told: only in a bubble.
	settle func()
}

// inWorld runs a test in a bubble. No agent runs yet and the folder is empty.
func inWorld(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	dir, state := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, state)
		w.settle = synctest.Wait
		defer w.charon.Close()
		defer func() { w.stop() }()
		test(t, w)
	})
}

// newWorld returns a host without an agent; its manifests are to be in dir, its state folder is state.
func newWorld(t testing.TB, dir, state string) *world {
	w := &world{
		t: t, kernel: netlinktest.New(t), charon: charontest.New(), firewall: newFakeFirewall(), peers: newPeers(), bfd: newBFDWires(),
		folder: newFolder(dir), state: state, log: &lockedBuffer{}, stop: func() {}, settle: func() {},
	}
	w.kernel.AddDevice("eth0", netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("198.51.100.2/24"))
	w.kernel.AddDevice("vpc0", netip.MustParsePrefix("10.0.255.254/24"))
	w.kernel.AddDevice("vpc1", netip.MustParsePrefix("10.0.255.254/24"))
	return w
}

// start runs a new agent, which remembers nothing, on the host as it is.
func (w *world) start() {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.folder.begin()
	w.bgp = gobgp.New(gobgp.Options{Log: log})
	speakers := BGP(w.bgp)
	if w.speakers != nil {
		speakers = w.speakers
	}
	links := netlink.Kernel(w.kernel)
	if w.links != nil {
		links = w.links
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	w.agent = New(Options{
		Version: "test", State: w.state, Parse: w.folder.parse, Source: w.folder, Log: log, MaxBGPRoutes: 300,
		XfrmStat:      w.xfrmStat,
		CharonChanged: func(charon.Capabilities) { w.folder.reread() },
		Host: plan.Host{Name: "gw-a", Underlay: "eth0", UnderlayMTU: 1500,
			Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}},
		Drivers: Drivers{
			Charon: charon.New(charon.Options{Dial: w.dial, Log: log}), Link: link.New(links, w.kernel.SysctlRoot(), log),
			Route: route.New(w.kernel, log), Firewall: w.firewall, Probe: probe.New(probe.Options{Log: log, Listen: w.peers.listen}), BGP: speakers,
			BFD: bfd.New(bfd.Options{Log: log, Listen: w.bfd.listen}),
		},
	})
	w.folder.changed, w.folder.locallyDown = w.agent.SourceChanged, w.agent.Local().Down
	w.folder.mlkem = func() apiv1.Capability { return w.agent.MLKEM(ctx) }
	ended := make(chan error, 1)
	go func() { ended <- w.agent.Run(ctx) }()
	w.stop = func() {
		w.stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		if err := w.bgp.Close(context.Background(), false); err != nil {
			w.t.Errorf("BGP Close: %v", err)
		}
	}
}

func (w *world) dial(ctx context.Context) (net.Conn, error) {
	if w.cut.Load() {
		return nil, errors.New("no way to charon")
	}
	return w.charon.Dial(ctx)
}

// write replaces the manifests and has them read.
func (w *world) write(text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.folder.dir, "all.yaml"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.folder.reread()
}

// startWith is start with those manifests, until the agent is ready and all tunnels of the given names are up.
func (w *world) startWith(text string, up ...string) {
	w.t.Helper()
	w.write(text)
	w.start()
	w.ready()
	w.up(up...)
	w.rest()
}

func (w *world) ready() {
	w.t.Helper()
	w.until("ready", func() bool { return w.agent.Ready() && w.agent.View().Host.GetReady() })
}

func (w *world) up(tunnels ...string) {
	w.t.Helper()
	for _, name := range tunnels {
		w.until(name+" UP", func() bool { return w.tunnel(name).GetRunning() == apiv1.RunningUp })
	}
}

func (w *world) down(tunnel, reason string) {
	w.t.Helper()
	w.until(tunnel+" DOWN "+reason, func() bool {
		st := w.tunnel(tunnel)
		return st.GetRunning() == apiv1.RunningDown && st.GetReason() == reason
	})
}

// until lets time pass, two minutes at most, until the condition holds.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	for range 1200 {
		w.settle()
		if condition() {
			return
		}
		time.Sleep(100 * time.Millisecond) // The bubble's time, if there is one.
	}
	w.t.Fatalf("never: %s\n%s", what, w.dump())
}

// rest waits until the agent waits, and forgets the writes until then.
func (w *world) rest() {
	synctest.Wait()
	w.kernel.TakeWrites()
	w.firewall.take()
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) // The bubble's time.
	synctest.Wait()
}

// silent fails the test when something was written since the last rest, to the kernel, the firewall or charon.
func (w *world) silent(what string, charonBefore []string) {
	w.t.Helper()
	synctest.Wait()
	if writes := w.kernel.TakeWrites(); len(writes) > 0 {
		w.t.Errorf("%s: the kernel was written to: %q", what, writes)
	}
	if n := w.firewall.take(); n > 0 {
		w.t.Errorf("%s: the firewall was written to %d times", what, n)
	}
	if changes := w.changes(charonBefore); len(changes) > 0 {
		w.t.Errorf("%s: charon was told %q", what, changes)
	}
}

// changes are the commands that charon got since, but for those that only ask.
func (w *world) changes(before []string) []string {
	return slices.DeleteFunc(w.charon.Commands()[len(before):], func(c string) bool {
		verb, _, _ := strings.Cut(c, " ")
		return strings.HasPrefix(verb, "list-") || strings.HasPrefix(verb, "get-") || verb == "version"
	})
}

func (w *world) tunnel(name string) *apiv1.VPNTunnelStatus {
	for _, t := range w.agent.View().Tunnels {
		if t.GetName() == name {
			return t.GetStatus()
		}
	}
	return nil
}

func (w *world) gateway(name string) *apiv1.BorderGatewayStatus {
	for _, g := range w.agent.View().Gateways {
		if g.GetName() == name {
			return g.GetStatus()
		}
	}
	return nil
}

// stats are the counters of a gateway's rounds.
func (w *world) stats(gateway string) status.ReconcileStats {
	for _, s := range w.agent.View().Reconcile {
		if s.Gateway == gateway {
			return s
		}
	}
	return status.ReconcileStats{}
}

func (w *world) connection(name string) *apiv1.VPNConnectionStatus {
	for _, c := range w.agent.View().Connections {
		if c.GetConnection().GetName() == name {
			return c.GetConnection().GetStatus()
		}
	}
	return nil
}

// devicesOf are the names of the devices that a gateway's route to prefix leads to, sorted; nil without such a route.
func (w *world) devicesOf(gateway, prefix string) []string {
	w.t.Helper()
	kernel := w.kernel.Outside()
	routes, err := kernel.Routes(w.gateway(gateway).GetTable(), route.Protocol)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range routes {
		if r.Prefix.String() == prefix && r.Metric == route.Metric {
			return w.devicesBehind(r.Nexthop)
		}
	}
	return nil
}

func (w *world) devicesBehind(id uint32) []string {
	w.t.Helper()
	kernel := w.kernel.Outside()
	objects, err := kernel.Nexthops(route.Protocol)
	if err != nil {
		w.t.Fatal(err)
	}
	links, err := kernel.Links()
	if err != nil {
		w.t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	byID := map[uint32]netlink.Nexthop{}
	for _, n := range objects {
		byID[n.ID] = n
	}
	members := byID[id].Group
	if len(members) == 0 {
		members = []uint32{id}
	}
	var out []string
	for _, m := range members {
		out = append(out, names[byID[m].Link])
	}
	slices.Sort(out)
	return out
}

// device is the name of a tunnel's interface.
func (w *world) device(tunnel string) string { return w.tunnel(tunnel).GetInterfaceName() }

// nexthop is the id of the nexthop object on a device, for IPv4.
func (w *world) nexthop(device string) uint32 {
	w.t.Helper()
	l, err := w.kernel.Outside().Link(device)
	if err != nil {
		w.t.Fatal(err)
	}
	objects, err := w.kernel.Outside().Nexthops(route.Protocol)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range objects {
		if n.Link == l.Index && len(n.Group) == 0 && !n.IPv6 {
			return n.ID
		}
	}
	w.t.Fatalf("no nexthop on %s", device)
	return 0
}

// onTerminate calls f before charon carries out a terminate. It must be set before the agent is started.
func (w *world) onTerminate(f func()) {
	w.charon.Before = func(command string, _ *vici.Message) {
		if command == "terminate" {
			f()
		}
	}
}

// dump is what can be said of a host that is not as expected.
func (w *world) dump() string {
	var b strings.Builder
	if w.agent != nil {
		for _, g := range w.agent.View().Gateways {
			fmt.Fprintln(&b, prototext.MarshalOptions{}.Format(g.GetStatus()))
		}
		for _, t := range w.agent.View().Tunnels {
			fmt.Fprintln(&b, t.GetName(), prototext.MarshalOptions{}.Format(t.GetStatus()))
		}
	}
	text := w.log.String()
	return b.String() + text[max(0, len(text)-6000):]
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// installSAs gives the kernel what charon would have installed for the tunnels.
func (w *world) installSAs(tunnels ...string) {
	w.t.Helper()
	var sas []netlink.SA
	for _, name := range tunnels {
		t := w.tunnel(name)
		cloud, customer := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")
		sas = append(sas, netlink.SA{IfID: t.GetIfId(), Source: cloud, Destination: customer},
			netlink.SA{IfID: t.GetIfId(), Source: customer, Destination: cloud})
	}
	w.kernel.SetSAs(sas...)
}
