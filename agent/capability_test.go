package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// isHybrid says whether charon was given a hybrid proposal for the tunnel, for both kinds of SAs, before all classical ones.
func (w *world) isHybrid(tunnel string) bool {
	w.t.Helper()
	conn := w.charon.Conn("bgw-" + tunnel)
	hybrids := 0
	for kind, offered := range map[string][]string{
		"IKE": conn.List("proposals"), "ESP": conn.Section("children").Section("bgw-" + tunnel).List("esp_proposals"),
	} {
		classical := slices.IndexFunc(offered, func(p string) bool { return !strings.Contains(p, "-ke1_mlkem768") })
		if classical < 0 || slices.ContainsFunc(offered[classical:], func(p string) bool { return strings.Contains(p, "mlkem") }) {
			w.t.Errorf("%s proposals: %q", kind, offered)
		}
		if classical > 0 {
			hybrids++
		}
	}
	if hybrids == 1 {
		w.t.Error("hybrid proposals for one kind of SAs only")
	}
	return hybrids > 0
}

func TestHybridsAreOfferedWhereCharonCan(t *testing.T) {
	for _, tc := range []struct {
		name, version     string
		mlkem, late, want bool
	}{
		{name: "5.9.8", version: "5.9.8"},
		{name: "6.0.1 without the plugin", version: "6.0.1"},
		{name: "6.0.1", version: "6.0.1", mlkem: true, want: true},
		{name: "6.0.1 that comes late", version: "6.0.1", mlkem: true, late: true, want: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.charon.Version, w.charon.MLKEM = tc.version, tc.mlkem
				if tc.late {
					w.charon.Kill()
				}
				w.write(manifests(shop()))
				w.start()
				w.ready()
				if tc.late {
					w.charon.Start()
				}
				w.up(shop1, shop2)
				if got := w.isHybrid(shop1); got != tc.want {
					t.Errorf("hybrid: %v", got)
				}
				w.pass(time.Minute)
				w.rest()
				before := w.charon.Commands()
				described := shop()
				described.description = "moved"
				w.write(manifests(described))
				w.pass(time.Minute)
				w.silent("a description", before)
			})
		})
	}
}

// A charon that comes back with the plugin, or without it, is offered what it can do, with one negotiation for each tunnel.
func TestProposalsFollowTheCharonThatComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Version = "6.0.1"
		w.startWith(manifests(shop()), shop1, shop2)
		for i, mlkem := range []bool{true, false} {
			w.pass(time.Minute)
			w.charon.Kill()
			w.charon.MLKEM = mlkem
			before := len(w.charon.Commands())
			w.charon.Start()
			w.until("loaded again", func() bool { return w.charon.Conn("bgw-"+shop1) != nil && w.charon.Conn("bgw-"+shop2) != nil })
			w.pass(2 * time.Minute)
			w.up(shop1, shop2)
			if got := w.isHybrid(shop1); got != mlkem {
				t.Errorf("restart %d: hybrid: %v", i, got)
			}
			var did []string
			for _, c := range w.charon.Commands()[before:] {
				if strings.HasSuffix(c, "bgw-"+shop1) {
					did = append(did, c)
				}
			}
			want := []string{"load-shared bgw-" + shop1, "load-conn bgw-" + shop1, "initiate bgw-" + shop1}
			if diff := cmp.Diff(want, did); diff != "" {
				t.Errorf("restart %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

// required are the manifests of a tenant whose first tunnel accepts nothing but the hybrid key exchange.
func required() string {
	c := shop()
	c.specs[shop1] = "ike: {postQuantum: REQUIRED}"
	return manifests(c)
}

func (w *world) refusal() string {
	st := w.agent.View().Host.GetSource()
	if st.GetRefused() == nil {
		return ""
	}
	var texts []string
	for _, f := range st.GetFindings() {
		texts = append(texts, f.GetObject()+" "+f.GetField()+" "+f.GetMessage())
	}
	return strings.Join(texts, "; ")
}

const refusedField = "VPNTunnel/" + shop1 + " spec.ike.postQuantum REQUIRED cannot work here"

func TestRequiredHybridIsRefusedWhereCharonCannot(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write(required())
		w.start()
		w.until("refused", func() bool { return strings.HasPrefix(w.refusal(), refusedField) })
		if st := w.agent.View().Host.GetSource(); st.GetGeneration() != 0 {
			t.Errorf("it was in force before: generation %d", st.GetGeneration())
		}
		// A charon that can is enough for it to be accepted.
		w.charon.Kill()
		w.charon.Version, w.charon.MLKEM = "6.0.1", true
		w.charon.Start()
		w.up(shop1, shop2)
		if got := w.charon.Conn("bgw-" + shop1).List("proposals"); len(got) == 0 || slices.ContainsFunc(got, func(p string) bool {
			return !strings.Contains(p, "-ke1_mlkem768")
		}) {
			t.Errorf("offered: %q", got)
		}
		// One that lost the plugin: the reading is refused, the last good one stays in force, and the tunnel says why it is down.
		w.charon.Kill()
		w.charon.MLKEM = false
		w.charon.Start()
		w.down(shop1, apiv1.ReasonCharonRefused)
		w.up(shop2)
		if text := w.tunnel(shop1).GetMessage(); !strings.Contains(text, "ML-KEM") {
			t.Errorf("message: %s", text)
		}
		if text := w.refusal(); !strings.HasPrefix(text, refusedField) {
			t.Errorf("findings: %s", text)
		}
	})
}

// While nobody knows what charon can do nothing is refused for it, and not held up for long.
func TestRequiredHybridWithoutCharon(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Kill()
		w.write(required())
		begin := time.Now()
		w.start()
		w.ready()
		if took := time.Since(begin); took > charonPatience+time.Second {
			t.Errorf("ready after %v", took)
		}
		if text := w.refusal(); text != "" {
			t.Errorf("refused: %s", text)
		}
	})
}
