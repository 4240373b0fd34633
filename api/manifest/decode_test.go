package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"

	"github.com/bordergw/bordergw/api/manifest"
)

func formatted(findings []*apiv1.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, manifest.Format(f))
	}
	return out
}

func TestDecodeWordings(t *testing.T) {
	const head = "kind: VPNTunnel\nname: t1\nspec:\n"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"comments and empty documents", "# nothing\n---\n---\n# again\n", nil},
		{"syntax", "kind: [\n", []string{"f.yaml:1: cannot be parsed: did not find expected node content"}},
		{"tab", "kind: a\n\tname: b\n", []string{"f.yaml:2: cannot be parsed: found a tab character that violates indentation"}},
		{"text", "hello\n", []string{"f.yaml:1: must be an object with kind, name and spec, not a text"}},
		{"list", "- kind: x\n", []string{"f.yaml:1: must be an object with kind, name and spec, not a list"}},
		{"no kind", "name: x\nspec: {}\n", []string{"f.yaml:1: /x: kind: is required: BorderGateway, CustomerGateway, VPNConnection, VPNTunnel"}},
		{"unknown kind", "kind: VpnTunel\nname: x\nspec: {}\n", []string{`f.yaml:1: VpnTunel/x: kind: there is no kind "VpnTunel"; did you mean VPNTunnel?`}},
		{"foreign kind", "kind: ConfigMap\nname: x\n", []string{`f.yaml:1: ConfigMap/x: kind: there is no kind "ConfigMap"`}},
		{"kind is a list", "kind: [a]\n", []string{"f.yaml:1: kind: must be a text, not a list"}},
		{"no name", "kind: VPNTunnel\nspec: {}\n", []string{"f.yaml:1: VPNTunnel/: name: is required"}},
		{"name is a number", "kind: VPNTunnel\nname: 12\nspec: {}\n", []string{"f.yaml:2: VPNTunnel/: name: must be a text, not a number: put it in quotes"}},
		{"no spec", "kind: VPNTunnel\nname: t1\n", []string{"f.yaml:1: VPNTunnel/t1: spec: is required"}},
		{"empty spec", "kind: VPNTunnel\nname: t1\nspec:\n", []string{"f.yaml:3: VPNTunnel/t1: spec: has no value"}},
		{"object twice", "kind: VPNTunnel\nname: t1\nspec: {}\n---\nkind: VPNTunnel\nname: t1\nspec: {}\n",
			[]string{"f.yaml:5: VPNTunnel/t1: is already defined in f.yaml:1"}},
		{"unknown field", head + "  cloudAdress: 198.51.100.1\n", []string{"f.yaml:4: VPNTunnel/t1: spec.cloudAdress: there is no such field; did you mean cloudAddress?"}},
		{"unknown field, nothing near", head + "  colour: red\n", []string{"f.yaml:4: VPNTunnel/t1: spec.colour: there is no such field"}},
		{"protobuf's name of a field", head + "  cloud_address: 198.51.100.1\n", []string{"f.yaml:4: VPNTunnel/t1: spec.cloud_address: there is no such field; did you mean cloudAddress?"}},
		{"unknown field on top", "kind: VPNTunnel\nname: t1\nspecs: {}\nspec: {}\n", []string{"f.yaml:3: VPNTunnel/t1: specs: there is no such field; did you mean spec?"}},
		{"key twice", head + "  mtu: 1400\n  mtu: 1300\n", []string{"f.yaml:5: VPNTunnel/t1: spec.mtu: is there twice, first in line 4"}},
		{"number for a text", head + "  localId: 10\n", []string{"f.yaml:4: VPNTunnel/t1: spec.localId: must be a text, not a number: put it in quotes"}},
		{"object for a text", head + "  localId: {a: b}\n", []string{"f.yaml:4: VPNTunnel/t1: spec.localId: must be a text, not an object"}},
		{"text for a number", head + "  mtu: big\n", []string{`f.yaml:4: VPNTunnel/t1: spec.mtu: must be a whole number, not "big"`}},
		{"quoted number", head + "  mtu: \"1400\"\n", []string{`f.yaml:4: VPNTunnel/t1: spec.mtu: must be a whole number, not "1400"`}},
		{"negative", head + "  mtu: -1\n", []string{`f.yaml:4: VPNTunnel/t1: spec.mtu: must be a whole number, not "-1"`}},
		{"octal", head + "  mtu: 0777\n", []string{`f.yaml:4: VPNTunnel/t1: spec.mtu: must be a whole number, not "0777"`}},
		{"fraction", head + "  mtu: 1.5\n", []string{`f.yaml:4: VPNTunnel/t1: spec.mtu: must be a whole number, not "1.5"`}},
		{"too large", head + "  mtu: 4294967296\n", []string{"f.yaml:4: VPNTunnel/t1: spec.mtu: must be at most 4294967295, not 4294967296"}},
		{"far too large", head + "  esp: {lifetimeBytes: 18446744073709551616}\n",
			[]string{"f.yaml:4: VPNTunnel/t1: spec.esp.lifetimeBytes: must be at most 18446744073709551615, not 18446744073709551616"}},
		{"list for a number", head + "  mtu: [1]\n", []string{"f.yaml:4: VPNTunnel/t1: spec.mtu: must be a whole number, not a list"}},
		{"truth", head + "  dpd: {enabled: yes}\n", []string{`f.yaml:4: VPNTunnel/t1: spec.dpd.enabled: must be true or false, not "yes"`}},
		{"duration", head + "  dpd: {interval: 10}\n", []string{`f.yaml:4: VPNTunnel/t1: spec.dpd.interval: must be a duration such as 10s, 300ms or 8h, not "10"`}},
		{"duration in words", head + "  dpd: {interval: ten}\n", []string{`f.yaml:4: VPNTunnel/t1: spec.dpd.interval: must be a duration such as 10s, 300ms or 8h, not "ten"`}},
		{"text for an object", head + "  dpd: off\n", []string{"f.yaml:4: VPNTunnel/t1: spec.dpd: must be an object, not a text"}},
		{"text for a list", head + "  ike: {proposals: aes256-sha256-modp2048}\n", []string{"f.yaml:4: VPNTunnel/t1: spec.ike.proposals: must be a list, not a text"}},
		{"elements of a list", head + "  ike:\n    proposals:\n    - a\n    - 7\n    -\n", []string{
			"f.yaml:7: VPNTunnel/t1: spec.ike.proposals[1]: must be a text, not a number: put it in quotes",
			"f.yaml:8: VPNTunnel/t1: spec.ike.proposals[2]: has no value",
		}},
		{"no value", head + "  mtu:\n", []string{"f.yaml:4: VPNTunnel/t1: spec.mtu: has no value"}},
		{"alias", head + "  localId: &x a\n  remoteId: *x\n", []string{
			"f.yaml:4: VPNTunnel/t1: spec.localId: anchors and aliases are not allowed; quote a text that begins with * or &",
			"f.yaml:5: VPNTunnel/t1: spec.remoteId: anchors and aliases are not allowed; quote a text that begins with * or &",
		}},
		{"alias of nothing", head + "  localId: a\n  remoteId: *x\n", []string{"f.yaml:5: anchors and aliases are not allowed; quote a text that begins with * or &"}},
		{"tag", head + "  localId: !x a\n", []string{"f.yaml:4: VPNTunnel/t1: spec.localId: tags are not allowed; quote a text that begins with !"}},
		{"merge key", head + "  <<: {mtu: 1400}\n", []string{"f.yaml:4: VPNTunnel/t1: spec.<<: there is no such field"}},
		{"key is no text", head + "  [a]: b\n", []string{"f.yaml:4: VPNTunnel/t1: spec: a field's name must be a text, not a list"}},
		{"bfd", head + "  bgp: {bfd: fast}\n", []string{`f.yaml:4: VPNTunnel/t1: spec.bgp.bfd: must be on, off or an object, not "fast"`}},
		{"sealed", head + "  psk: {sealed: \"***\"}\n", []string{"f.yaml:4: VPNTunnel/t1: spec.psk.sealed: must be base64"}},
		{"deep in a list", "kind: BorderGateway\nname: g\nspec:\n  attachments:\n  - name: a\n    peer:\n      asn: x\n",
			[]string{`f.yaml:7: BorderGateway/g: spec.attachments[0].peer.asn: must be a whole number, not "x"`}},
		{"several documents go on after an error", "kind: X\nname: a\n---\nkind: VPNTunnel\nname: t1\nspec: {mtu: x}\n", []string{
			`f.yaml:1: X/a: kind: there is no kind "X"`, `f.yaml:6: VPNTunnel/t1: spec.mtu: must be a whole number, not "x"`,
		}},
		{"items that are no objects", "items: [a, {kind: VPNTunnel, name: t1, spec: {mtu: x}}]\n", []string{
			"f.yaml:1: must be an object with kind, name and spec, not a text", `f.yaml:1: VPNTunnel/t1: spec.mtu: must be a whole number, not "x"`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var positions manifest.Positions
			_, findings, _ := manifest.Decode("f.yaml", []byte(tc.text), &positions)
			if diff := cmp.Diff(tc.want, formatted(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeValues(t *testing.T) {
	want := &apiv1.VPNTunnel{Kind: "VPNTunnel", Name: "t1", Spec: &apiv1.VPNTunnelSpec{
		Connection: "c", CloudAddress: "2001:db8::1", LocalId: "0123", Description: "2026-11-22",
		Psk: &apiv1.SecretSource{Value: "s3cret-value"},
		Ike: &apiv1.IKE{Version: 1, Proposals: []string{"a", "b"}, Lifetime: durationpb.New(8 * 3600e9)},
		Esp: &apiv1.ESP{LifetimeBytes: 18446744073709551615},
		Dpd: &apiv1.DPD{Enabled: proto.Bool(false), Interval: durationpb.New(300e6)},
		Bgp: &apiv1.BGP{Bfd: &apiv1.BFD{Enabled: true}, Password: &apiv1.SecretSource{Env: "BGP"}, Med: proto.Uint32(0)},
		Mtu: 1400, ReplayWindow: proto.Uint32(0),
	}}
	const yamlText = `
kind: VPNTunnel
name: t1
spec:
  connection: c
  cloudAddress: 2001:db8::1
  localId: "0123"
  description: 2026-11-22
  psk: s3cret-value
  ike: {version: 1, proposals: [a, b], lifetime: 8h}
  esp: {lifetimeBytes: "18446744073709551615"}
  dpd: {enabled: false, interval: 300ms}
  bgp:
    bfd: on
    password: {env: BGP}
    med: 0
  mtu: 1400
  replayWindow: 0
`
	const jsonText = `{
	"kind": "VPNTunnel", "name": "t1",
	"status": {"admin": "UP", "nothing": {"of": "interest"}},
	"spec": {
		"connection": "c", "cloudAddress": "2001:db8::1", "localId": "0123", "description": "2026-11-22",
		"psk": {"value": "s3cret-value"},
		"ike": {"version": 1, "proposals": ["a", "b"], "lifetime": "28800s"},
		"esp": {"lifetimeBytes": 18446744073709551615},
		"dpd": {"enabled": false, "interval": "0.3s"},
		"bgp": {"bfd": {"enabled": true}, "password": {"env": "BGP"}, "med": 0},
		"mtu": 1400, "replayWindow": 0
	}
}`
	for name, text := range map[string]string{
		"YAML": yamlText, "JSON": jsonText, "a list of get": `{"items": [` + jsonText + `]}`,
		"Windows line ends": strings.ReplaceAll(yamlText, "\n", "\r\n"), "byte order mark": "\uFEFF" + yamlText,
	} {
		var positions manifest.Positions
		objects, findings, complete := manifest.Decode("f", []byte(text), &positions)
		if len(findings) > 0 || !complete || len(objects) != 1 {
			t.Errorf("%s: %d objects, findings %q", name, len(objects), formatted(findings))
			continue
		}
		if diff := cmp.Diff(want, objects[0].Message, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for text, enabled := range map[string]bool{"on": true, "true": true, "off": false, "false": false, "{enabled: true}": true} {
		var positions manifest.Positions
		objects, findings, _ := manifest.Decode("f", []byte("kind: VPNTunnel\nname: t\nspec: {bgp: {bfd: "+text+"}}\n"), &positions)
		if len(findings) > 0 || objects[0].Message.(*apiv1.VPNTunnel).GetSpec().GetBgp().GetBfd().GetEnabled() != enabled {
			t.Errorf("bfd: %s: %v %q", text, objects, formatted(findings))
		}
	}
}

// TestSecretsStayOutOfFindings puts a key in every place where it can be mistaken for something else.
func TestSecretsStayOutOfFindings(t *testing.T) {
	const key = "correct-horse"
	for _, text := range []string{
		"psk: {" + key + "}", "psk: {" + key + ": x}", "psk: {" + key + ": x, " + key + ": y}", "psk: [" + key + "]", "psk: &" + key + " x", "psk: *" + key,
		"psk: !" + key + " x", "psk: {value: !" + key + " x}", "psk: {value: {" + key + ": " + key + "}}", "psk: {value: *" + key + "}",
		"psk: {file: [" + key + "]}", "psk: {sealed: " + key + "}", "psk: {sealed: {a: " + key + "}}", "ike: " + key, "esp: [" + key + "]",
		"psk: {value: a, value: " + key + "}", "bgp: {password: [" + key + "]}", "bgp: " + key, "psk: {value: \"" + key + "\xff\"}", "inside: " + key,
	} {
		var positions manifest.Positions
		_, findings, _ := manifest.Decode("f.yaml", []byte("kind: VPNTunnel\nname: t\nspec:\n  "+text+"\n"), &positions)
		if len(findings) == 0 {
			t.Errorf("%s: nothing was found", text)
		}
		for _, line := range formatted(findings) {
			if strings.Contains(line, key) {
				t.Errorf("%s: the key is visible in %s", text, line)
			}
		}
	}
}

func TestPositions(t *testing.T) {
	var positions manifest.Positions
	_, _, _ = manifest.Decode("f.yaml", []byte("kind: BorderGateway\nname: g\nspec:\n  attachments:\n  - name: a\n    peer:\n      asn: 1\n"), &positions)
	for field, line := range map[string]int{
		"": 1, "spec": 3, "spec.asn": 3, "spec.attachments[0].name": 5, "spec.attachments[0]": 5, "spec.attachments[0].peer.asn": 7,
		"spec.attachments[0].peer.address": 6, "spec.attachments[0].prefixes[3]": 5, "spec.attachments[7].name": 4, "name": 2,
	} {
		if at, ok := positions.Find("BorderGateway/g", field); !ok || at != (manifest.Position{File: "f.yaml", Line: line}) {
			t.Errorf("%s: %v, want line %d", field, at, line)
		}
	}
	if _, ok := positions.Find("BorderGateway/h", "spec"); ok {
		t.Error("an unknown object has no position")
	}
}

func TestFormat(t *testing.T) {
	for want, f := range map[string]*apiv1.Finding{
		"a.yaml:3: VPNTunnel/t: spec.mtu: is wrong": {File: "a.yaml", Line: 3, Object: "VPNTunnel/t", Field: "spec.mtu", Message: "is wrong"},
		"a.yaml:3: warning: VPNTunnel/t: is unwise": {File: "a.yaml", Line: 3, Object: "VPNTunnel/t", Message: "is unwise", Warning: true},
		"VPNTunnel/t: spec.mtu: is wrong":           {Object: "VPNTunnel/t", Field: "spec.mtu", Message: "is wrong"},
		"a.yaml: cannot be read":                    {File: "a.yaml", Message: "cannot be read"},
	} {
		if got := manifest.Format(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"kind: VPNTunnel\nname: t\nspec: {psk: {value: x}, bgp: {bfd: on}, ike: {lifetime: 8h}}\n---\nkind: X\n",
		`{"items":[{"kind":"BorderGateway","name":"g","spec":{"attachments":[{"peer":{"asn":1}}]}}]}`,
		"a: &x [*x]", "? {a: b}\n: c", "- - -", "%YAML 1.2\n---\n", "kind: !!binary aGk=\n", "\xff\xfe", "{", "kind: VPNTunnel\nname: t\nspec: *a",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var positions manifest.Positions
		objects, findings, _ := manifest.Decode("f", content, &positions)
		for _, finding := range findings {
			if finding.GetLine() == 0 || finding.GetFile() == "" || finding.GetMessage() == "" {
				t.Errorf("a finding without place or message: %v", finding)
			}
			if _, err := proto.Marshal(finding); err != nil {
				t.Errorf("a finding that cannot be sent: %v", err)
			}
		}
		for _, o := range objects {
			if o.Name == "" || o.Message == nil || o.At.Line == 0 {
				t.Errorf("object %+v", o)
			}
			if _, err := proto.Marshal(o.Message); err != nil {
				t.Errorf("an object that cannot be sent: %v", err)
			}
		}
		_ = manifest.DecodeMessage("f", content, &apiv1.AgentConfig{}, &positions)
	})
}
