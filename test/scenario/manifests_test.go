//go:build lab

package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// TestBadManifests: scenario 9. A broken folder changes nothing; the errors name file, line and field; the good one is taken again.
func TestBadManifests(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true})
	w.BothUp()
	before, spis := w.kernelState(), w.SPIs()
	good := w.Manifests()["shop.yaml"]
	bad := []struct {
		name, content string
		// says are what the finding must name: file and line, then object, field and problem.
		says []string
	}{
		{"unknown field", strings.Replace(good, "  routing:", "  routting: BGP\n  routing:", 1),
			[]string{fmt.Sprintf("shop.yaml:%d:", lineOf(good, "  routing:")), "VPNConnection/shop-idc", "spec.routting", "routing"}},
		{"wrong type", strings.Replace(good, "asn: 65000", "asn: many", 1),
			[]string{fmt.Sprintf("shop.yaml:%d:", lineOf(good, "asn: 65000")), "BorderGateway/shop-prod", "spec.asn"}},
		{"not YAML", strings.Replace(good, "kind: CustomerGateway", "kind: [CustomerGateway", 1), []string{"shop.yaml:"}},
		{"rule broken", strings.Replace(good, "customerAddress: 203.0.113.1", "customerAddress: 203.0.113.9", 1),
			[]string{fmt.Sprintf("shop.yaml:%d:", lineOf(good, "customerAddress: 203.0.113.1")), "VPNTunnel/shop-idc-1", "spec.customerAddress"}},
		{"a tunnel that is UP removed", good[:strings.LastIndex(good, "---\n")], []string{"VPNTunnel/shop-idc-2", "adminState"}},
	}
	for _, b := range bad {
		t.Run(b.name, func(t *testing.T) {
			w.AgentA.WriteManifests(map[string]string{"shop.yaml": b.content})
			var text string
			lab.Eventually(t, startup, "the findings", func() error {
				out, err := w.AgentA.Ctl("get", "host", "-o", "wide")
				if err != nil {
					return err
				}
				text = out
				for _, s := range b.says {
					if !strings.Contains(out, s) {
						return fmt.Errorf("%q is not in:\n%s", s, out)
					}
				}
				return nil
			})
			holdsNoKey(t, "get host", text)
			w.metric(w.AgentA, `bordergw_source_findings{severity="error"} 1`)
			lab.Consistently(t, time.Second, "nothing changed", func() error {
				if now := w.kernelState(); now != before {
					return fmt.Errorf("the kernel's state, before:\n%s\nnow:\n%s", before, now)
				}
				return nil
			})
			if b.name != "a tunnel that is UP removed" {
				w.checkRefuses(t, b.says)
			}
		})
	}
	if now := w.SPIs(); now != spis {
		t.Errorf("SAs before %s, after %s", spis, now)
	}
	// The good one again, with a change that shows it was taken; SIGHUP makes it quick.
	w.Options.StaticRoutes = "[{prefix: 172.16.0.0/24, connection: shop-idc}, {prefix: 172.18.0.0/16, connection: shop-idc}]"
	w.Apply()
	w.AgentA.Kill(unix.SIGHUP)
	lab.Eventually(t, startup, "the new route", func() error {
		out, err := w.AgentA.Ctl("get", "routes")
		if err == nil && !strings.Contains(out, "172.18.0.0/16") {
			err = fmt.Errorf("routes:\n%s", out)
		}
		return err
	})
	w.metric(w.AgentA, `bordergw_source_findings{severity="error"} 0`)
	if now := w.SPIs(); now != spis {
		t.Errorf("SAs before %s, after %s", spis, now)
	}
}

func lineOf(text, what string) int {
	before, _, _ := strings.Cut(text, what)
	return strings.Count(before, "\n") + 1
}

// checkRefuses runs the agent's --check on the broken folder.
func (w *World) checkRefuses(t *testing.T, says []string) {
	t.Helper()
	out, err := w.GatewayA.Run(os.Getenv("BORDERGW_AGENT"), "--config", w.AgentA.ConfigFile(), "--check")
	if err == nil {
		t.Errorf("--check accepts it:\n%s", out)
		return
	}
	for _, s := range says {
		if !strings.Contains(out+err.Error(), s) {
			t.Errorf("--check does not say %q:\n%s\n%v", s, out, err)
		}
	}
}
