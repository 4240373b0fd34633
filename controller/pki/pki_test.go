package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/pki"
	"github.com/bordergw/bordergw/controller/vault"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	opts := pki.Options{TrustDomain: "cloud", Servers: []string{"ctl.example", "192.0.2.1"}, Agents: []string{"gw-a"}, Operators: []string{"alice"}, Now: time.Now()}
	written, err := pki.Init(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range written {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(path, ".crt") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	want := []string{"agent-gw-a.crt", "agent-gw-a.key", "ca.crt", "ca.key", "controller.crt", "controller.key", "encryption.keys", "operator-alice.crt", "operator-alice.key"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if _, err := vault.Open(filepath.Join(dir, "encryption.keys")); err != nil {
		t.Error(err)
	}
	// Hosts that are added later get certificates of the same authority; what is there stays.
	opts.Agents = append(opts.Agents, "gw-b")
	more, err := pki.Init(dir, opts)
	if err != nil || len(more) != 2 {
		t.Fatal(more, err)
	}
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatal(err)
	}
	for file, id := range map[string]string{"agent-gw-a": "agent/gw-a", "agent-gw-b": "agent/gw-b", "operator-alice": "operator/alice", "controller": "controller/controller"} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "ctl.example", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if (err == nil) != (file == "controller") {
			t.Errorf("%s as a server: %v", file, err)
		}
		if got, err := access.FromCertificate(pair.Leaf, "cloud"); err != nil || got.String() != id {
			t.Errorf("%s: %s %v", file, got, err)
		}
	}
	opts.Agents = []string{"a/b"}
	if _, err := pki.Init(dir, opts); err == nil {
		t.Error("a host name with a slash")
	}
}
