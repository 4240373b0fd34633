package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/dataplane/charon/charontest"
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
