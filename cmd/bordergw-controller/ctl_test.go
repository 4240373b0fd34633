package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/internal/ctl"
)

const manifests = `kind: VPNTunnel
name: shop-idc-1
spec:
  connection: shop-idc
  psk: {file: psk}
---
kind: VPNTunnel
name: shop-idc-2
spec: {connection: shop-idc, bgp: {password: {env: BGP_PASSWORD}}}
---
kind: VPNConnection
name: shop-idc
spec: {borderGateway: shop, customerGateway: idc, routing: BGP}
---
kind: BorderGateway
name: shop
spec:
  attachments: [{name: vpc, interface: vpc0, prefixes: [10.0.0.0/16]}]
  staticRoutes: [{prefix: 172.16.0.0/16, connection: shop-idc}]
---
kind: CustomerGateway
name: idc
spec: {asn: 65010, addresses: [203.0.113.1, 203.0.113.2]}
---
{"kind": "GatewayHost", "name": "gw-a", "spec": {"addresses": ["198.51.100.1"], "zone": "a"}}
---
{"kind": "GatewayHost", "name": "gw-b", "spec": {"addresses": ["198.51.100.2"], "zone": "b"}}
`

// bordergwctl against a controller, as an operator uses it.
func TestBordergwctl(t *testing.T) {
	s := newSite(t)
	s.start()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var line, errs bytes.Buffer
	if code := run([]string{"init-pki", "--viewer", "bob", filepath.Join(s.dir, "pki")}, &line, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	pki := filepath.Join(s.dir, "pki")
	write("config.yaml", fmt.Sprintf(`currentContext: lab
contexts:
- {name: lab, server: "https://%[1]s", ca: %[2]s/ca.crt, cert: %[2]s/operator-operator.crt, key: %[2]s/operator-operator.key}
- {name: viewer, server: "https://%[1]s", ca: %[2]s/ca.crt, cert: %[2]s/viewer-bob.crt, key: %[2]s/viewer-bob.key}
`, s.listen, pki))
	write("psk", "the-key-of-the-shop\n")
	all := write("all.yaml", manifests)
	env := map[string]string{"BORDERGWCTL_CONFIG": filepath.Join(dir, "config.yaml"), "BGP_PASSWORD": "a-password-of-bgp"}
	bordergwctl := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := ctl.Program{Stdout: &out, Stderr: &out, Getenv: func(k string) string { return env[k] }, Now: time.Now}.Run(t.Context(), args)
		if text := out.String(); strings.Contains(text, "the-key") || strings.Contains(text, "a-password") {
			t.Errorf("%v shows a secret:\n%s", args, text)
		}
		return code, out.String()
	}
	check := func(wantCode int, want string, args ...string) {
		t.Helper()
		code, got := bordergwctl(args...)
		if code != wantCode || !strings.Contains(got, want) {
			t.Errorf("bordergwctl %s: exit code %d, want %d with %q in\n%s", strings.Join(args, " "), code, wantCode, want, got)
		}
	}
	check(0, "VPNTunnel/shop-idc-1 created (dry run)", "apply", "-f", all, "--dry-run")
	check(0, "", "get", "tunnels")
	check(0, "+ spec.cloudAddress: 198.51.100.2", "apply", "-f", all)
	code, out := bordergwctl("apply", "-f", all)
	if code != 0 || strings.Count(out, "unchanged") != 7 {
		t.Errorf("the same again: %d\n%s", code, out)
	}

	check(0, "VPNTunnel/branch-2 created (dry run)", "apply", "--dry-run", "--default-tunnels", "-f", write("branch.yaml", `kind: CustomerGateway
name: branch
spec: {asn: 65020, addresses: [203.0.113.9]}
---
kind: VPNConnection
name: branch
spec: {borderGateway: shop, customerGateway: branch, routing: BGP}
`))

	changed := strings.Replace(manifests, "psk: {file: psk}", "psk: another-key-for-it\n  mtu: 1400", 1)
	changed = strings.Replace(changed, "name: idc\n", "name: idc\nmetadata: {displayName: Data centre}\n", 1)
	code, out = bordergwctl("plan", "-f", write("planned.yaml", changed))
	want := `All hosts

~ VPNTunnel/shop-idc-1
  CHANGED              impact rekey  touches shop-idc-1
  spec.psk  value      rekey         psk changed
  spec.mtu  - -> 1400  none

~ CustomerGateway/idc
  CHANGED                                 impact none
  metadata.displayName  - -> Data centre  none

Impact at most: rekey
`
	if diff := cmp.Diff(want, out); diff != "" || code != 0 {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
	code, out = bordergwctl("apply", "-f", write("all.yaml", changed))
	want = `VPNTunnel/shop-idc-1 changed
  + spec.mtu: 1400
  ~ spec.psk: replaced
VPNTunnel/shop-idc-2 unchanged
VPNConnection/shop-idc unchanged
BorderGateway/shop unchanged
CustomerGateway/idc changed
  + metadata.displayName: Data centre
GatewayHost/gw-a unchanged
GatewayHost/gw-b unchanged
`
	if diff := cmp.Diff(want, out); diff != "" || code != 0 {
		t.Errorf("%d (-want +got):\n%s", code, diff)
	}
	wrong := write("wrong.yaml", strings.Replace(manifests, "172.16.0.0/16", "172.16.0.1/16", 1))
	check(1, wrong+":19: BorderGateway/shop: spec.staticRoutes[0].prefix: has bits set behind the prefix length: the prefix is 172.16.0.0/16\nerror: refused", "apply", "-f", wrong)
	check(1, wrong+":19: BorderGateway/shop: spec.staticRoutes[0].prefix: has bits set", "plan", "-f", wrong)
	check(1, "error: the manifests would be refused", "plan", "-f", write("unknown.yaml", "kind: BorderGateway\nname: x\nspec: {color: red}\n"))
	check(0, "nothing would change", "plan", "-f", all)
	check(2, "name a folder or file with -f", "plan")
	check(1, "viewer/bob may not call", "plan", "--context", "viewer", "-f", all)
	check(1, "there is no such field", "apply", "-f", write("wrong.yaml", "kind: BorderGateway\nname: x\nspec: {color: red}\n"))
	check(2, "name a folder or file with -f", "apply")
	check(1, "viewer/bob may not call", "apply", "--context", "viewer", "-f", all)

	code, out = bordergwctl("get", "tunnels", "--context", "viewer")
	out = regexp.MustCompile(` +`).ReplaceAllString(out, " ")
	if code != 0 || !strings.Contains(out, "shop-idc-1 gw-a shop-idc UP DOWN ") || !strings.Contains(out, "HOST_SILENT") {
		t.Errorf("%d\n%s", code, out)
	}
	check(0, "198.51.100.1", "get", "host", "gw-a")
	check(0, `"displayName": "Data centre"`, "get", "customers", "-o", "json")
	check(0, "redacted: true", "get", "tunnel", "shop-idc-1", "-o", "yaml")
	check(0, "shop", "get", "gateways", "-o", "wide")
	check(1, "VPNTunnel/none: does not exist", "get", "tunnel", "none")
	check(1, "ask agents with --socket", "get", "routes")
	check(0, "NOT_HIGHLY_AVAILABLE", "describe", "connection", "shop-idc")
	check(0, "shop-idc-1", "describe", "tunnel", "shop-idc-1")
	check(0, "kind: BorderGateway", "describe", "gateway", "shop")
	check(0, "*         lab", "contexts")
	check(1, `there is no context "none"`, "get", "tunnels", "--context", "none")
	check(1, "no agent answered", "get", "tunnels", "--socket", "/nonexistent")

	check(1, "VPNTunnel/shop-idc-1: can be deleted only when its adminState is DOWN: set that first", "delete", "tunnel", "shop-idc-1")
	down := strings.ReplaceAll(strings.ReplaceAll(changed, "bgp: {password", "adminState: DOWN, bgp: {password"), "mtu: 1400", "mtu: 1400\n  adminState: DOWN")
	down = strings.Replace(down, "  staticRoutes: [{prefix: 172.16.0.0/16, connection: shop-idc}]\n", "", 1)
	check(0, "spec.adminState", "apply", "-f", write("all.yaml", down))
	check(0, "VPNTunnel/shop-idc-1 deleted (dry run)", "delete", "--dry-run", "tunnel", "shop-idc-1")
	check(0, "GatewayHost/gw-b deleted", "delete", "-f", all)
	check(0, "", "get", "connections")
	check(2, "name a resource", "delete", "tunnel")
}
