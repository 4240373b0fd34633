package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLeakedSecrets(t *testing.T) {
	const secret = `kept "from" all eyes`
	for name, tc := range map[string]struct {
		file, content string
		want          []string
	}{
		"nothing":     {"TestX/agent.log", "level=INFO msg=up psk=[redacted]\n", nil},
		"in clear":    {"TestX/agent.log", "one\nmsg=\"" + secret + "\"\n", []string{`TestX/agent.log:2: msg="[redacted]"`}},
		"hexadecimal": {"TestX/charon.log", "6b657074202266726f6d2220616c6c2065796573\n", []string{"TestX/charon.log:1: [redacted]"}},
		"capitals":    {"TestX/charon.log", "6B657074202266726F6D2220616C6C2065796573\n", []string{"TestX/charon.log:1: [redacted]"}},
		"JSON":        {"TestX/get.json", `{"k":"kept \"from\" all eyes"}`, []string{`TestX/get.json:1: {"k":"[redacted]"}`}},
		"base64":      {"TestX/state/snapshot.json", `{"psk":"a2VwdCAiZnJvbSIgYWxsIGV5ZXM="}`, []string{`TestX/state/snapshot.json:1: {"psk":"[redacted]="}`}},
		"the kernel":  {"serial.log", secret, []string{"serial.log:1: [redacted]"}},
	} {
		t.Run(name, func(t *testing.T) {
			results := t.TempDir()
			own := filepath.Join(results, ".suite-1")
			lists := filepath.Join(own, "secrets")
			write(t, filepath.Join(lists, "1"), "\"yet-another-key\"\n")
			write(t, filepath.Join(lists, "2"), `"kept \"from\" all eyes"`+"\n"+`"another-key-that-stays"`+"\n")
			write(t, filepath.Join(results, tc.file), tc.content)
			got, err := leakedSecrets(lists, results, own)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], results+"/")
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLeakedSecretsWithoutList(t *testing.T) {
	results := t.TempDir()
	if got, err := leakedSecrets(filepath.Join(results, "none"), results, ""); err != nil || got != nil {
		t.Errorf("no test gave a secret: %q, %v", got, err)
	}
	write(t, filepath.Join(results, "lists", "1"), "not JSON\n")
	if got, err := leakedSecrets(filepath.Join(results, "lists"), results, ""); err == nil {
		t.Errorf("a damaged list: %q", got)
	}
}

func TestClearResults(t *testing.T) {
	results := t.TempDir()
	for _, f := range []string{"TestX/log", "TestX_sub/log", "TestXY/log", "serial.log"} {
		write(t, filepath.Join(results, f), "")
	}
	if err := clearResults(results, []job{{Tests: []string{"TestX"}}}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(results, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(results, "TestXY"), filepath.Join(results, "serial.log")}, left); diff != "" {
		t.Error(diff)
	}
}
