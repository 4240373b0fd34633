package xfrmstat

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xfrm_stat")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	text := "XfrmInError             \t0\nXfrmInNoStates          \t12\nXfrmInStateSeqError     \t18446744073709551615\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"XfrmInError": 0, "XfrmInNoStates": 12, "XfrmInStateSeqError": 1<<64 - 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{"XfrmInError\n", "XfrmInError many\n", "XfrmInError 1 2\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("XfrmInError 0\n\nXfrmOutError\t7\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parse(strings.NewReader(text))
		if err == nil && len(got) > strings.Count(text, "\n")+1 {
			t.Errorf("%d counters of %q", len(got), text)
		}
	})
}
