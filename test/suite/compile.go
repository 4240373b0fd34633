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

// job is one test binary to run in the lab.
type job struct {
	// Package is the import path below the module, Dir its folder.
	Package, Dir string
	Argv         []string
}

// listed is what `go list` tells of a package.
type listed struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
}

// compile builds the tests of every package that has some behind the tag.
func compile(ctx context.Context, cache string, patterns []string, tags, run string, count int) ([]job, error) {
	want, err := regexp.Compile(run)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	plain, err := list(ctx, patterns)
	if err != nil {
		return nil, err
	}
	tagged, err := list(ctx, patterns, "-tags", tags)
	if err != nil {
		return nil, err
	}
	var jobs []job
	for path, p := range tagged {
		tests, err := labTests(p, plain[path])
		if err != nil {
			return nil, err
		}
		tests = slices.DeleteFunc(tests, func(name string) bool { return !want.MatchString(name) })
		if len(tests) == 0 {
			continue
		}
		name := strings.TrimPrefix(path, "github.com/bordergw/bordergw/")
		binary := filepath.Join(cache, strings.ReplaceAll(name, "/", "_")+".test")
		build := exec.CommandContext(ctx, "go", "test", "-c", "-tags", tags, "-o", binary, path)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go test -c %s: %w\n%s", name, err, out)
		}
		slices.Sort(tests)
		jobs = append(jobs, job{Package: name, Dir: p.Dir, Argv: []string{binary, "-test.v", "-test.count", strconv.Itoa(count),
			"-test.run", "^(" + strings.Join(tests, "|") + ")$"}})
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("no test behind the tag lab matches")
	}
	slices.SortFunc(jobs, func(a, b job) int { return strings.Compare(a.Package, b.Package) })
	return jobs, nil
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

// labTests returns the names of the test functions in files that only the tag adds.
func labTests(tagged, plain listed) ([]string, error) {
	without := append(slices.Clone(plain.TestGoFiles), plain.XTestGoFiles...)
	var tests []string
	for _, name := range append(slices.Clone(tagged.TestGoFiles), tagged.XTestGoFiles...) {
		if slices.Contains(without, name) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(tagged.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				tests = append(tests, f.Name.Name)
			}
		}
	}
	return tests, nil
}

func writeJobs(path string, jobs []job) error {
	content, err := json.MarshalIndent(jobs, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func readJobs(path string) ([]job, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var jobs []job
	return jobs, json.Unmarshal(content, &jobs)
}
