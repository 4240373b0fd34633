package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func someChanges() changes {
	at := stamp(time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC))
	return changes{
		host: &apiv1.LocalChange{State: apiv1.LocalDraining, Since: at, By: "root", Deadline: at},
		tunnels: map[string]*apiv1.LocalChange{
			"a": {State: apiv1.LocalDisabled, Since: at, By: "uid 1000"},
			"b": {State: apiv1.LocalDraining, Stage: apiv1.DrainTimedOut, Since: at, Deadline: at, Message: "12 packets", Host: true},
			"c": {State: apiv1.LocalDrained, Since: at, Host: true},
		},
	}
}

func equal(t *testing.T, want, got changes) {
	t.Helper()
	if diff := cmp.Diff(want.tunnels, got.tunnels, protocmp.Transform()); diff != "" {
		t.Errorf("tunnels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.host, got.host, protocmp.Transform()); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
}

func TestFileKeepsChanges(t *testing.T) {
	f := NewFile(filepath.Join(t.TempDir(), "not", "yet"))
	got, err := f.read()
	if err != nil || got.host != nil || len(got.tunnels) != 0 {
		t.Fatalf("without a file: %v, %v", got, err)
	}
	want := someChanges()
	for range 2 {
		if err := f.write(want); err != nil {
			t.Fatal(err)
		}
		if got, err = f.read(); err != nil {
			t.Fatal(err)
		}
		equal(t, want, got)
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Dir(f.path) + "/*"); err != nil || len(left) != 1 {
		t.Errorf("files left: %q, %v", left, err)
	}
}

func TestFileRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"nothing":         {"", "cannot be parsed"},
		"half a document": {`{"version": 1, "tunnels"`, "cannot be parsed"},
		"another version": {`{"version": 2}`, "version: 2 is not 1"},
		"no version":      {`{}`, "version: 0 is not 1"},
		"unknown field":   {`{"version": 1, "tunels": {}}`, "tunels"},
		"two documents":   {`{"version": 1}{}`, "something follows"},
		"unknown state":   {`{"version": 1, "tunnels": {"a": {"state": "GONE"}}}`, `tunnels.a: state: "GONE"`},
		"unknown stage":   {`{"version": 1, "tunnels": {"a": {"state": "DRAINING", "stage": "DOWN"}}}`, `tunnels.a: stage: "DOWN"`},
		"no stage":        {`{"version": 1, "tunnels": {"a": {"state": "DRAINING"}}}`, `tunnels.a: stage: ""`},
		"a stage of none": {`{"version": 1, "tunnels": {"a": {"state": "DISABLED", "stage": "WITHDRAWN"}}}`, `stage: "WITHDRAWN"`},
		"disabled host":   {`{"version": 1, "host": {"state": "DISABLED"}}`, `host.state: "DISABLED"`},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFile(t.TempDir())
			if err := os.WriteFile(f.path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := f.read()
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), f.path) || len(got.tunnels) != 0 {
				t.Fatalf("%v, %v; want %q", got, err, tc.want)
			}
			if err := f.write(someChanges()); err != nil {
				t.Fatal(err)
			}
			if aside, err := os.ReadFile(f.path + unusable); err != nil || string(aside) != tc.content {
				t.Errorf("kept aside: %q, %v", aside, err)
			}
			if got, err = f.read(); err != nil {
				t.Error(err)
			}
			equal(t, someChanges(), got)
		})
	}
	f := NewFile(t.TempDir())
	if err := os.Mkdir(f.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.read(); err == nil {
		t.Error("a folder was read")
	}
}

// FuzzParse: whatever is accepted is the same when it was written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version": 1, "host": {"state": "DRAINED"}, "tunnels": {"a": {"state": "DRAINING", "stage": "WITHDRAWN", "since": "2026-11-22T18:00:00Z"}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		first, err := parse(content)
		if err != nil {
			return
		}
		file := NewFile(t.TempDir())
		if err := file.write(first); err != nil {
			t.Fatal(err)
		}
		again, err := file.read()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, first, again)
	})
}
