package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/source"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp/gobgp"
	"github.com/bordergw/bordergw/dataplane/bfd"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/probe"
	"github.com/bordergw/bordergw/dataplane/route"
)

// What bubbles cannot hold, in the world's own time: file notifications and charon's socket.
func TestFilesAndSockets(t *testing.T) {
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "vici")
	kernel, daemon := netlinktest.New(t), charontest.New()
	defer daemon.Close()
	if err := daemon.Listen(socket); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"eth0", "vpc0"} {
		kernel.AddDevice(name)
	}
	host := plan.Host{Name: "gw-a", Underlay: "eth0", UnderlayMTU: 1500,
		Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}}
	log := slog.New(slog.DiscardHandler)
	var a *Agent
	a = New(Options{
		Version: "test", Host: host, Log: log,
		Source: source.NewFile(source.FileOptions{Dir: dir, Log: log, Debounce: 10 * time.Millisecond, Interval: time.Hour,
			Changed: func(*apiv1.SourceStatus) { a.SourceChanged() },
			Load: func(dir string) (*apiv1.Set, []*apiv1.Finding) {
				return manifest.Load(dir, manifest.LoadOptions{Owns: host.Owns, Underlay: host.Underlay})
			}}),
		Drivers: Drivers{
			Charon: charon.New(charon.Options{Socket: socket, Log: log}), Link: link.New(kernel, kernel.SysctlRoot(), log),
			Route: route.New(kernel, log), Firewall: newFakeFirewall(), BGP: gobgp.New(gobgp.Options{Log: log}),
			Probe: probe.New(probe.Options{Log: log, Listen: newPeers().listen}),
			BFD:   bfd.New(bfd.Options{Log: log, Listen: newBFDWires().listen}),
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	write := func(name, text string) {
		t.Helper()
		// Through a rename, as configuration management does.
		if err := os.WriteFile(filepath.Join(dir, ".new"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	running := func(name string) string {
		for _, t := range a.View().Tunnels {
			if t.GetName() == name {
				return t.GetStatus().GetRunning()
			}
		}
		return ""
	}

	await(t, "ready with an empty folder", func() bool { return a.View().Host.GetReady() })
	write("shop.yaml", shop().String())
	await(t, "both tunnels UP", func() bool { return running(shop1) == apiv1.RunningUp && running(shop2) == apiv1.RunningUp })
	write("broken.yaml", "kind: Nonsense\n")
	await(t, "refused", func() bool { return a.View().Host.GetSource().GetRefused() != nil })
	if running(shop1) != apiv1.RunningUp {
		t.Error("refused manifests took a tunnel down")
	}
	if err := os.Remove(filepath.Join(dir, "broken.yaml")); err != nil {
		t.Fatal(err)
	}
	await(t, "no longer refused", func() bool { return a.View().Host.GetSource().GetRefused() == nil })
	write("shop.yaml", shop().downAll().String())
	await(t, "both tunnels DOWN", func() bool { return running(shop1) == apiv1.RunningDown && running(shop2) == apiv1.RunningDown })
	if err := os.Remove(filepath.Join(dir, "shop.yaml")); err != nil {
		t.Fatal(err)
	}
	await(t, "nothing is served", func() bool { return len(a.View().Gateways) == 0 })
	await(t, "charon has nothing", func() bool { return len(daemon.Conns()) == 0 && len(daemon.Secrets()) == 0 })
	if stuck := a.Stuck(); len(stuck) > 0 {
		t.Errorf("stuck: %q", stuck)
	}
}

// await looks until the condition holds, for half a minute at most.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// A round that waits for something for ever is reported, one that only takes its time is not.
func TestStuck(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		release := make(chan struct{})
		w.firewall.hold("shop", release)
		tenant := shop()
		tenant.specs[shop1] = "mtu: 1300"
		w.write(manifests(tenant, mill()))
		w.pass(stuckAfter - time.Second)
		if got := w.agent.Stuck(); len(got) > 0 {
			t.Errorf("too early: %q", got)
		}
		w.pass(2 * time.Second)
		if got := w.agent.Stuck(); len(got) != 1 || got[0] != "shop" {
			t.Errorf("stuck: %q", got)
		}
		// The other gateway goes on.
		w.charon.PeerDies("bgw-" + mill1)
		w.until("mill notices", func() bool { return w.tunnel(mill1).GetCounters().GetEstablishments() == 2 })
		close(release)
		w.until("moves again", func() bool { return len(w.agent.Stuck()) == 0 })
	})
}
