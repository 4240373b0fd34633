package manifest_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// shop is a tenant as its operator writes it.
const shop = `kind: BorderGateway
name: shop-prod
spec:
  attachments:
  - name: vpc-a
    interface: vpc0
    prefixes: [10.0.0.0/16]
    peer: {address: 10.0.255.1, asn: 64999, password: peer-password}
  staticRoutes:
  - prefix: 172.16.0.0/16
    connection: shop-idc
---
kind: CustomerGateway
name: shop-idc
spec:
  asn: 65010
  addresses: [203.0.113.1, 203.0.113.2]
---
kind: VPNConnection
name: shop-idc
spec:
  borderGateway: shop-prod
  customerGateway: shop-idc
  routing: BGP
  cloudAddresses: [198.51.100.1, 198.51.100.2]
---
kind: VPNTunnel
name: shop-idc-1
spec:
  connection: shop-idc
  cloudAddress: 198.51.100.1
  customerAddress: 203.0.113.1
  inside: {cloud: 169.254.10.1/30, customer: 169.254.10.2}
  psk: {file: secrets/one}
  bgp: {password: {env: BGP_ONE}}
---
kind: VPNTunnel
name: shop-idc-2
spec:
  connection: shop-idc
  cloudAddress: 198.51.100.2
  customerAddress: 203.0.113.2
  inside: {cloud: 169.254.10.5/30, customer: 169.254.10.6}
  psk: {file: secrets/two}
`

// folder writes files, paths relative, and returns the folder. Secrets get mode 0600.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func env(name string) (string, bool) {
	value, ok := map[string]string{"BGP_ONE": "bgp-password", "EMPTY": ""}[name]
	return value, ok
}

func owns(addresses ...string) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return slices.Contains(addresses, a.String()) }
}

func TestLoad(t *testing.T) {
	dir := folder(t, map[string]string{"shop.yaml": shop, "secrets/one": "key-number-one\n", "secrets/two": "key-number-two\r\n"})
	set, findings := manifest.Load(dir, manifest.LoadOptions{LookupEnv: env})
	if len(findings) > 0 || set == nil {
		t.Fatalf("findings %q", formatted(findings))
	}
	for what, got := range map[string]secret.Secret{
		"key-number-one": set.PSK("shop-idc-1"), "key-number-two": set.PSK("shop-idc-2"),
		"bgp-password": set.BGPPassword("shop-idc-1"), "peer-password": set.PeerPassword("shop-prod", "vpc-a"), "": set.BGPPassword("shop-idc-2"),
	} {
		if got.Reveal() != what {
			t.Errorf("secret %q is %q", what, got.Reveal())
		}
	}
	if got := set.Tunnels["shop-idc-1"].GetSpec().GetPsk(); got.GetFile() != "secrets/one" || got.GetValue() != "" {
		t.Errorf("the source of the key is no longer told: %v", got)
	}
	if got := set.BorderGateways["shop-prod"].GetSpec(); got.GetAsn() != 65000 || got.GetAttachments()[0].GetPeer().GetPassword().GetValue() != "" {
		t.Error("defaults are missing, or a value was left in its message")
	}
}

func TestLoadReadsOnlyTheSecretsOfItsHost(t *testing.T) {
	dir := folder(t, map[string]string{"shop.yaml": shop, "secrets/two": "key-number-two"})
	set, findings := manifest.Load(dir, manifest.LoadOptions{Owns: owns("198.51.100.2")})
	if set == nil {
		t.Fatalf("findings %q", formatted(findings))
	}
	if set.PSK("shop-idc-1").IsSet() || !set.PSK("shop-idc-2").IsSet() {
		t.Error("this host's keys are those of its tunnels")
	}

	set, findings = manifest.Load(dir, manifest.LoadOptions{Owns: owns("198.51.100.1"), LookupEnv: env})
	path := filepath.Join(dir, "shop.yaml")
	want := []string{path + ":34: VPNTunnel/shop-idc-1: spec.psk.file: cannot read " + dir + "/secrets/one: no such file or directory"}
	if diff := cmp.Diff(want, formatted(findings)); set != nil || diff != "" {
		t.Errorf("set %v, findings (-want +got):\n%s", set != nil, diff)
	}

	set, findings = manifest.Load(dir, manifest.LoadOptions{SkipSecrets: true})
	if set == nil || set.PSK("shop-idc-2").IsSet() {
		t.Errorf("a check away from the host needs no secrets: %q", formatted(findings))
	}
}

func TestLoadFindings(t *testing.T) {
	const keys = "key-number-one"
	for _, tc := range []struct {
		name  string
		files map[string]string
		mode  map[string]os.FileMode
		opts  manifest.LoadOptions
		want  []string // DIR stands for the folder
		ok    bool
	}{
		{name: "nothing", ok: true},
		{name: "what is no manifest", files: map[string]string{
			".hidden.yaml": "x", "#a.yaml": "x", "a.yaml~": "x", "README": "x", "a.yaml.bak": "x", "sub/a.yaml": "x", "b.yaml/c.yaml": "x",
		}, ok: true},
		{name: "every ending, in order", files: map[string]string{"c.json": "[]", "b.yml": "x", "a.yaml": "y"}, want: []string{
			"DIR/a.yaml:1: must be an object with kind, name and spec, not a text",
			"DIR/b.yml:1: must be an object with kind, name and spec, not a text",
			"DIR/c.json:1: must be an object with kind, name and spec, not a list",
		}},
		{name: "one object in two files", files: map[string]string{
			"a.yaml": "kind: CustomerGateway\nname: idc\nspec: {addresses: [203.0.113.1]}\n",
			"b.yaml": "\nkind: CustomerGateway\nname: idc\nspec: {addresses: [203.0.113.2]}\n",
		}, want: []string{"DIR/b.yaml:2: CustomerGateway/idc: is already defined in DIR/a.yaml:1"}},
		{name: "admission has places", files: map[string]string{
			"a.yaml": "kind: CustomerGateway\nname: idc\nspec:\n  addresses:\n  - 203.0.113.1\n  - 203.0.113.1\n",
			"b.yaml": "kind: VPNConnection\nname: c\nspec:\n  borderGateway: none\n  customerGateway: idc\n  routing: STATIC\n",
		}, want: []string{
			"DIR/a.yaml:6: CustomerGateway/idc: spec.addresses[1]: is the same as addresses[0]",
			"DIR/b.yaml:3: VPNConnection/c: spec.cloudAddresses: is required: 1 to 2 addresses",
			`DIR/b.yaml:4: VPNConnection/c: spec.borderGateway: there is no BorderGateway "none"`,
		}},
		{name: "no noise about objects that were read in part", files: map[string]string{
			"a.yaml": strings.Replace(shop, "asn: 65010", "asn: many", 1), "secrets/one": keys, "secrets/two": keys,
		}, want: []string{
			`DIR/a.yaml:16: CustomerGateway/shop-idc: spec.asn: must be a whole number, not "many"`,
		}},
		{name: "no noise about references into a file that does not parse", files: map[string]string{
			"a.yaml": "kind: [\n", "b.yaml": shop, "secrets/one": keys, "secrets/two": keys,
		}, want: []string{"DIR/a.yaml:1: cannot be parsed: did not find expected node content"}},
		{name: "warnings do not refuse", files: map[string]string{
			"a.yaml": strings.Replace(shop, "{file: secrets/two}", "{file: secrets/two}\n  ike: {proposals: [aes128-sha1-modp1024]}", 1), "secrets/one": keys, "secrets/two": keys,
		}, mode: map[string]os.FileMode{"secrets/two": 0o644}, want: []string{
			"DIR/a.yaml:44: warning: VPNTunnel/shop-idc-2: spec.psk.file: DIR/secrets/two can be read by everybody: chmod 600 it",
			`DIR/a.yaml:45: warning: VPNTunnel/shop-idc-2: spec.ike.proposals[0]: "aes128-sha1-modp1024" is weak (sha1, modp1024): use it only for a device that can do no better`,
		}, ok: true},
		{name: "secrets", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "BGP_ONE", "EMPTY", 1),
			"secrets/one": "short\n", "secrets/two": strings.Repeat("x", 5000),
		}, want: []string{
			"DIR/a.yaml:34: VPNTunnel/shop-idc-1: spec.psk: must be 8 to 64 printable characters",
			"DIR/a.yaml:35: VPNTunnel/shop-idc-1: spec.bgp.password.env: there is no environment variable EMPTY, or it is empty",
			"DIR/a.yaml:44: VPNTunnel/shop-idc-2: spec.psk.file: cannot read DIR/secrets/two: it is larger than 4096 bytes",
		}},
		{name: "more secrets", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "file: secrets/two", "sealed: AAAA", 1),
			"secrets/one": "\n",
		}, want: []string{
			"DIR/a.yaml:34: VPNTunnel/shop-idc-1: spec.psk.file: DIR/secrets/one is empty",
			"DIR/a.yaml:44: VPNTunnel/shop-idc-2: spec.psk.sealed: cannot be opened: this host has no key for sealed secrets",
		}},
		{name: "unsealing fails", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "file: secrets/two", "sealed: AAAA", 1),
			"secrets/one": keys,
		}, opts: manifest.LoadOptions{Unseal: func(string, string, []byte) (secret.Secret, error) {
			return secret.Secret{}, errors.New("wrong host")
		}},
			want: []string{"DIR/a.yaml:44: VPNTunnel/shop-idc-2: spec.psk.sealed: cannot be opened: wrong host"}},
		{name: "unsealing", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "file: secrets/two", "sealed: AAAA", 1),
			"secrets/one": keys,
		}, opts: manifest.LoadOptions{Unseal: func(object, field string, _ []byte) (secret.Secret, error) {
			if object != "VPNTunnel/shop-idc-2" || field != "spec.psk" {
				return secret.Secret{}, errors.New("another object")
			}
			return secret.New("unsealed-key"), nil
		}}, ok: true},
		{name: "two sources", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "{file: secrets/two}", "{file: secrets/two, value: correct-horse}", 1),
			"secrets/one": keys,
		}, want: []string{"DIR/a.yaml:44: VPNTunnel/shop-idc-2: spec.psk: must have exactly one of value, file, env and sealed"}},
		{name: "no key", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "  psk: {file: secrets/two}\n", "", 1),
			"secrets/one": keys,
		}, want: []string{"DIR/a.yaml:39: VPNTunnel/shop-idc-2: spec.psk: is required: one of value, file, env and sealed"}},
		{name: "underlay, quotas, ML-KEM", files: map[string]string{
			"a.yaml":      strings.Replace(shop, "{file: secrets/two}", "{file: secrets/two}\n  ike: {postQuantum: REQUIRED}", 1),
			"secrets/one": keys, "secrets/two": keys,
		}, opts: manifest.LoadOptions{Underlay: "vpc0", MLKEM: apiv1.CapabilityAbsent, Quotas: apiv1.Quotas{AddressesPerCustomerGateway: 1}}, want: []string{
			"DIR/a.yaml:6: BorderGateway/shop-prod: spec.attachments[0].interface: must not be the underlay, which the encrypted packets use",
			"DIR/a.yaml:17: CustomerGateway/shop-idc: spec.addresses: are too many: at most 1, there are 2",
			"DIR/a.yaml:45: VPNTunnel/shop-idc-2: spec.ike.postQuantum: REQUIRED cannot work here: charon has no ML-KEM (it needs strongSwan 6.0 with the plugin ml, or 6.0.2 with OpenSSL 3.5)",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := folder(t, tc.files)
			for name, mode := range tc.mode {
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			if tc.opts.LookupEnv == nil {
				tc.opts.LookupEnv = env
			}
			set, findings := manifest.Load(dir, tc.opts)
			var got []string
			for _, line := range formatted(findings) {
				got = append(got, strings.ReplaceAll(line, dir, "DIR"))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if (set != nil) != tc.ok {
				t.Errorf("a Set is returned: %v, want %v", set != nil, tc.ok)
			}
			if strings.Contains(strings.Join(got, "\n"), "correct-horse") {
				t.Error("a key is visible in the findings")
			}
		})
	}
}

func TestLoadWithoutFolder(t *testing.T) {
	set, findings := manifest.Load("/nonexistent/manifests", manifest.LoadOptions{})
	want := []string{"/nonexistent/manifests:1: cannot read the folder: no such file or directory"}
	if diff := cmp.Diff(want, formatted(findings)); set != nil || diff != "" {
		t.Errorf("set %v, findings (-want +got):\n%s", set != nil, diff)
	}
}

func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	dir := folder(t, nil)
	if err := os.Symlink("/nonexistent", filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	_, findings := manifest.Load(dir, manifest.LoadOptions{})
	want := []string{
		dir + "/a.yaml:1: cannot be read: no such file or directory",
		dir + "/b.yaml:1: cannot be read: it is not a regular file",
	}
	if diff := cmp.Diff(want, formatted(findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestLoadLeavesOutWhatControllersAdd(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`kind: BorderGateway
name: shop
metadata: {uid: "1", resourceVersion: "7", generation: 2, created: "2026-11-22T18:00:00Z", displayName: Shop}
spec: {}
`)
	set, findings := manifest.Load(dir, manifest.LoadOptions{})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	if m := set.BorderGateways["shop"].GetMetadata(); m != nil {
		t.Errorf("agents get metadata: %v", m)
	}
	write("kind: GatewayHost\nname: gw-a\nspec: {addresses: [198.51.100.1]}\n")
	if _, findings = manifest.Load(dir, manifest.LoadOptions{}); len(findings) != 1 ||
		!strings.HasSuffix(manifest.Format(findings[0]), "GatewayHost/gw-a: is known to controllers only") {
		t.Error(findings)
	}
}
