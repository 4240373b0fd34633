package lab

import (
	"encoding/json"
	"os"
	"regexp"
)

// shortestSecret is the length from which a text is looked for: shorter ones are found by chance, and are refused as keys of tunnels.
const shortestSecret = 8

// Secret records a secret that the test hands out: after the run the suite searches everything in the results for it. What Tunnel,
// LoadConns, BIRD, Agent and WriteManifests are given is recorded by them. It must have at least eight characters.
func (l *Lab) Secret(secret string) {
	l.t.Helper()
	if len(secret) < shortestSecret {
		l.t.Fatalf("lab: a secret of %d characters is too short to be told from other text", len(secret))
	}
	l.record(secret)
}

// recordSecretsIn records the secrets in the configuration of a daemon or in manifests.
func (l *Lab) recordSecretsIn(text string) {
	l.t.Helper()
	for _, secret := range secretsIn(text) {
		l.record(secret)
	}
}

func (l *Lab) record(secret string) {
	l.t.Helper()
	file := os.Getenv("BORDERGW_LAB_SECRETS")
	if file == "" {
		return // not run by the suite, so nobody searches
	}
	line, err := json.Marshal(secret)
	l.must(err, "record a secret")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	l.must(err, "record a secret")
	_, err = f.Write(append(line, '\n'))
	l.must(err, "record a secret")
	l.must(f.Close(), "record a secret")
}

// secretsIn finds the secrets of at least eight characters in manifests (psk: {value: …}, password: …), swanctl.conf (secret = …), and
// the configurations of BIRD (password "…";) and FRR (neighbor … password …).
func secretsIn(text string) []string {
	var found []string
	for _, pattern := range []string{
		`psk:\s*\{\s*value:\s*(?:"([^"\n]+)"|([^"'\s,}]+))`,
		`password:\s*(?:"([^"\n]+)"|([^"'\s,}]+))`,
		`secret(?:-[\w-]+)?\s*=\s*(?:"([^"\n]+)"|([^"\s]+))`,
		`password\s+(?:"([^"\n]+)"|([^"\s;{]+))`,
	} {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			if secret := m[1] + m[2]; len(secret) >= shortestSecret {
				found = append(found, secret)
			}
		}
	}
	return found
}
