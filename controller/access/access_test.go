package access_test

import (
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/controller/access"
)

func TestFromCertificate(t *testing.T) {
	for name, want := range map[string]string{
		"spiffe://cloud/agent/gw-a":          "agent/gw-a",
		"spiffe://cloud/operator/alice":      "operator/alice",
		"spiffe://cloud/viewer/bob":          "viewer/bob",
		"spiffe://other/operator/alice":      "the certificate's name spiffe://other/operator/alice is not in spiffe://cloud",
		"https://cloud/operator/alice":       "the certificate's name https://cloud/operator/alice is not in spiffe://cloud",
		"spiffe://cloud/operator/alice?x=1":  "the certificate's name spiffe://cloud/operator/alice?x=1 is not in spiffe://cloud",
		"spiffe://cloud/root/alice":          "the certificate's name spiffe://cloud/root/alice must end in /agent/HOST, /operator/NAME or /viewer/NAME",
		"spiffe://cloud/operator":            "the certificate's name spiffe://cloud/operator must end in /agent/HOST, /operator/NAME or /viewer/NAME",
		"spiffe://cloud/agent/gw-a/operator": "the certificate's name spiffe://cloud/agent/gw-a/operator must end in /agent/HOST, /operator/NAME or /viewer/NAME",
	} {
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		id, err := access.FromCertificate(&x509.Certificate{URIs: []*url.URL{u}}, "cloud")
		got := id.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	u := access.Identity{Role: access.Operator, Name: "a"}.URI("cloud")
	for _, uris := range [][]*url.URL{nil, {u, u}} {
		if _, err := access.FromCertificate(&x509.Certificate{URIs: uris}, "cloud"); err == nil {
			t.Errorf("%d names", len(uris))
		}
	}
}

func TestTokens(t *testing.T) {
	alice, line, err := access.NewToken(access.Identity{Role: access.Operator, Name: "alice"})
	if err != nil || strings.Contains(line, alice) {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	load := func(content string) (*access.Tokens, error) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return access.LoadTokens(path)
	}
	tokens, err := load("# people\n\n" + line)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := tokens.Lookup(alice); err != nil || id.String() != "operator/alice" {
		t.Error(id, err)
	}
	for _, wrong := range []string{"", "bgw_", alice[:len(alice)-1], alice + "x", strings.Fields(line)[2]} {
		if id, err := tokens.Lookup(wrong); err == nil {
			t.Errorf("a wrong token is %s", id)
		}
	}
	for content, want := range map[string]string{
		"operator alice":                               "must be role, name and hash, not 2 words",
		"agent gw-a " + strings.Repeat("0", 64):        `the role must be operator or viewer, not "agent"`,
		"viewer b/ob " + strings.Repeat("0", 64):       `the name "b/ob" has characters that it may not have`,
		"viewer bob 00":                                "the hash must be 64 hexadecimal digits",
		"\nviewer bob " + strings.Repeat("x", 64):      ":2: the hash must be 64 hexadecimal digits",
		line + "viewer bob " + strings.Repeat("0", 63): ":2: the hash",
	} {
		if _, err := load(content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	if none, err := access.LoadTokens(""); err != nil {
		t.Error(err)
	} else if _, err := none.Lookup(alice); err == nil {
		t.Error("without a file there are no tokens")
	}
}
