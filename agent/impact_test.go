package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/api/impact"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// TestStatedImpactsAreTrue changes one field of a tunnel after the other, under an agent that runs, and compares what plan said with
// what then happened: none leaves charon and SAs alone, rekey replaces SAs and never takes the tunnel down.
func TestStatedImpactsAreTrue(t *testing.T) {
	for _, tc := range []struct{ spec, impact string }{
		{"description: other", apiv1.ImpactNone},
		{"mtu: 1300", apiv1.ImpactNone},
		{"mss: 1200", apiv1.ImpactNone},
		{"initiation: RESPOND", apiv1.ImpactNone},
		{"probe: {mode: ON}", apiv1.ImpactNone},
		{"probe: {interval: 2s}", apiv1.ImpactNone},
		{"probe: {failures: 5}", apiv1.ImpactNone},
		{"dpd: {timeout: 45s}", apiv1.ImpactNone},
		{"bgp: {maxPrefixes: 7, med: 5, prepend: 2}", apiv1.ImpactNone},
		{"bgp: {hold: 60s, keepalive: 20s}", apiv1.ImpactNone}, // there is no session
		{"dpd: {interval: 20s}", apiv1.ImpactRekey},
		{"dpd: {enabled: false}", apiv1.ImpactRekey},
		{"replayWindow: 64", apiv1.ImpactRekey},
		{"localId: gw.example.net", apiv1.ImpactRekey},
		{"remoteId: shop.example.net", apiv1.ImpactRekey},
		{"ike: {proposals: [aes256-sha256-modp2048]}", apiv1.ImpactRekey},
		{"ike: {lifetime: 14400s}", apiv1.ImpactRekey},
		{"esp: {proposals: [aes256gcm16-ecp384]}", apiv1.ImpactRekey},
		{"esp: {pfs: OPTIONAL}", apiv1.ImpactRekey},
		{"esp: {lifetime: 1800s}", apiv1.ImpactRekey},
		{"esp: {lifetimeBytes: 1000000000000}", apiv1.ImpactRekey},
		{"esp: {lifetimePackets: 1000000000}", apiv1.ImpactRekey},
		{"ike: {version: 1, proposals: [aes256-sha256-modp2048]}", apiv1.ImpactTunnel},
		{"adminState: DOWN", apiv1.ImpactTunnel},
	} {
		t.Run(tc.spec, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.startWith(manifests(shop()), shop1, shop2)
				w.pass(time.Minute)
				before, sas, logged := w.charon.Commands(), w.sas(), len(w.agent.View().Logs[shop1])
				tenant := shop()
				tenant.specs[shop1] = tc.spec
				p, err := w.agent.Plan([]manifest.File{{Name: "all.yaml", Content: []byte(manifests(tenant))}})
				if err != nil || !p.GetAccepted() || p.GetImpact() != tc.impact || len(p.GetChanges()) != 1 {
					t.Fatalf("plan: %v, %v; want %s", p, err, tc.impact)
				}
				w.silent("plan", before)
				w.write(manifests(tenant))
				w.pass(time.Minute)
				wentDown := false
				for _, e := range w.agent.View().Logs[shop1][logged:] {
					wentDown = wentDown || strings.Contains(e.GetMessage(), "running: DOWN")
				}
				switch tc.impact {
				case apiv1.ImpactNone:
					if changes := w.changes(before); len(changes) > 0 || w.sas()[shop1] != sas[shop1] || wentDown {
						t.Errorf("charon was told %q, SAs %s before and %s after, went down: %v", changes, sas[shop1], w.sas()[shop1], wentDown)
					}
				case apiv1.ImpactRekey:
					if w.sas()[shop1] == sas[shop1] || wentDown {
						t.Errorf("SAs %s before and %s after, went down: %v", sas[shop1], w.sas()[shop1], wentDown)
					}
				}
				if w.sas()[shop2] != sas[shop2] {
					t.Errorf("the other tunnel's SAs %s before and %s after", sas[shop2], w.sas()[shop2])
				}
			})
		})
	}
}

func TestPlanTellsWhatAKeyDoes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		sas := w.sas()
		other := strings.ReplaceAll(manifests(shop()), pskMark+shop1, pskMark+"another")
		p, err := w.agent.Plan([]manifest.File{{Name: "all.yaml", Content: []byte(other)}})
		if err != nil || len(p.GetChanges()) != 1 {
			t.Fatalf("%v, %v", p, err)
		}
		f := p.GetChanges()[0].GetFields()[0]
		if f.GetField() != "spec.psk" || !strings.Contains(f.GetMessage(), "psk changed") || strings.Contains(p.String(), pskMark) {
			t.Errorf("%v", p)
		}
		w.write(other)
		w.pass(time.Minute)
		if replaced := w.sas()[shop1] != sas[shop1]; replaced != (f.GetImpact() == apiv1.ImpactRekey) || w.tunnel(shop1).GetRunning() != apiv1.RunningUp {
			t.Errorf("impact %s, SAs %s before and %s after", f.GetImpact(), sas[shop1], w.sas()[shop1])
		}
	})
}

func TestPlanOfWhatWouldBeRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		p, err := w.agent.Plan([]manifest.File{{Name: "new.yaml", Content: []byte("kind: VPNTunnel\nname: x\nspec: {mtuu: 5}\n")}})
		if err != nil || p.GetAccepted() || len(p.GetChanges()) > 0 {
			t.Fatalf("%v, %v", p, err)
		}
		if f := p.GetFindings()[0]; f.GetFile() != "new.yaml" || f.GetLine() != 3 {
			t.Errorf("finding %v", f)
		}
		// What stands alone is right, but it may not take the place of what is there.
		without := shop()
		without.without[shop1] = true
		p, err = w.agent.Plan([]manifest.File{{Name: "new.yaml", Content: []byte(manifests(without))}})
		if err != nil || p.GetAccepted() || len(p.GetChanges()) != 1 || p.GetChanges()[0].GetAction() != apiv1.PlanRemoved {
			t.Fatalf("%v, %v", p, err)
		}
		w.mustChange(shop1, apiv1.ActionDisable)
		w.down(shop1, apiv1.ReasonAdminDown)
		p, err = w.agent.Plan([]manifest.File{{Name: "new.yaml", Content: []byte(manifests(without))}})
		if err != nil || !p.GetAccepted() || p.GetImpact() != impact.Greatest(nil) {
			t.Errorf("of a tunnel that is down here: %v, %v", p, err)
		}
	})
}
