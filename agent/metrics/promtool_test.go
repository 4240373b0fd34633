//go:build promtool

package metrics

import (
	"bytes"
	"cmp"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/internal/version"
)

// promtool runs Prometheus' own checks; BORDERGW_PROMTOOL says where it is.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command(cmp.Or(os.Getenv("BORDERGW_PROMTOOL"), "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
	t.Logf("promtool %q:\n%s", args, bytes.TrimSpace(out))
}

func TestPromtoolRules(t *testing.T) {
	dir := filepath.Join("..", "..", "configs", "prometheus")
	promtool(t, "", "check", "rules", "--lint-fatal", filepath.Join(dir, "bordergw.rules.yaml"))
	promtool(t, "", "test", "rules", filepath.Join(dir, "bordergw.rules.test.yaml"))
}

// TestPromtoolDashboard gives the dashboard's queries to the parser as the rules that they are not.
func TestPromtoolDashboard(t *testing.T) {
	type rule struct {
		Record, Expr string
	}
	type group struct {
		Name  string
		Rules []rule
	}
	g := group{Name: "dashboard"}
	for _, e := range expressions(t)["grafana/bordergw.json"] {
		if !strings.Contains(e, "{") || strings.Contains(e, "label_values") {
			continue
		}
		g.Rules = append(g.Rules, rule{Record: "x:y" + strings.Repeat("x", len(g.Rules)), Expr: strings.ReplaceAll(e, "$__rate_interval", "5m")})
	}
	if len(g.Rules) < 20 {
		t.Fatalf("only %d queries", len(g.Rules))
	}
	text, err := yaml.Marshal(map[string][]group{"groups": {g}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", path)
}

func TestPromtoolMetrics(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "exposition.txt"))
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, string(golden), "check", "metrics")
	w := httptest.NewRecorder()
	Handler(func() *status.View { return nil }, version.Info{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	promtool(t, w.Body.String(), "check", "metrics")
}
