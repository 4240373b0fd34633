package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretsIn(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"manifest":        {"  psk: {value: \"kept from all eyes\"}\n  psk: {value: six-key-number-one}\n", []string{"kept from all eyes", "six-key-number-one"}},
		"manifest of BGP": {"  bgp: {password: bgp-password-1, keepalive: 10s}\n", []string{"bgp-password-1"}},
		"key in a file":   {"  psk: {file: /etc/bordergw/secrets/one}\n", nil},
		"swanctl": {swanctlConf([]CustomerTunnel{CustomerTunnel{Name: "one", Local: "203.0.113.1", Remote: "198.51.100.1", PSK: "first long key"}.withDefaults()}),
			[]string{"first long key"}},
		"BIRD":      {"protocol bgp x {\n  password \"bgp-password-2\";\n}\n", []string{"bgp-password-2"}},
		"FRR":       {"neighbor 169.254.10.1 password bgp-password-3\n", []string{"bgp-password-3"}},
		"too short": {"psk: {value: short}\n", nil},
	} {
		if diff := cmp.Diff(tc.want, secretsIn(tc.text)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{"5.9.8": false, "6.0.1": true, "6.1.0": true, "6.0beta4": true, "10.0": true} {
		if got, err := atLeast(version, 6, 0); err != nil || got != want {
			t.Errorf("%s: %v, %v", version, got, err)
		}
	}
	if got, err := atLeast("dr5", 6, 0); err == nil {
		t.Errorf("dr5: %v", got)
	}
}
