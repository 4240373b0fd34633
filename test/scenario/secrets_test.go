//go:build lab

package scenario

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noTrace fails when a key can be read from anything the agents say.
func noTrace(t *testing.T, w *World) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "tunnels", "-o", "json"}, {"get", "tunnels", "-o", "yaml"}, {"describe", "tunnel", Tunnel1},
		{"get", "gateways", "-o", "json"}, {"get", "connections", "-o", "json"}, {"get", "routes", "-o", "json"}, {"get", "host", "-o", "json"},
	} {
		out, err := w.AgentA.Ctl(args...)
		if err != nil {
			t.Errorf("bordergwctl %v: %v", args, err)
		}
		holdsNoKey(t, "bordergwctl", out)
	}
	for _, a := range w.Agents() {
		page, err := a.Metrics()
		if err != nil {
			t.Error(err)
		}
		holdsNoKey(t, "metrics", page)
		holdsNoKey(t, "the agent's log", a.Process().LogTail(1<<20))
		if files := grepFolder(t, a.StateDir(), PSK1, PSK2); len(files) > 0 {
			t.Errorf("keys in %q", files)
		}
	}
}

func holdsNoKey(t *testing.T, where, text string) {
	t.Helper()
	for _, key := range []string{PSK1, PSK2} {
		if strings.Contains(text, key) {
			t.Errorf("%s shows a pre-shared key", where)
		}
	}
}

// grepFolder returns the files below dir that contain one of the texts.
func grepFolder(t *testing.T, dir string, texts ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				found = append(found, path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found
}
