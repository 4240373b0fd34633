// Package arch_test holds the import rules of the project (docs/architecture.md).
package arch_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bordergw/bordergw/"

// rule says what packages under one folder may import of this module, and which libraries only they may import.
type rule struct {
	folder string
	// may lists folders of this module, beside the rule's own and internal.
	may []string
}

func rules() []rule {
	return []rule{
		{folder: "api", may: nil},
		{folder: "internal/ctl", may: []string{"api"}},
		{folder: "internal", may: nil},
		{folder: "dataplane/netlink", may: nil},
		{folder: "dataplane/charon", may: []string{"api", "dataplane"}},
		{folder: "dataplane/link", may: []string{"api", "dataplane", "dataplane/netlink"}},
		{folder: "dataplane/route", may: []string{"api", "dataplane", "dataplane/netlink"}},
		{folder: "dataplane/firewall", may: []string{"api", "dataplane"}},
		{folder: "dataplane/probe", may: []string{"api", "dataplane"}},
		{folder: "dataplane", may: nil},
		{folder: "bgp", may: []string{"api"}},
		{folder: "agent/plan", may: []string{"api", "bgp", "dataplane/**"}},
		{folder: "agent", may: []string{"api", "bgp", "dataplane/**"}},
		{folder: "configs", may: nil},
		{folder: "controller", may: []string{"api"}},
		{folder: "cmd", may: []string{"**"}},
		{folder: "test", may: []string{"**"}},
	}
}

// soleImporters maps libraries to the only folders that may import them.
func soleImporters() map[string][]string {
	return map[string][]string{
		"github.com/osrg/gobgp/":              {"bgp/gobgp"},
		"github.com/google/nftables":          {"dataplane/firewall"},
		"github.com/vishvananda/netlink":      {"dataplane/netlink"},
		"go.etcd.io/":                         {"controller"},
		"github.com/coreos/go-systemd/":       {"cmd"},
		"github.com/spf13/cobra":              {"internal/ctl"},
		"github.com/prometheus/client_golang": {"agent", "controller/metrics"},
	}
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestImportsGoOneWay(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(rules(), func(r rule) bool { return under(folder, r.folder) })
		if i < 0 {
			t.Errorf("%s is in no folder that the rules know", folder)
			continue
		}
		seen++
		r := rules()[i]
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module); ok && !allowed(r, own) {
				t.Errorf("%s imports %s, which packages under %s may not", folder, own, r.folder)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages looked at", seen)
	}
}

func TestLibrariesHaveOneImporter(t *testing.T) {
	for _, p := range packages(t) {
		folder := strings.TrimPrefix(p.ImportPath, module)
		if under(folder, "test") {
			continue
		}
		for _, imported := range p.Imports {
			for library, sole := range soleImporters() {
				if strings.HasPrefix(imported, library) && !slices.ContainsFunc(sole, func(s string) bool { return under(folder, s) }) {
					t.Errorf("%s imports %s, which only %v may", folder, imported, sole)
				}
			}
		}
	}
}

func allowed(r rule, imported string) bool {
	if under(imported, r.folder) || (under(imported, "internal") && !under(imported, "internal/ctl")) {
		return true
	}
	return slices.ContainsFunc(r.may, func(m string) bool {
		if m == "**" {
			return true
		}
		if rest, deep := strings.CutSuffix(m, "/**"); deep {
			return under(imported, rest) && !under(imported, "dataplane/netlink")
		}
		if m == "dataplane" {
			return imported == m
		}
		return under(imported, m)
	})
}

func under(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
