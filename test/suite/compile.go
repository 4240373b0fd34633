package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// module is the path of the module, with a slash.
const module = "github.com/bordergw/bordergw/"

// scenarios is the package whose tests are the end-to-end scenarios.
const scenarios = "test/scenario"

// job is one process of a test binary. It passes or fails, and is remembered, as a whole.
type job struct {
	// Name is the package, and for a package whose tests run one by one the test.
	Name string
	// Package is the import path below the module, Dir its folder.
	Package, Dir string
	Tests        []string // top-level tests
	Argv         []string
	Key          string // of all that the result depends on
	AtOnce       int    // how many processes may run meanwhile, itself included; 0 when it does not matter
}

// programs tells whether the job gets the programs under test.
func (j job) programs() bool { return j.Package == scenarios }

// listed is what `go list` tells of a package.
type listed struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
}

// builder compiles what a run needs into one folder of the checkout. Everything is built without paths, commits and dates in it, so
// that only a change of its own sources changes a binary.
type builder struct{ checkout, dir string }

func newBuilder() (*builder, error) {
	checkout, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	b := &builder{checkout: checkout, dir: filepath.Join(checkout, ".cache", "lab", "tests")}
	return b, os.MkdirAll(b.dir, 0o755)
}

func (b *builder) labrun() string             { return b.program("labrun") }
func (b *builder) program(name string) string { return filepath.Join(b.dir, name) }

func (b *builder) goTool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// compile builds the programs, and the tests of every package that has some behind the tag.
func (b *builder) compile(ctx context.Context, o options) ([]job, error) {
	want, err := regexp.Compile(o.run)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	plain, err := list(ctx, o.packages)
	if err != nil {
		return nil, err
	}
	tagged, err := list(ctx, o.packages, "-tags", o.tags)
	if err != nil {
		return nil, err
	}
	reproducible := []string{"-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version=lab"}
	var jobs []job
	for path, p := range tagged {
		tests, atOnce, err := labTests(p, plain[path])
		if err != nil {
			return nil, err
		}
		tests = slices.DeleteFunc(tests, func(name string) bool { return !want.MatchString(name) })
		if len(tests) == 0 {
			continue
		}
		name := strings.TrimPrefix(path, module)
		binary := b.program(strings.ReplaceAll(name, "/", "_") + ".test")
		if err := b.goTool(ctx, append([]string{"test", "-c", "-o", binary, "-tags", o.tags}, append(reproducible, path)...)...); err != nil {
			return nil, err
		}
		slices.Sort(tests)
		jobs = append(jobs, split(job{Package: name, Dir: p.Dir, Tests: tests}, atOnce, binary, o.count)...)
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("no test behind the tag %s matches", o.tags)
	}
	slices.SortFunc(jobs, func(a, b job) int { return strings.Compare(a.Name, b.Name) })
	build := append([]string{"build", "-o", b.dir + string(filepath.Separator)}, reproducible...)
	return jobs, b.goTool(ctx, append(build, "./test/suite", "./test/lab/labrun", "./cmd/bordergw-agent", "./cmd/bordergw-controller", "./cmd/bordergwctl")...)
}

// split makes one job of a package, or one of each test where tests are long.
func split(j job, atOnce map[string]int, binary string, count int) []job {
	groups := [][]string{j.Tests}
	if j.Package == scenarios {
		groups = nil
		for _, t := range j.Tests {
			groups = append(groups, []string{t})
		}
	}
	var jobs []job
	for _, tests := range groups {
		one := j
		one.Name, one.Tests = j.Package, tests
		for _, t := range tests {
			if n := atOnce[t]; n > 0 && (one.AtOnce == 0 || n < one.AtOnce) {
				one.AtOnce = n
			}
		}
		if j.Package == scenarios {
			one.Name += " " + tests[0]
		}
		one.Argv = []string{binary, "-test.v", "-test.count", strconv.Itoa(count), "-test.run", "^(" + strings.Join(tests, "|") + ")$"}
		jobs = append(jobs, one)
	}
	return jobs
}

// list asks go list; -e because a package may have no files but those behind the tag.
func list(ctx context.Context, patterns []string, flags ...string) (map[string]listed, error) {
	args := append([]string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	found := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		found[p.ImportPath] = p
	}
	return found, nil
}

// Directives above tests whose verdict hangs on time so much that nothing else, or just one such test, may run meanwhile.
const (
	aloneDirective = "//lab:alone"
	pairDirective  = "//lab:pair"
)

// labTests returns the names of the test functions in files that only the tag adds, and how many processes may run beside some of them.
func labTests(tagged, plain listed) (tests []string, atOnce map[string]int, err error) {
	without := append(slices.Clone(plain.TestGoFiles), plain.XTestGoFiles...)
	atOnce = map[string]int{}
	for _, name := range append(slices.Clone(tagged.TestGoFiles), tagged.XTestGoFiles...) {
		if slices.Contains(without, name) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(tagged.Dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
				continue
			}
			tests = append(tests, f.Name.Name)
			if f.Doc == nil {
				continue
			}
			for _, c := range f.Doc.List {
				switch c.Text {
				case aloneDirective:
					atOnce[f.Name.Name] = 1
				case pairDirective:
					atOnce[f.Name.Name] = 2
				}
			}
		}
	}
	return tests, atOnce, nil
}
