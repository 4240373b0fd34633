package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/agent/config"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const least = "addresses: [198.51.100.1]\nunderlay: {interface: eth0}\nsource: {file: {path: /etc/bordergw/manifests.d}}\n"

func TestDefaults(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	got, findings := config.Load(path)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := &apiv1.AgentConfig{
		Host: host, Addresses: []string{"198.51.100.1"}, Underlay: &apiv1.UnderlayConfig{Interface: "eth0"},
		Source: &apiv1.SourceConfig{File: &apiv1.FileSourceConfig{Path: "/etc/bordergw/manifests.d"}},
		Charon: &apiv1.CharonConfig{Socket: "/run/bordergw/charon.vici"}, Api: &apiv1.APIConfig{Socket: "/run/bordergw/agent.sock"},
		Metrics: &apiv1.MetricsConfig{Listen: "127.0.0.1:9469"}, State: "/var/lib/bordergw",
		Log: &apiv1.LogConfig{Level: "info", Format: "text"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	owns := config.Owns(got)
	if !owns(netip.MustParseAddr("198.51.100.1")) || owns(netip.MustParseAddr("198.51.100.2")) {
		t.Error("Owns is true exactly for the addresses")
	}
}

func TestEverythingGiven(t *testing.T) {
	const text = `host: gw-a
addresses: [198.51.100.1, 2001:db8::1]
underlay: {interface: eth0}
source: {file: {path: /m}}
charon: {socket: /c}
api: {socket: /a}
metrics: {listen: ""}
state: /s
log: {level: debug, format: json}
quotas: {borderGateways: 100}
bgp: {restartTime: 30s}
`
	got, findings := config.Parse("agent.yaml", []byte(text))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := &apiv1.AgentConfig{
		Host: "gw-a", Addresses: []string{"198.51.100.1", "2001:db8::1"}, Underlay: &apiv1.UnderlayConfig{Interface: "eth0"},
		Source: &apiv1.SourceConfig{File: &apiv1.FileSourceConfig{Path: "/m"}}, Charon: &apiv1.CharonConfig{Socket: "/c"},
		Api: &apiv1.APIConfig{Socket: "/a"}, Metrics: &apiv1.MetricsConfig{}, State: "/s",
		Log: &apiv1.LogConfig{Level: "debug", Format: "json"}, Quotas: &apiv1.QuotaConfig{BorderGateways: 100},
		Bgp: &apiv1.BGPConfig{RestartTime: durationpb.New(30 * time.Second)},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestController(t *testing.T) {
	const text = `addresses: [198.51.100.1]
underlay: {interface: eth0}
zone: hall-1
source: {controller: {endpoints: ["c1:8470", "[2001:db8::1]:8470"], ca: /ca, cert: /cert, key: /key}}
`
	got, findings := config.Parse("agent.yaml", []byte(text))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := &apiv1.SourceConfig{Controller: &apiv1.ControllerSourceConfig{
		Endpoints: []string{"c1:8470", "[2001:db8::1]:8470"}, Ca: "/ca", Cert: "/cert", Key: "/key"}}
	if diff := cmp.Diff(want, got.GetSource(), protocmp.Transform()); diff != "" || got.GetZone() != "hall-1" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFindings(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(least, old, new, 1) }
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{
			"agent.yaml:1: addresses: is required: the cloud public addresses of this host",
			"agent.yaml:1: underlay.interface: is required: the device that the encrypted packets use",
			"agent.yaml:1: source: is required: exactly one source of desired state, such as file",
		}},
		{"restart time", least + "bgp: {restartTime: 2h}\n", []string{"agent.yaml:4: bgp.restartTime: must be 0 or whole seconds between 1s and 1h8m15s, not 2h0m0s"}},
		{"two sources", replace("{file: {path: /etc/bordergw/manifests.d}}", "{file: {path: /m}, controller: {endpoints: [c:1], ca: /a, cert: /b, key: /c}}"),
			[]string{"agent.yaml:3: source: must have exactly one of file and controller"}},
		{"empty controller", replace("{file: {path: /etc/bordergw/manifests.d}}", "{controller: {}}"), []string{
			"agent.yaml:3: source.controller.endpoints: is required: the controllers' API, each HOST:PORT",
			"agent.yaml:3: source.controller.ca: is required",
			"agent.yaml:3: source.controller.cert: is required",
			"agent.yaml:3: source.controller.key: is required",
		}},
		{"endpoints", replace("{file: {path: /etc/bordergw/manifests.d}}", `{controller: {endpoints: ["c:1", "c:1", "c", "https://c:1", "c:0"], ca: ca, cert: /b, key: /c}}`), []string{
			"agent.yaml:3: source.controller.endpoints[1]: is the same as source.controller.endpoints[0]",
			"agent.yaml:3: source.controller.endpoints[2]: must be HOST:PORT, such as controller-1.example.net:8470, not \"c\"",
			"agent.yaml:3: source.controller.endpoints[3]: must be HOST:PORT, such as controller-1.example.net:8470, not \"https://c:1\"",
			"agent.yaml:3: source.controller.endpoints[4]: must be HOST:PORT, such as controller-1.example.net:8470, not \"c:0\"",
			"agent.yaml:3: source.controller.ca: must be an absolute path, not \"ca\"",
		}},
		{"zone", least + "zone: a b\n", []string{`agent.yaml:4: zone: must be a name of at most 63 characters without blanks, not "a b"`}},
		{"unknown field", least + "adresses: []\n", []string{"agent.yaml:4: adresses: there is no such field; did you mean addresses?"}},
		{"two documents", least + "---\n" + least, []string{"agent.yaml:5: only one document is expected"}},
		{"a list", "[]\n", []string{"agent.yaml:1: must be an object, not a list"}},
		{"host", least + "host: gw a\n", []string{`agent.yaml:4: host: must be a name of at most 253 characters without blanks, not "gw a"`}},
		{"host name as address", replace("198.51.100.1", "gw.example.com"), []string{`agent.yaml:1: addresses[0]: must be an IPv4 or IPv6 address, not "gw.example.com"`}},
		{"address twice", replace("198.51.100.1", "198.51.100.1, 198.51.100.1"), []string{"agent.yaml:1: addresses[1]: is the same as addresses[0]"}},
		{"link-local address", replace("198.51.100.1", "fe80::1"), []string{"agent.yaml:1: addresses[0]: must not be a link-local address: fe80::1"}},
		{"interface", replace("eth0", "a/b"), []string{`agent.yaml:2: underlay.interface: must be the name of a network interface (at most 15 characters), not "a/b"`}},
		{"source without path", replace("{path: /etc/bordergw/manifests.d}", "{}"), []string{"agent.yaml:3: source.file.path: is required"}},
		{"relative paths", replace("/etc/bordergw/", "") + "charon: {socket: c}\napi: {socket: a}\nstate: s\n", []string{
			`agent.yaml:3: source.file.path: must be an absolute path, not "manifests.d"`,
			`agent.yaml:4: charon.socket: must be an absolute path, not "c"`,
			`agent.yaml:5: api.socket: must be an absolute path, not "a"`,
			`agent.yaml:6: state: must be an absolute path, not "s"`,
		}},
		{"long socket", least + "api: {socket: /" + strings.Repeat("x", 107) + "}\n", []string{"agent.yaml:4: api.socket: must have at most 107 bytes"}},
		{"one socket for both", least + "api: {socket: /run/bordergw/charon.vici}\n", []string{"agent.yaml:4: api.socket: must differ from charon.socket"}},
		{"listen", least + "metrics: {listen: 9469}\n", []string{"agent.yaml:4: metrics.listen: must be a text, not a number: put it in quotes"}},
		{"listen without port", least + "metrics: {listen: localhost}\n", []string{`agent.yaml:4: metrics.listen: must be an address with a port, such as 127.0.0.1:9469, not "localhost"`}},
		{"listen on a name", least + "metrics: {listen: \"localhost:9469\"}\n", []string{`agent.yaml:4: metrics.listen: must be an address with a port, such as 127.0.0.1:9469, not "localhost:9469"`}},
		{"listen on port 0", least + "metrics: {listen: \"127.0.0.1:0\"}\n", []string{`agent.yaml:4: metrics.listen: must be an address with a port, such as 127.0.0.1:9469, not "127.0.0.1:0"`}},
		{"listen everywhere", least + "metrics: {listen: \":9469\"}\n", nil},
		{"log", least + "log: {level: loud, format: xml}\n", []string{
			`agent.yaml:4: log.level: must be debug or info or warn or error, not "loud"`, `agent.yaml:4: log.format: must be text or json, not "xml"`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, findings := config.Parse("agent.yaml", []byte(tc.text))
			var got []string
			for _, f := range findings {
				got = append(got, manifest.Format(f))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if (c == nil) != (len(tc.want) > 0) {
				t.Errorf("a configuration is returned: %v", c != nil)
			}
		})
	}
	if _, findings := config.Load("/nonexistent/agent.yaml"); len(findings) != 1 ||
		manifest.Format(findings[0]) != "/nonexistent/agent.yaml:1: cannot be read: no such file or directory" {
		t.Errorf("a missing file: %v", findings)
	}
}
