package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

// What the hybrid key exchange needs is asked of charon where it answers; where not, the check says that it did not.
func TestCheckAsksCharon(t *testing.T) {
	required := good + "  ike: {postQuantum: REQUIRED}\n"
	const ok = "ok: 1 BorderGateways, 1 CustomerGateways, 1 VPNConnections, 1 VPNTunnels"
	refused := "{dir}/manifests.d/shop.yaml:23: VPNTunnel/shop-1: spec.ike.postQuantum: REQUIRED cannot work here: "
	for _, tc := range []struct {
		name, manifests string
		charon          *charontest.Server
		code            int
		// want are the beginnings of the lines printed.
		want []string
	}{
		{"5.9.8", required, &charontest.Server{}, 1, []string{refused}},
		{"6.0.1 without the plugin", required, &charontest.Server{Version: "6.0.1"}, 1, []string{refused}},
		{"6.0.1", required, &charontest.Server{Version: "6.0.1", MLKEM: true}, 0, []string{ok}},
		{"nobody answers", required, nil, 0, []string{"not checked: whether charon has the ML-KEM that VPNTunnels shop-1 need: ", ok}},
		{"nobody answers and nothing depends on it", good, nil, 0, []string{ok}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, path := host(t, plain+"charon: {socket: \"{dir}/vici\"}\n", map[string]string{"shop.yaml": tc.manifests})
			if tc.charon != nil {
				s := charontest.New()
				defer s.Close()
				s.Version, s.MLKEM = tc.charon.Version, tc.charon.MLKEM
				if err := s.Listen(filepath.Join(dir, "vici")); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			if code := run([]string{"-config", path, "--check"}, &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, not %d", code, tc.code)
			}
			lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("%d lines, not %d:\n%s", len(lines), len(tc.want), stdout.String())
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(lines[i], strings.ReplaceAll(want, "{dir}", dir)) {
					t.Errorf("line %d is %q, not %q…", i+1, lines[i], want)
				}
			}
		})
	}
}

func TestHostKey(t *testing.T) {
	dir, path := host(t, plain+"state: \"{dir}/state\"\n", nil)
	print := func(flag string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run([]string{"-config", path, flag}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		return stdout.String()
	}
	first := print("-host-key")
	if again := print("-host-key"); again != first {
		t.Error("the key changes by being asked for")
	}
	encoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(first))
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.ParsePublicKey(encoded)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal(seal.Context("VPNTunnel/shop-1", "spec.psk"), secret.New("kept-from-all-eyes"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := strings.Replace(good, "{value: kept-from-all-eyes}", "{sealed: "+base64.StdEncoding.EncodeToString(sealed)+"}", 1)
	if err := os.WriteFile(filepath.Join(dir, "manifests.d", "shop.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if second := print("-rotate-host-key"); second == first {
		t.Error("the key is not rotated")
	}
	if out := print("-check"); !strings.Contains(out, "ok: 1 BorderGateways") {
		t.Error(out)
	}
	print("-rotate-host-key")
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-config", path, "-check"}, &stdout, &stderr); code != 1 || !strings.Contains(stdout.String(), "spec.psk.sealed: cannot be opened: was sealed for key") {
		t.Errorf("exit code %d: %s", code, stdout.String())
	}
}

func TestCheckOfAController(t *testing.T) {
	_, path := host(t, strings.Replace(plain, `{file: {path: "{dir}/manifests.d"}}`,
		`{controller: {endpoints: ["c:1"], ca: "{dir}/agent.yaml", cert: /b, key: /c}}`, 1), nil)
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-config", path, "-check"}, &stdout, &stderr); code != 1 || !strings.Contains(stdout.String(), "has no certificate in PEM form") {
		t.Errorf("exit code %d: %s", code, stdout.String())
	}
}
