package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/config"
)

func TestDefaults(t *testing.T) {
	got, findings := config.Parse("controller.yaml", nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := &apiv1.ControllerConfig{
		Listen: ":9470", Tls: &apiv1.TLSConfig{Ca: "/etc/bordergw/pki/ca.crt", Cert: "/etc/bordergw/pki/controller.crt", Key: "/etc/bordergw/pki/controller.key"},
		Etcd: &apiv1.EtcdConfig{Data: "/var/lib/bordergw-controller/etcd", Prefix: "/bordergw/"}, Access: &apiv1.AccessConfig{TrustDomain: "bordergw"},
		Encryption: &apiv1.EncryptionConfig{Keys: "/etc/bordergw/pki/encryption.keys"}, InsidePools: []string{"169.254.0.0/16"},
		Audit: &apiv1.AuditConfig{Retention: durationpb.New(2160 * time.Hour)}, Metrics: &apiv1.MetricsConfig{Listen: "127.0.0.1:9471"},
		Log: &apiv1.LogConfig{Level: "info", Format: "text"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if pools := config.Pools(got); len(pools) != 1 || pools[0] != apiv1.DefaultInsidePool() {
		t.Error(pools)
	}
}

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"external cluster", "etcd: {endpoints: ['https://a:2379', 'unix:///s'], tls: {ca: /a, cert: /b, key: /c}, user: u, passwordFile: /p}\nmetrics: {listen: ''}\n", nil},
		{"unknown field", "lissen: x\n", []string{"controller.yaml:1: lissen: there is no such field; did you mean listen?"}},
		{"listen", "listen: ctl.example:9470\n", []string{`controller.yaml:1: listen: must be an address with a port, such as :9470, not "ctl.example:9470"`}},
		{"both", "etcd:\n  data: /d\n  endpoints: ['unix:///s']\n", []string{"controller.yaml:2: etcd.data: is for the embedded etcd; with endpoints there is none"}},
		{"endpoints in clear", "etcd: {endpoints: ['http://a:2379', a:2379]}\n", []string{
			`controller.yaml:1: etcd.endpoints[0]: must be https://HOST:PORT or unix:///PATH, not "http://a:2379"`,
			`controller.yaml:1: etcd.endpoints[1]: must be https://HOST:PORT or unix:///PATH, not "a:2379"`,
		}},
		{"no tls", "etcd: {endpoints: ['https://a:2379', 'https://b:2379']}\n", []string{"controller.yaml:1: etcd.tls: is required for https endpoints"}},
		{"embedded with user", "etcd: {user: u}\n", []string{"controller.yaml:1: etcd.user: is for endpoints; the embedded etcd needs none"}},
		{"user without password", "etcd: {endpoints: ['unix:///s'], user: u}\n", []string{"controller.yaml:1: etcd.passwordFile: and etcd.user are given together or not at all"}},
		{"relative paths", "tls: {ca: a}\nencryption: {keys: k}\n", []string{
			`controller.yaml:1: tls.ca: must be an absolute path, not "a"`, `controller.yaml:2: encryption.keys: must be an absolute path, not "k"`,
		}},
		{"prefix", "etcd: {prefix: x}\n", []string{`controller.yaml:1: etcd.prefix: must begin and end with a slash, not "x"`}},
		{"pools", "insidePools: [10.0.0.1/8, 192.0.2.0/31, 'fe80::/64']\n", []string{
			`controller.yaml:1: insidePools[0]: must be a prefix such as 169.254.0.0/16, not "10.0.0.1/8"`,
			"controller.yaml:1: insidePools[1]: 192.0.2.0/31 is too small for a single tunnel",
			"controller.yaml:1: insidePools[2]: must be of unicast addresses that can be routed, not fe80::/64",
		}},
		{"retention", "audit: {retention: 1m}\n", []string{"controller.yaml:1: audit.retention: must be at least 1h and at most a hundred years, not 1m0s"}},
		{"trust domain", "access: {trustDomain: Cloud/x}\n", []string{`controller.yaml:1: access.trustDomain: must be small letters, digits, dots, hyphens and underscores, not "Cloud/x"`}},
		{"log", "log: {level: loud}\n", []string{`controller.yaml:1: log.level: must be debug or info or warn or error, not "loud"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, findings := config.Parse("controller.yaml", []byte(tc.text))
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
}

// The reference configuration says what the defaults are.
func TestReference(t *testing.T) {
	got, findings := config.Load("../../configs/controller.yaml")
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want, _ := config.Parse("", nil)
	want.Quotas = got.GetQuotas()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-defaults +configs/controller.yaml):\n%s", diff)
	}
	if apiv1.QuotasOf(got.GetQuotas()) != apiv1.DefaultQuotas() {
		t.Errorf("quotas: %+v", apiv1.QuotasOf(got.GetQuotas()))
	}
}
