package metrics

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// expressions are the queries of the reference configurations, by where they are.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	decode := func(name string, unmarshal func([]byte, any) error) {
		content, err := os.ReadFile(filepath.Join("..", "..", "configs", name))
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := unmarshal(content, &tree); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		collectExpressions(tree, func(e string) { out[name] = append(out[name], e) })
	}
	decode("prometheus/bordergw.rules.yaml", yaml.Unmarshal)
	decode("grafana/bordergw.json", json.Unmarshal)
	return out
}

// collectExpressions finds queries, and the texts in which rules name metrics.
func collectExpressions(tree any, found func(string)) {
	switch node := tree.(type) {
	case map[string]any:
		for key, value := range node {
			if text, ok := value.(string); ok && slices.Contains([]string{"expr", "definition", "query", "description", "summary"}, key) {
				found(text)
			}
			collectExpressions(value, found)
		}
	case []any:
		for _, value := range node {
			collectExpressions(value, found)
		}
	}
}

var (
	metricUse = regexp.MustCompile(`\b(bordergw_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	quoted    = regexp.MustCompile(`"[^"]*"`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
)

// misuses are what an expression says about metrics that the table does not: a name, a label of it, a label at all.
func misuses(expression string) []string {
	var out []string
	labels := []string{"instance", "job"}
	for _, use := range metricUse.FindAllStringSubmatch(expression, -1) {
		rows := table()
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == use[1] })
		if i < 0 {
			out = append(out, "no metric "+use[1])
			continue
		}
		labels = append(labels, rows[i].labels...)
		for _, m := range matcher.FindAllStringSubmatch(use[2], -1) {
			if !slices.Contains(rows[i].labels, m[1]) && m[1] != "instance" && m[1] != "job" {
				out = append(out, use[1]+" has no label "+m[1])
			}
		}
	}
	for _, group := range grouping.FindAllStringSubmatch(quoted.ReplaceAllString(expression, `""`), -1) {
		for name := range strings.SplitSeq(group[1], ",") {
			if name = strings.TrimSpace(name); name != "" && len(labels) > 2 && !slices.Contains(labels, name) {
				out = append(out, "nothing has a label "+name)
			}
		}
	}
	return out
}

func TestReferenceConfigurationsNameMetricsThatExist(t *testing.T) {
	for file, all := range expressions(t) {
		uses := 0
		for _, e := range all {
			uses += len(metricUse.FindAllString(e, -1))
			for _, m := range misuses(e) {
				t.Errorf("%s: %s in %q", file, m, e)
			}
		}
		if uses < 15 {
			t.Errorf("%s names metrics only %d times", file, uses)
		}
	}
	for e, want := range map[string]int{
		`bordergw_tunnel_up{tunnel="a",direction="in"} == 0`:     1,
		`rate(bordergw_tunnel_bytes_total[5m])`:                  1,
		`max by (connection, colour) (bordergw_tunnel_up) == 0`:  1,
		`sum without (reason) (bordergw_tunnel_failures_total)`:  0,
		`max by (instance) (bordergw_tunnel_up{instance=~".*"})`: 0,
	} {
		if got := misuses(e); len(got) != want {
			t.Errorf("%s: %q", e, got)
		}
	}
}
