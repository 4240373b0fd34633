package arch_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const root = "../.."

// testFunc is one test or fuzz function; literals are the strings in it, among which the names of its cases are.
type testFunc struct{ literals map[string]bool }

// testFuncs finds all of the tree by folder and name: "api/v1.TestDefaults". Build tags do not matter. The literals of functions that tests
// of the same folder call for their cases count for all tests of the folder.
func testFuncs(t *testing.T) map[string]testFunc {
	t.Helper()
	found := map[string]testFunc{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return firstOf(err, fs.SkipDir)
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				found[filepath.ToSlash(folder)+"."+f.Name.Name] = testFunc{literals: stringLiterals(f)}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func firstOf(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func stringLiterals(n ast.Node) map[string]bool {
	literals := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if text, err := strconv.Unquote(l.Value); err == nil {
				literals[text] = true
			}
		}
		return true
	})
	return literals
}

// section is a table of docs/coverage.md: the cells of its rows by the first one.
type section map[string][]string

func coverage(t *testing.T) (map[string]section, string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "docs", "coverage.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]section{}
	title := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "## "); ok {
			title = text
			sections[title] = section{}
		}
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if sections[title][cells[0]] != nil {
			t.Errorf("%s: %q is there twice", title, cells[0])
		}
		sections[title][cells[0]] = cells[1:]
	}
	return sections, string(content)
}

// TestCoverageNamesTestsThatExist: a test that is renamed or removed takes its promise with it, unless somebody says where it is kept now.
func TestCoverageNamesTestsThatExist(t *testing.T) {
	_, text := coverage(t)
	have := testFuncs(t)
	named := regexp.MustCompile("`((?:[a-z0-9/]+\\.)?(?:Test|Fuzz)[A-Z][A-Za-z0-9]*)(?:/([^`]+))?`").FindAllStringSubmatch(text, -1)
	if len(named) < 100 {
		t.Fatalf("only %d tests are named: the page cannot be read", len(named))
	}
	for _, n := range named {
		name := n[1]
		if !strings.Contains(name, ".") {
			name = "test/scenario." + name
		}
		f, ok := have[name]
		switch {
		case !ok:
			t.Errorf("there is no test %s", name)
		case n[2] != "" && !f.literals[n[2]]:
			t.Errorf("%s has no case %q", name, n[2])
		}
	}
}

// TestCoverageIsWhole: every promise has a test or a reason for none in every column, every field its default.
func TestCoverageIsWhole(t *testing.T) {
	sections, _ := coverage(t)
	for title, rows := range sections {
		for name, cells := range rows {
			for i, cell := range cells {
				isDefault := title == "Fields of a tunnel" && i == 0
				if !isDefault && name != "field" && !strings.Contains(cell, "`") && !strings.HasPrefix(cell, "none: ") && !header(name) {
					t.Errorf("%s: %s: column %d: neither a test nor a reason for none: %q", title, name, i+2, cell)
				}
			}
			if !header(name) && !strings.Contains(strings.Join(cells, ""), "`") {
				t.Errorf("%s: %s: no test", title, name)
			}
		}
	}
	defaults := &apiv1.VPNTunnel{Spec: &apiv1.VPNTunnelSpec{CloudAddress: "cloudAddress", CustomerAddress: "customerAddress", Inside: &apiv1.Inside{}}}
	apiv1.DefaultTunnel(defaults)
	defaults.Spec.CloudAddress, defaults.Spec.CustomerAddress = "", ""
	want := leaves(defaults.Spec.ProtoReflect(), "")
	have := sections["Fields of a tunnel"]
	for field, value := range want {
		cells, ok := have[field]
		switch {
		case !ok:
			t.Errorf("field %s has no row", field)
		case cells[0] != value:
			t.Errorf("field %s: the default is %q, the page says %q", field, value, cells[0])
		}
	}
	for field := range have {
		if _, ok := want[field]; !ok && !header(field) {
			t.Errorf("there is no field %s", field)
		}
	}
	for _, reason := range apiv1.TunnelReasons() {
		if _, ok := sections["Why a tunnel is DOWN"][reason]; !ok {
			t.Errorf("reason %s has no row", reason)
		}
	}
}

// TestFiguresAreListed: every figure that the suite prints has a row, and only one place prints it.
func TestFiguresAreListed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "test", "scenario", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	sections, _ := coverage(t)
	printed := map[string]bool{}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:\b(?:measured\w*|verdictIn)\((?:t, )?|\bfigure: )"([^"]+)"`).FindAllStringSubmatch(string(content), -1) {
			if printed[m[1]] {
				t.Errorf("%q is printed twice", m[1])
			}
			printed[m[1]] = true
			if _, ok := sections["Figures"][m[1]]; !ok {
				t.Errorf("figure %q has no row", m[1])
			}
		}
	}
	for name := range sections["Figures"] {
		if !printed[name] && !header(name) {
			t.Errorf("nothing prints %q", name)
		}
	}
}

// header tells the first cells of headings.
func header(cell string) bool {
	return cell == "field" || cell == "reason" || cell == "promise" || cell == "measure" || cell == "figure"
}

// leaves are the fields of a message down to scalars, lists, durations and sources of secrets, with their values as manifests have them.
func leaves(m protoreflect.Message, prefix string) map[string]string {
	values := map[string]string{}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		path := prefix + f.JSONName()
		sub := f.Message()
		switch {
		case sub != nil && !f.IsList() && sub.ParentFile().Package() == m.Descriptor().ParentFile().Package() && sub.Name() != "SecretSource":
			for path, value := range leaves(m.Get(f).Message(), path+".") {
				values[path] = value
			}
		case !m.Has(f):
			values[path] = "–"
		case f.IsList():
			var items []string
			for i := range m.Get(f).List().Len() {
				items = append(items, m.Get(f).List().Get(i).String())
			}
			values[path] = strings.Join(items, ", ")
		default:
			values[path] = fmt.Sprint(m.Get(f).Interface())
			if d, ok := m.Get(f).Interface().(protoreflect.Message); ok {
				values[path] = seconds(d)
			}
		}
	}
	return values
}

func seconds(m protoreflect.Message) string {
	d, ok := m.Interface().(*durationpb.Duration)
	if !ok {
		return "?"
	}
	return strconv.FormatFloat(d.AsDuration().Seconds(), 'f', -1, 64) + "s"
}
