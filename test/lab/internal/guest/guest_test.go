package guest

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJobRoundTrip(t *testing.T) {
	want := Job{VM: true, Argv: []string{"a", "b c"}, Dir: "/d", Env: []string{"X=1"}, Results: "/r", Modules: "/m"}
	path := filepath.Join(t.TempDir(), "job.json")
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJob(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRun(t *testing.T) {
	for name, tc := range map[string]struct {
		argv           []string
		control        string
		code           int
		stdout, stderr string
	}{
		"both outputs and the exit code": {
			argv: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, code: 7, stdout: "out\n", stderr: "err\n",
		},
		"directory and environment": {argv: []string{"sh", "-c", "pwd; echo $X"}, stdout: "/\nyes\n"},
		"a signal": {
			argv: []string{"sh", "-c", "kill -9 $$"}, code: 137, stderr: "lab: the command was ended by signal: killed\n",
		},
		"quit from the host": {
			argv: []string{"sh", "-c", "trap 'echo bye; exit 3' QUIT; sleep 60 & wait"},
			// The command may not have set its trap yet when quit arrives; the signal ends it then.
			control: "quit\n", code: -1,
		},
		"a command that is not there": {
			argv: []string{"no-such-command"}, code: 127,
			stderr: "lab: exec: \"no-such-command\": executable file not found in $PATH\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", "/bin:/usr/bin")
			var stdout, stderr bytes.Buffer
			job := Job{Argv: tc.argv, Dir: "/", Env: []string{"PATH=/bin:/usr/bin", "X=yes"}}
			code := run(job, &stdout, &stderr, strings.NewReader(tc.control))
			if tc.code == -1 {
				if code != 3 && code != 131 {
					t.Errorf("exit code %d after quit", code)
				}
				return
			}
			if code != tc.code || stdout.String() != tc.stdout || stderr.String() != tc.stderr {
				t.Errorf("code %d, stdout %q, stderr %q", code, &stdout, &stderr)
			}
		})
	}
}
