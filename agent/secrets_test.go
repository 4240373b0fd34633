package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/charon/charontest"
)

// passwordMark is in every BGP password of the test.
const passwordMark = "whispered-between-routers"

// A whole life with everything logged: what is secret is in charon and nowhere else.
func TestSecretsStaySecret(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Peer = func(_ string, attempt int) charontest.Outcome {
			return []charontest.Outcome{charontest.BadKey, charontest.Silent, charontest.BadChild, charontest.Up}[min(attempt-1, 3)]
		}
		password := fmt.Sprintf("bgp: {password: {value: %s}}", passwordMark)
		learning := mill()
		learning.routing = "BGP"
		learning.specs[mill1], learning.specs[mill2] = password, password
		w.startWith(manifests(shop(), learning), shop1, shop2, mill1, mill2)
		var seen strings.Builder
		look := func() {
			v := w.agent.View()
			fmt.Fprintf(&seen, "%+v %#v %v\n", *v, v, v.Logs)
			for _, m := range messages(v) {
				text, err := protojson.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				seen.Write(text)
				fmt.Fprintf(&seen, "%+v %#v\n", m, m)
			}
			for _, name := range plan.Serves(w.folder.last, w.agent.host) {
				g, err := plan.Build(w.folder.last, w.agent.host, w.agent.ids, name, 300)
				if err != nil {
					t.Fatal(err)
				}
				up := plan.Running{Tunnels: map[string]plan.TunnelRunning{mill1: {Up: true}, shop1: {Up: true}}}
				p, err := g.For(up)
				if err != nil {
					t.Fatal(err)
				}
				seen.WriteString(p.Text())
				fmt.Fprintf(&seen, "%+v %#v %v\n", p, p, *g)
			}
			fmt.Fprintf(&seen, "%+v %#v\n", w.folder.last, w.folder.last)
		}
		look()
		if !strings.Contains(seen.String(), "neighbor tunnel/mill-1") || !strings.Contains(seen.String(), " md5") {
			t.Error("the plan has no session with a password")
		}

		w.charon.PeerDies("bgw-" + shop1)
		w.charon.PeerCloses("bgw-" + mill1)
		w.up(shop1, mill1)
		look()
		w.charon.Kill()
		w.pass(time.Minute)
		look()
		w.charon.Start()
		w.up(shop1, shop2, mill1, mill2)
		// Manifests that are refused must not be quoted either.
		broken := mill()
		broken.specs[mill1] = "bgp: {password: {value: " + passwordMark + ", file: /nowhere}}, psk: {value: " + pskMark + "again}"
		w.write(manifests(shop(), broken))
		w.until("refused", func() bool { return w.agent.View().Host.GetSource().GetRefused() != nil })
		look()
		w.write("kind: VPNTunnel\nname: x\nspec: {psk: " + pskMark + "x, bgp: {password: [" + passwordMark + "]}}\n")
		w.pass(time.Second)
		look()
		w.write(manifests(shop().downAll(), mill().downAll()))
		w.down(shop1, apiv1.ReasonAdminDown)
		w.stop()
		look()

		all := w.log.String() + seen.String()
		for _, mark := range []string{pskMark, passwordMark} {
			if i := strings.Index(all, mark); i >= 0 {
				t.Errorf("a secret is told: …%s…", all[max(0, i-300):min(len(all), i+100)])
			}
		}
		if len(w.log.String()) < 10000 {
			t.Errorf("only %d bytes of log", len(w.log.String()))
		}
	})
}

// The secrets do reach charon, or the test above would prove nothing.
func TestSecretsReachCharon(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		for _, name := range []string{shop1, shop2} {
			if got := w.charon.Secrets()["bgw-"+name].Data; got != pskMark+name {
				t.Errorf("key of %s: %q", name, got)
			}
		}
	})
}
