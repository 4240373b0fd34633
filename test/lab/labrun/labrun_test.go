package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFlags(t *testing.T) {
	o, err := parseFlags([]string{"-timeout", "2m", "-memory", "512", "-results", "/r", "--", "cmd", "-x"})
	if err != nil {
		t.Fatal(err)
	}
	if o.timeout != 2*time.Minute || o.memoryMiB != 512 || o.results != "/r" || !cmp.Equal(o.argv, []string{"cmd", "-x"}) {
		t.Errorf("got %+v", o)
	}
	for _, args := range [][]string{{}, {"-mode", "docker", "cmd"}, {"-timeout", "0s", "cmd"}} {
		if o, err := parseFlags(args); err == nil {
			t.Errorf("%q: accepted as %+v", args, o)
		}
	}
}

func TestPassEnv(t *testing.T) {
	got := passEnv([]string{
		"PATH=/bin", "SSH_AUTH_SOCK=/s", "BORDERGW_AGENT=/a", "BORDERGW_LAB=vm", "BORDERGW_RESULTS=/x", "CI=true", "GOTRACEBACK=all",
	})
	want := []string{"PATH=/bin", "BORDERGW_AGENT=/a", "CI=true", "GOTRACEBACK=all"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("1\n2\n3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := tail(file, 2); got != "2\n3" {
		t.Errorf("got %q", got)
	}
}
