package vault_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/controller/vault"
	"github.com/bordergw/bordergw/internal/secret"
)

const clear = "a long enough secret"

func write(t *testing.T, mode os.FileMode, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func key(t *testing.T, id string) string {
	t.Helper()
	line, err := vault.NewKey(id)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func open(t *testing.T, lines ...string) *vault.Vault {
	t.Helper()
	v, err := vault.Open(write(t, 0o600, lines...))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRotation(t *testing.T) {
	k1, k2 := key(t, "k1"), key(t, "k2")
	id, box, err := open(t, k1).Seal("tunnel a", secret.New(clear))
	if err != nil || id != "k1" || bytes.Contains(box, []byte(clear)) {
		t.Fatalf("key %q: %v", id, err)
	}
	both := open(t, "# the new one first\n", k2, "\n", k1)
	if both.Current() != "k2" {
		t.Errorf("%s encrypts", both.Current())
	}
	if got, err := both.Open("tunnel a", id, box); err != nil || got.Reveal() != clear {
		t.Error(err)
	}
	for _, tc := range []struct {
		name, place, id string
		v               *vault.Vault
		box             []byte
		want            string
	}{
		{"another place", "tunnel b", "k1", both, box, "not encrypted with this key"},
		{"another key", "tunnel a", "k2", both, box, "not encrypted with this key"},
		{"no such key", "tunnel a", "k1", open(t, k2), box, `key "k1", which this controller does not have`},
		{"cut off", "tunnel a", "k1", both, box[:10], "too short"},
	} {
		if _, err := tc.v.Open(tc.place, tc.id, tc.box); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestKeyFileErrors(t *testing.T) {
	k := key(t, "k")
	for _, tc := range []struct {
		name, want string
		mode       os.FileMode
		lines      []string
	}{
		{"others can read it", "can be read by others (mode 0640): chmod 600 it", 0o640, []string{k}},
		{"empty", "there is no key in it", 0o600, nil},
		{"twice", "line 2: key k is there twice", 0o600, []string{k, k}},
		{"short", "line 1: key a must be 32 bytes in base64", 0o600, []string{"a c2hvcnQ=\n"}},
		{"id", "line 1: the key's id must be", 0o600, []string{"a/b c2hvcnQ=\n"}},
	} {
		_, err := vault.Open(write(t, tc.mode, tc.lines...))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
