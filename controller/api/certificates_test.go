package api_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/api"
	"github.com/bordergw/bordergw/controller/pki"
)

// replace puts files of one folder in place of another's, as a renewal does.
func replace(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		fresh := filepath.Join(to, name+".new")
		if err := os.WriteFile(fresh, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRenewedCertificates: another authority with all its certificates comes into force without a restart, for those who connect from then on.
func TestRenewedCertificates(t *testing.T) {
	r := start(t)
	if _, err := r.operator.ListBorderGateways(t.Context(), &apiv1.ListBorderGatewaysRequest{}); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if _, err := pki.Init(other, pki.Options{TrustDomain: trustDomain, Operators: []string{"alice"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	former := r.http("operator-alice")
	replace(t, other, r.dir, "ca.crt", "controller.crt", "controller.key", "operator-alice.crt", "operator-alice.key")
	r.operator = r.client("operator-alice", "")
	if _, err := r.operator.ListBorderGateways(t.Context(), &apiv1.ListBorderGatewaysRequest{}); err != nil {
		t.Fatal(err)
	}
	if resp, err := former.Get(r.url + "/openapi.yaml"); err == nil {
		_ = resp.Body.Close()
		t.Error("the former authority's certificates are still in force")
	}
}

// TestBrokenRenewal: files that do not belong together leave the former ones in force, with one line in the log.
func TestBrokenRenewal(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if _, err := pki.Init(d, pki.Options{TrustDomain: trustDomain, Operators: []string{"alice"}, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	c, err := api.OpenCertificates(&apiv1.TLSConfig{
		Ca: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "controller.crt"), Key: filepath.Join(dir, "controller.key"),
	}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	inForce := func() []byte {
		t.Helper()
		now, err := c.Server().GetConfigForClient(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		shown, err := c.Client().GetClientCertificate(&tls.CertificateRequestInfo{})
		if err != nil || !bytes.Equal(shown.Certificate[0], now.Certificates[0].Certificate[0]) {
			t.Fatalf("a client shows another certificate: %v", err)
		}
		return now.Certificates[0].Certificate[0]
	}
	first := inForce()
	replace(t, other, dir, "controller.crt")
	if got := inForce(); !bytes.Equal(got, first) || !bytes.Equal(inForce(), first) {
		t.Error("a certificate without its key is in force")
	}
	if n := strings.Count(log.String(), "renewed certificates cannot be used"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
	replace(t, other, dir, "controller.key", "ca.crt")
	if bytes.Equal(inForce(), first) {
		t.Error("the renewed certificate is not in force")
	}
}
