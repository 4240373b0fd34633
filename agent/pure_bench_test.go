package agent

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/probe"
)

// BenchmarkPlan resolves all gateways of a host and computes their plans, with every tunnel up and 200 learned routes to a gateway.
func BenchmarkPlan(b *testing.B) {
	for _, tunnels := range sizes() {
		b.Run(fmt.Sprintf("tunnels=%d", tunnels), func(b *testing.B) {
			f := newFleet(tunnels)
			host := plan.Host{Name: "gw-a", Underlay: "eth0", UnderlayMTU: 1500,
				Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}}
			set := loadFleet(b, f, host)
			speakers := &speakers{learned: map[string][]bgp.Learned{}}
			f.speak(speakers)
			running := map[string]plan.Running{}
			for _, name := range plan.Serves(set, host) {
				run := plan.Running{Tunnels: map[string]plan.TunnelRunning{}, Members: map[string]bool{}, Learned: speakers.learned[name]}
				for tunnel := range set.Tunnels {
					run.Tunnels[tunnel] = plan.TunnelRunning{Up: true, Encryption: "AES_GCM_16"}
				}
				running[name] = run
			}
			ids := plan.NewIDs()
			b.ReportAllocs()
			for b.Loop() {
				for name, run := range running {
					g, err := plan.Build(set, host, ids, name, 1000)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := g.For(run); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func loadFleet(b *testing.B, f fleet, host plan.Host) *apiv1.Set {
	b.Helper()
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(f.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	set, findings := manifest.Load(dir, manifest.LoadOptions{Underlay: host.Underlay, Owns: host.Owns, Quotas: f.quotas()})
	if set == nil {
		b.Fatal(findings)
	}
	return set
}

// BenchmarkFold folds the layers of tunnels that are up into their statuses.
func BenchmarkFold(b *testing.B) {
	for _, tunnels := range sizes() {
		b.Run(fmt.Sprintf("tunnels=%d", tunnels), func(b *testing.B) {
			now := time.Now()
			l := status.Layers{
				AdminUp: true, Initiate: true,
				Charon: charon.State{Connected: true, Since: now.Add(-time.Hour), Loaded: true, IKE: charon.IKEEstablished,
					Children: []charon.ChildSA{{UniqueID: 1, State: apiv1.ChildInstalled}}},
				Interface: link.InterfaceState{Name: "bgwx1", Exists: true, OperUp: true}, Probe: probe.State{State: probe.StatePassing},
			}
			b.ReportAllocs()
			for b.Loop() {
				for range tunnels {
					if j := status.Judge(l, status.Past{}, now); !j.Up {
						b.Fatal(j)
					}
				}
			}
		})
	}
}

// BenchmarkDiff finds what happened between two rounds in which one of the tunnels went down.
func BenchmarkDiff(b *testing.B) {
	for _, tunnels := range sizes() {
		b.Run(fmt.Sprintf("tunnels=%d", tunnels), func(b *testing.B) {
			gateway := &apiv1.BorderGateway{Name: "tenant", Status: &apiv1.BorderGatewayStatus{}}
			before, after := fragment{gateway: gateway}, fragment{gateway: gateway}
			for i := range tunnels {
				t := &apiv1.VPNTunnel{Name: fmt.Sprintf("tenant-%d", i), Status: &apiv1.VPNTunnelStatus{Admin: apiv1.AdminStateUp, Running: apiv1.RunningUp,
					Since: timestamppb.Now(), Ike: apiv1.IKEEstablished, Child: apiv1.ChildInstalled}}
				before.tunnels = append(before.tunnels, t)
				if i == tunnels/2 {
					t, _ = proto.Clone(t).(*apiv1.VPNTunnel)
					t.Status.Running, t.Status.Reason = apiv1.RunningDown, apiv1.ReasonPeerUnreachable
				}
				after.tunnels = append(after.tunnels, t)
			}
			b.ReportAllocs()
			for b.Loop() {
				if events := happened(before, after); len(events) != 1 {
					b.Fatal(events)
				}
			}
		})
	}
}
