package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `kind: BorderGateway
name: shop
spec:
  attachments: [{name: vpc, interface: vpc0, prefixes: [10.0.0.0/16]}]
  staticRoutes: [{prefix: 172.16.0.0/24, connection: shop}]
---
kind: CustomerGateway
name: shop
spec: {asn: 65010, addresses: [203.0.113.1]}
---
kind: VPNConnection
name: shop
spec: {borderGateway: shop, customerGateway: shop, routing: STATIC, cloudAddresses: [198.51.100.1, 198.51.100.2]}
---
kind: VPNTunnel
name: shop-1
spec:
  connection: shop
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.1
  inside: {cloud: 169.254.10.1/30, customer: 169.254.10.2}
  psk: {value: kept-from-all-eyes}
`

// host writes a configuration and manifests and returns the configuration's path. {dir} in it is the folder of both.
func host(t *testing.T, config string, manifests map[string]string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "manifests.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range manifests {
		if err := os.WriteFile(filepath.Join(dir, "manifests.d", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "{dir}", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

const plain = `host: gw-a
addresses: [198.51.100.1]
underlay: {interface: eth0}
source: {file: {path: "{dir}/manifests.d"}}
`

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name      string
		config    string
		manifests map[string]string
		code      int
		// want are the lines printed.
		want []string
	}{
		{"good", plain, map[string]string{"shop.yaml": good}, 0,
			[]string{"ok: 1 BorderGateways, 1 CustomerGateways, 1 VPNConnections, 1 VPNTunnels"}},
		{"no manifests", plain, nil, 0, []string{"ok: 0 BorderGateways, 0 CustomerGateways, 0 VPNConnections, 0 VPNTunnels"}},
		{"warning", plain, map[string]string{"shop.yaml": good + "  ike: {proposals: [aes128-sha1-modp1024]}\n"}, 0, []string{
			"{dir}/manifests.d/shop.yaml:23: warning: VPNTunnel/shop-1: spec.ike.proposals[0]: ",
			"ok: 1 BorderGateways, 1 CustomerGateways, 1 VPNConnections, 1 VPNTunnels"}},
		{"every finding of several files", plain, map[string]string{
			"a.yaml": strings.Replace(strings.Replace(good, "10.0.0.0/16", "10.0.0.1/16", 1), "connection: shop}", "connection: sohp}", 1),
			"b.yaml": "kind: CustomerGateway\nname: mill\nspec:\n  asn: many\n  colour: red\n",
		}, 1, []string{
			"{dir}/manifests.d/a.yaml:4: BorderGateway/shop: spec.attachments[0].prefixes[0]: ",
			"{dir}/manifests.d/a.yaml:5: BorderGateway/shop: spec.staticRoutes[0].connection: ",
			"{dir}/manifests.d/b.yaml:4: CustomerGateway/mill: spec.asn: ",
			"{dir}/manifests.d/b.yaml:5: CustomerGateway/mill: spec.colour: ",
		}},
		{"quota of the configuration", plain + "quotas: {attachmentsPerGateway: 1}\n", map[string]string{
			"shop.yaml": strings.Replace(good, "attachments: [", "attachments: [{name: vpc2, interface: vpc1, prefixes: [10.9.0.0/16]}, ", 1)}, 1,
			[]string{"{dir}/manifests.d/shop.yaml:4: BorderGateway/shop: spec.attachments: "}},
		{"the underlay is no attachment", strings.Replace(plain, "eth0", "vpc0", 1), map[string]string{"shop.yaml": good}, 1,
			[]string{"{dir}/manifests.d/shop.yaml:4: BorderGateway/shop: spec.attachments[0].interface: "}},
		{"secret file that is missing", plain, map[string]string{
			"shop.yaml": strings.Replace(good, "psk: {value: kept-from-all-eyes}", "psk: {file: /nonexistent/psk}", 1)}, 1,
			[]string{"{dir}/manifests.d/shop.yaml:22: VPNTunnel/shop-1: spec.psk.file: "}},
		{"secret of another host's tunnel", strings.Replace(plain, "198.51.100.1", "198.51.100.2", 1), map[string]string{
			"shop.yaml": strings.Replace(good, "psk: {value: kept-from-all-eyes}", "psk: {file: /nonexistent/psk}", 1)}, 0,
			[]string{"ok: 1 BorderGateways, 1 CustomerGateways, 1 VPNConnections, 1 VPNTunnels"}},
		{"configuration", "addresses: [198.51.100.300]\nunderlay: {interfaces: eth0}\n", map[string]string{"shop.yaml": "kind: Nonsense\n"}, 1,
			[]string{"{dir}/agent.yaml:2: underlay.interfaces: "}},
		{"values of the configuration", "addresses: [198.51.100.300]\nunderlay: {interface: eth0}\nsource: {file: {path: /m}}\nlog: {level: loud}\n", nil, 1,
			[]string{"{dir}/agent.yaml:1: addresses[0]: ", "{dir}/agent.yaml:4: log.level: "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, path := host(t, tc.config, tc.manifests)
			var stdout, stderr bytes.Buffer
			if code := run([]string{"-config", path, "--check"}, &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, not %d", code, tc.code)
			}
			if stderr.Len() > 0 {
				t.Errorf("stderr: %s", stderr.String())
			}
			lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("%d lines, not %d:\n%s", len(lines), len(tc.want), stdout.String())
			}
			for i, want := range tc.want {
				want = strings.ReplaceAll(want, "{dir}", dir)
				if !strings.HasPrefix(lines[i], want) || strings.HasSuffix(want, ": ") && lines[i] == want {
					t.Errorf("line %d is %q, not %q…", i+1, lines[i], want)
				}
			}
			if strings.Contains(stdout.String(), "kept-from-all-eyes") {
				t.Error("a secret is printed")
			}
		})
	}
}

func TestUsage(t *testing.T) {
	_, nosource := host(t, "addresses: [198.51.100.1]\nunderlay: {interface: eth0}\n", nil)
	for _, tc := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // what they begin with
	}{
		{"version", []string{"--version"}, 0, "bordergw-agent ", ""},
		{"unknown flag", []string{"--colour"}, 2, "", "flag provided but not defined: -colour"},
		{"argument", []string{"start"}, 2, "", `bordergw-agent: unexpected argument "start"`},
		{"missing configuration", []string{"--config", "/nonexistent/agent.yaml"}, 1, "", "/nonexistent/agent.yaml:1: cannot be read: "},
		{"missing configuration, check", []string{"--config", "/nonexistent/agent.yaml", "--check"}, 1, "/nonexistent/agent.yaml:1: cannot be read: ", ""},
		{"refused configuration", []string{"--config", nosource}, 1, "", nosource + ":"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(tc.args, &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, not %d", code, tc.code)
			}
			for what, x := range map[string]struct{ got, want string }{"stdout": {stdout.String(), tc.stdout}, "stderr": {stderr.String(), tc.stderr}} {
				if !strings.HasPrefix(x.got, x.want) || x.want == "" && x.got != "" {
					t.Errorf("%s is %q, not %q…", what, x.got, x.want)
				}
			}
		})
	}
}

func TestHelpIsNoFault(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run([]string{"--help"}, &stdout, &stderr)
	for _, flag := range []string{"-config", "-check", "-version"} {
		if !strings.Contains(stderr.String(), flag) {
			t.Errorf("no %s in %s", flag, stderr.String())
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// In all of these serving is impossible before anything of the host is touched.
func TestWhatKeepsItFromServing(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tc := range []struct{ name, config, want string }{
		{"underlay", "underlay: {interface: nosuch0}\n", "bordergw-agent: underlay.interface: nosuch0: "},
		{"API socket below a file", "underlay: {interface: lo}\napi: {socket: \"{dir}/agent.yaml/agent.sock\"}\n", "bordergw-agent: local API: "},
		{"metrics port in use", fmt.Sprintf("underlay: {interface: lo}\napi: {socket: \"{dir}/a.sock\"}\nmetrics: {listen: %q}\n", busy.Addr()),
			"bordergw-agent: metrics: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, path := host(t, "addresses: [198.51.100.1]\nsource: {file: {path: \"{dir}/manifests.d\"}}\n"+tc.config, nil)
			var stdout, stderr bytes.Buffer
			if code := run([]string{"--config", path}, &stdout, &stderr); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if !strings.HasPrefix(stderr.String(), tc.want) {
				t.Errorf("stderr is %q, not %q…", stderr.String(), tc.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "a.sock")); err == nil {
				t.Error("the API's socket is left behind")
			}
		})
	}
}
