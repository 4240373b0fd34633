package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestSwanctlConf(t *testing.T) {
	conf := swanctlConf([]CustomerTunnel{
		CustomerTunnel{Name: "one", Local: "203.0.113.1", Remote: "198.51.100.1", PSK: "first key", IfID: 7, Initiate: true}.withDefaults(),
		CustomerTunnel{Name: "two", Local: "203.0.113.2", Remote: "198.51.100.2", LocalID: "office.example", PSK: "k2", Version: 1, Aggressive: true}.withDefaults(),
	})
	for _, want := range []string{
		"local_addrs = 203.0.113.1\n", "remote_addrs = 198.51.100.1\n", "if_id_in = 7\n", "if_id_out = 7\n", "version = 1\n",
		"aggressive = yes\n", "start_action = start\n", "start_action = none\n", "id = office.example\n",
		"id-1 = 203.0.113.1\n\t\tid-2 = 198.51.100.1\n\t\tsecret = \"first key\"\n",
		"id-1 = office.example\n\t\tid-2 = 198.51.100.2\n\t\tsecret = \"k2\"\n",
	} {
		if !strings.Contains(conf, want) {
			t.Errorf("%q is missing in\n%s", want, conf)
		}
	}
	if strings.Count(conf, "{") != strings.Count(conf, "}") || strings.Count(conf, "aggressive") != 1 {
		t.Errorf("malformed:\n%s", conf)
	}
}

func TestInsidePeer(t *testing.T) {
	for inside, want := range map[string]string{
		"169.254.10.2/30": "169.254.10.1", "169.254.10.1/30": "169.254.10.2", "169.254.10.0/31": "169.254.10.1",
		"169.254.10.1/31": "169.254.10.0", "fd00::2/126": "fd00::1", "fd00::1/127": "fd00::",
	} {
		if got, err := InsidePeer(inside); err != nil || got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %v, %v, want %s", inside, got, err, want)
		}
	}
	for _, bad := range []string{"169.254.10.1", "169.254.10.1/32"} {
		if got, err := InsidePeer(bad); err == nil {
			t.Errorf("%s: got %v", bad, got)
		}
	}
}

func TestAgentConfig(t *testing.T) {
	h := &Host{name: "gw-a"}
	a := &Agent{host: h, dir: "/x", o: AgentOptions{
		Addresses: []string{"198.51.100.1", "2001:db8::1"}, Charon: &Charon{dir: "/c"}, Extra: "custom: 1\n",
	}}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(a.config()), &got); err != nil {
		t.Fatalf("%v in\n%s", err, a.config())
	}
	want := map[string]any{
		"host": "gw-a", "addresses": []any{"198.51.100.1", "2001:db8::1"}, "underlay": map[string]any{"interface": "eth0"},
		"source": map[string]any{"file": map[string]any{"path": "/x/manifests.d"}}, "charon": map[string]any{"socket": "/c/vici"},
		"api": map[string]any{"socket": "/x/api"}, "metrics": map[string]any{"listen": "127.0.0.1:9469"}, "state": "/x/state",
		"log": map[string]any{"level": "debug", "format": "text"}, "custom": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWriteFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, files := range []map[string]string{
		{"a.yaml": "1", "b.yaml": "2"}, {"b.yaml": "3"}, {},
	} {
		if err := writeFolder(dir, files); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			got[e.Name()] = string(data)
		}
		if diff := cmp.Diff(files, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFolderName(t *testing.T) {
	if got := folderName("TestX/two words/ü"); got != "TestX_two_words_" {
		t.Errorf("got %q", got)
	}
}

func TestParsePacket(t *testing.T) {
	v4 := append([]byte{0x45, 0, 0, 24, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, 1, 2, 3, 4)
	p, ok := parsePacket(v4, 1400)
	if !ok || p.Src.String() != "192.0.2.1" || p.Dst.String() != "192.0.2.2" || p.Protocol != ESP || p.Length != 1400 || len(p.Payload) != 4 {
		t.Errorf("%+v, %v", p, ok)
	}
	v6 := make([]byte, 41)
	v6[0], v6[6], v6[23], v6[39] = 0x60, 17, 1, 2
	if p, ok := parsePacket(v6, 41); !ok || p.Src.String() != "::1" || p.Dst.String() != "::2" || p.Protocol != 17 || len(p.Payload) != 1 {
		t.Errorf("%+v, %v", p, ok)
	}
	for _, b := range [][]byte{nil, v4[:19], {0x4f, 19: 0}, v6[:39], make([]byte, 60)} {
		if p, ok := parsePacket(b, len(b)); ok {
			t.Errorf("%x: accepted as %+v", b, p)
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add([]byte{0x45, 19: 0})
	f.Fuzz(func(t *testing.T, b []byte) { parsePacket(b, len(b)) })
}
