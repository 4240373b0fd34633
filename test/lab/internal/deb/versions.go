package deb

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Versions lists, as "name version" in order of name, those packages that are installed below root and everything installed that they
// depend on, directly or not: what their programs do can change with no other package.
func Versions(ctx context.Context, root string, packages []string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "--admindir", filepath.Join(root, "var", "lib", "dpkg"), "-W",
		"-f", "${db:Status-Status}|${Package}|${Version}|${Pre-Depends}, ${Depends}|${Provides}\n").Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-query: %w", err)
	}
	return closure(string(out), packages), nil
}

type installed struct {
	versions []string // several with several architectures
	depends  []string
}

// closure reads lines of "status|package|version|depends|provides".
func closure(listing string, packages []string) []string {
	have := map[string]installed{}
	providers := map[string][]string{}
	for line := range strings.Lines(listing) {
		f := strings.Split(strings.TrimSpace(line), "|")
		// Alternatives are separated by "|", too: the fields in the middle belong to the dependencies.
		if len(f) < 5 || f[0] != "installed" {
			continue
		}
		p := have[f[1]]
		p.versions = append(p.versions, f[2])
		p.depends = append(p.depends, names(strings.Join(f[3:len(f)-1], ","))...)
		have[f[1]] = p
		for _, virtual := range names(f[len(f)-1]) {
			providers[virtual] = append(providers[virtual], f[1])
		}
	}
	var list []string
	seen := map[string]bool{}
	for queue := slices.Clone(packages); len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		queue = append(queue, providers[name]...)
		if p, ok := have[name]; ok {
			for _, v := range p.versions {
				list = append(list, name+" "+v)
			}
			queue = append(queue, p.depends...)
		}
	}
	slices.Sort(list)
	return list
}

// names returns the package names of a dependency field, without versions and architectures.
func names(field string) []string {
	var all []string
	for item := range strings.SplitSeq(field, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(item), " ")
		name, _, _ = strings.Cut(name, ":")
		if name != "" {
			all = append(all, name)
		}
	}
	return all
}
