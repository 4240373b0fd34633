package contexts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/internal/ctl/contexts"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	const one = "- {name: a, server: 'https://ctl:9470/', ca: ca.crt, tokenFile: token}\n"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"one", "currentContext: a\ncontexts:\n" + one, ""},
		{"unknown field", "contexts:\n- {name: a, sever: x}\n", "field sever not found"},
		{"twice", "contexts:\n" + one + one, `contexts[1]: name: "a" is there twice`},
		{"no current", "currentContext: b\ncontexts:\n" + one, `currentContext: there is no context "b"`},
		{"in clear", "contexts: [{name: a, server: 'http://ctl', ca: x, tokenFile: t}]\n", `contexts[0]: server: must be https://HOST:PORT, not "http://ctl"`},
		{"no authority", "contexts: [{name: a, server: 'https://ctl', tokenFile: t}]\n", "ca: is required"},
		{"nobody", "contexts: [{name: a, server: 'https://ctl', ca: x}]\n", "either cert and key or tokenFile is required"},
		{"both", "contexts: [{name: a, server: 'https://ctl', ca: x, tokenFile: t, cert: c, key: k}]\n", "either cert and key or tokenFile is required"},
		{"half", "contexts: [{name: a, server: 'https://ctl', ca: x, cert: c}]\n", "cert and key are given together"},
	} {
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := contexts.Load(path)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if f, err := contexts.Load(filepath.Join(dir, "none")); err != nil || len(f.Contexts) > 0 {
		t.Errorf("without a file: %v %v", f, err)
	}
}

func TestAuthorityMustHaveACertificate(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.yaml": "currentContext: a\ncontexts: [{name: a, server: 'https://ctl', ca: ca.crt, tokenFile: token}]\n", "token": "bgw_x\n",
		"ca.crt": "no certificate",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := contexts.Load(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Find("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.HTTP(); err == nil || !strings.Contains(err.Error(), "has no certificate") {
		t.Error(err)
	}
}

func TestPath(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"/x":                                 {"BORDERGWCTL_CONFIG": "/x", "HOME": "/h"},
		"/c/bordergwctl/config.yaml":         {"XDG_CONFIG_HOME": "/c", "HOME": "/h"},
		"/h/.config/bordergwctl/config.yaml": {"HOME": "/h"},
	} {
		if got := contexts.Path(func(k string) string { return env[k] }); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
