package ctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/ctl"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agents starts one real server per view and returns their sockets. A nil view gives a socket that a dead agent left behind.
func agents(t *testing.T, views ...*status.View) []string {
	t.Helper()
	dir := t.TempDir()
	var sockets []string
	for i, v := range views {
		socket := filepath.Join(dir, fmt.Sprintf("%c.sock", 'a'+i))
		sockets = append(sockets, socket)
		if v == nil {
			dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			dead.SetUnlinkOnClose(false)
			if err := dead.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		serve(t, socket, server.Config{View: func() *status.View { return v }})
	}
	return sockets
}

func serve(t *testing.T, socket string, c server.Config) {
	t.Helper()
	l, err := server.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	c.Metrics, c.Log = http.NotFoundHandler(), slog.New(slog.NewTextHandler(io.Discard, nil))
	s := server.New(c)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

type outcome struct {
	code           int
	stdout, stderr string
}

// run is one command line; the sockets' paths show as A, B … in the output.
func run(t *testing.T, sockets []string, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	env := map[string]string{ctl.SocketsVariable: strings.Join(sockets, ",")}
	p := ctl.Program{
		Stdout: &out, Stderr: &err, Now: now, Version: "v1.2.3 (go1.26.0)",
		Getenv: func(key string) string { return env[key] },
	}
	code := p.Run(t.Context(), args)
	short := func(s string) string {
		for i, socket := range sockets {
			s = strings.ReplaceAll(s, socket, string(rune('A'+i)))
		}
		return s
	}
	return outcome{code: code, stdout: short(out.String()), stderr: short(err.String())}
}

// TestGolden compares the whole transcript of each command with a file.
func TestGolden(t *testing.T) {
	one := func() []*status.View { return []*status.View{viewA()} }
	both := func() []*status.View { return []*status.View{viewA(), viewB(statusUp("gw-b"))} }
	bad := func() []*status.View { return []*status.View{viewA(), viewB(statusDown("gw-b"))} }
	dead := func() []*status.View { return []*status.View{viewA(), nil} }
	tests := []struct {
		name  string
		views func() []*status.View
		args  string
	}{
		{"tunnels", bad, "get tunnels"},
		{"tunnels-wide", bad, "get tun -o wide"},
		{"tunnels-json", bad, "get tunnels -o json"},
		{"tunnels-yaml", bad, "get tunnels -o yaml shop-idc-2"},
		{"tunnels-dead", dead, "get tunnels"},
		{"connections-one-agent", one, "get connections"},
		{"connections-up", both, "get connections"},
		{"connections-up-json", both, "get conn -o json"},
		{"connections-down", bad, "get connection"},
		{"connections-down-wide", bad, "get connections -o wide"},
		{"connections-down-json", bad, "get connections -o json"},
		{"connections-dead", dead, "get connections"},
		{"gateways", both, "get gw"},
		{"gateways-wide", both, "get gateways -o wide"},
		{"gateways-json", one, "get gateway shop-prod -o json"},
		{"routes", both, "get routes"},
		{"routes-wide", one, "get route -o wide"},
		{"routes-json", one, "get routes shop-prod -o json"},
		{"host", both, "get host"},
		{"host-wide", both, "get hosts -o wide gw-a"},
		{"host-json", one, "get host -o json"},
		{"describe-tunnel-up", both, "describe tunnel shop-idc-1"},
		{"describe-tunnel-down", bad, "describe tun shop-idc-2"},
		{"describe-tunnel-json", bad, "describe tunnel shop-idc-2 -o json"},
		{"describe-connection-up", both, "describe connection shop-idc"},
		{"describe-connection-down", bad, "describe conn shop-idc"},
		{"describe-connection-dead", dead, "describe connection shop-idc"},
		{"describe-connection-yaml", dead, "describe connection shop-idc -o yaml"},
		{"unknown-name", both, "get tunnels nobody shop-idc-1"},
		{"unknown-tunnel", both, "describe tunnel nobody"},
		{"unknown-connection", both, "describe connection nobody"},
		{"all-dead", func() []*status.View { return []*status.View{nil, nil} }, "get tunnels -o json"},
		{"version", one, "--version"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := run(t, agents(t, tc.views()...), strings.Fields(tc.args)...)
			golden(t, tc.name, tc.args, r)
		})
	}
}

// golden compares the transcript of a command with a file.
func golden(t *testing.T, name, args string, r outcome) {
	t.Helper()
	goldenIn(t, "testdata", name, args, r)
}

// goldenIn is golden for tests that run in another folder.
func goldenIn(t *testing.T, testdata, name, args string, r outcome) {
	t.Helper()
	transcript := fmt.Sprintf("$ bordergwctl %s\nexit code %d\n--- stdout\n%s--- stderr\n%s", args, r.code, r.stdout, r.stderr)
	path := filepath.Join(testdata, name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(transcript), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), transcript); diff != "" {
		t.Errorf("%s differs; run the test with -update if that is wanted (-want +got):\n%s", path, diff)
	}
}

// TestDocumentedStatus holds the format that programs rely on.
func TestDocumentedStatus(t *testing.T) {
	sockets := agents(t, viewA(), viewB(statusUp("gw-b")))
	type item struct {
		Kind, Name string
		Spec       map[string]any
		Status     map[string]any
	}
	get := func(what string) []item {
		t.Helper()
		r := run(t, sockets, "get", what, "-o", "json")
		var list struct{ Items []item }
		d := json.NewDecoder(strings.NewReader(r.stdout))
		d.UseNumber()
		if err := d.Decode(&list); err != nil || r.code != ctl.ExitOK {
			t.Fatalf("exit code %d, %v: %s%s", r.code, err, r.stdout, r.stderr)
		}
		return list.Items
	}
	tunnel := get("tunnels")[0]
	want := map[string]any{
		"admin": "UP", "running": "UP", "reason": "", "message": "", "since": "2026-11-22T18:00:00Z", "host": "gw-a",
		"ike": "ESTABLISHED", "child": "INSTALLED", "interface": "UP", "bgp": "ESTABLISHED", "probe": "PASSING",
	}
	for field, value := range want {
		if diff := cmp.Diff(value, tunnel.Status[field]); diff != "" {
			t.Errorf("tunnel status %s (-want +got):\n%s", field, diff)
		}
	}
	if tunnel.Kind != "VPNTunnel" || tunnel.Name != "shop-idc-1" || tunnel.Spec["connection"] != "shop-idc" {
		t.Errorf("tunnel = %+v", tunnel)
	}
	// 2^53+1 is what a reader gets wrong that goes through a float, and protojson prints as a string.
	if got := tunnel.Status["counters"].(map[string]any)["bytesOut"]; got != json.Number("9007199254740993") {
		t.Errorf("bytesOut = %#v, want a JSON number", got)
	}
	c := get("connections")[0].Status
	if diff := cmp.Diff(map[string]any{"tunnelsUp": json.Number("2"), "tunnels": json.Number("2"), "availability": "HIGHLY_AVAILABLE"},
		map[string]any{"tunnelsUp": c["tunnelsUp"], "tunnels": c["tunnels"], "availability": c["availability"]}); diff != "" {
		t.Errorf("connection status (-want +got):\n%s", diff)
	}
	if _, isList := c["reasons"].([]any); !isList {
		t.Errorf("reasons = %#v, want a list even when it is empty", c["reasons"])
	}
}

func TestEveryStatusFieldIsPresent(t *testing.T) {
	v := viewA()
	v.Tunnels = []*apiv1.VPNTunnel{{Name: "bare", Spec: &apiv1.VPNTunnelSpec{}}}
	r := run(t, agents(t, v), "get", "tunnels", "-o", "json")
	fields := (&apiv1.VPNTunnelStatus{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if want := fmt.Sprintf("%q: ", fields.Get(i).JSONName()); !strings.Contains(r.stdout, want) {
			t.Errorf("%s is missing in %s", want, r.stdout)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	v := viewA()
	for _, name := range []string{"json", "yaml", "table", "wide"} {
		for _, args := range [][]string{{"get", "gateways"}, {"get", "tunnels"}, {"describe", "tunnel", "shop-idc-1"}, {"describe", "connection", "shop-idc"}} {
			r := run(t, agents(t, v), append(args, "-o", name)...)
			for _, secret := range []string{"sealed-bytes", "c2VhbGVk"} {
				if strings.Contains(r.stdout+r.stderr, secret) {
					t.Errorf("%v -o %s prints a sealed secret: %s", args, name, r.stdout)
				}
			}
		}
	}
}

// TestRedactedOutputIsNoManifest feeds printed items back. A tunnel whose key is in a file is a good manifest; one whose key was
// redacted must be refused, or its key would become the word.
func TestRedactedOutputIsNoManifest(t *testing.T) {
	r := run(t, agents(t, viewA(), viewB(statusUp("gw-b"))), "get", "tunnels", "-o", "json")
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatal(err)
	}
	var positions manifest.Positions
	objects, findings, complete := manifest.Decode("file", list.Items[0], &positions)
	if !complete || len(findings) > 0 || len(objects) != 1 {
		t.Errorf("a tunnel with a key file: %d objects, %v", len(objects), findings)
	}
	_, findings, _ = manifest.Decode("redacted", list.Items[1], &positions)
	if len(findings) == 0 {
		t.Errorf("accepted as a manifest: %s", list.Items[1])
	}
	for _, f := range findings {
		if f.GetWarning() || f.GetField() != "spec.psk" {
			t.Errorf("finding %v, want an error about spec.psk", f)
		}
	}
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	sockets := agents(t, viewA(), viewB(statusDown("gw-b")))
	for _, what := range []string{"tunnels", "connections", "gateways", "routes", "host"} {
		var fromJSON, fromYAML any
		if err := json.Unmarshal([]byte(run(t, sockets, "get", what, "-o", "json").stdout), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(run(t, sockets, "get", what, "-o", "yaml").stdout), &fromYAML); err != nil {
			t.Fatal(err)
		}
		// Numbers have different Go types in the two decoders; their JSON is the same.
		a, errA := json.Marshal(fromJSON)
		b, errB := json.Marshal(fromYAML)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		var left, right any
		if err := json.Unmarshal(a, &left); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &right); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(left, right); diff != "" {
			t.Errorf("%s (-json +yaml):\n%s", what, diff)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	sockets := agents(t, viewA())
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown command":      {[]string{"frobnicate"}, `unknown command "frobnicate"`},
		"get nothing":          {[]string{"get"}, "name a resource"},
		"get unknown resource": {[]string{"get", "pods"}, `unknown resource "pods"`},
		"describe nothing":     {[]string{"describe"}, "name a resource"},
		"describe no name":     {[]string{"describe", "tunnel"}, "accepts 1 arg"},
		"disable nothing":      {[]string{"disable"}, "name a resource: tunnel"},
		"disable a host":       {[]string{"disable", "host"}, `unknown resource "host"`},
		"drain nothing":        {[]string{"drain"}, "name a resource: tunnel or host"},
		"drain no name":        {[]string{"drain", "tunnel"}, "accepts 1 arg"},
		"drain bad timeout":    {[]string{"drain", "tunnel", "x", "--timeout", "0s"}, "--timeout: 0s is not positive"},
		"enable two hosts":     {[]string{"enable", "host", "a", "b"}, "accepts at most 1 arg"},
		"describe unknown":     {[]string{"describe", "route", "x"}, `unknown resource "route"`},
		"unknown flag":         {[]string{"get", "tunnels", "--colour"}, "unknown flag"},
		"unknown format":       {[]string{"get", "tunnels", "-o", "xml"}, `"xml" is none of table, wide, json, yaml`},
		"bad timeout":          {[]string{"get", "tunnels", "--timeout", "0s"}, "is not positive"},
		"no duration":          {[]string{"get", "tunnels", "--timeout", "soon"}, "invalid argument"},
		"same socket twice":    {[]string{"get", "tunnels", "--socket", "/x", "--socket", "/x"}, "given twice"},
		"empty socket":         {[]string{"get", "tunnels", "--socket", `""`}, "must not be empty"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := run(t, sockets, tc.args...)
			if r.code != ctl.ExitUsage || !strings.Contains(r.stderr, tc.want) || r.stdout != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", r.code, r.stdout, r.stderr, ctl.ExitUsage, tc.want)
			}
		})
	}
}

func TestTheFlagWinsOverTheEnvironment(t *testing.T) {
	sockets := agents(t, viewA(), viewB(statusUp("gw-b")))
	r := run(t, []string{"/nonexistent/agent.sock"}, "get", "host", "--socket", sockets[0], "--socket", sockets[1])
	if r.code != ctl.ExitOK || !strings.Contains(r.stdout, "gw-a") || !strings.Contains(r.stdout, "gw-b") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r = run(t, []string{"/nonexistent/agent.sock"}, "get", "host"); r.code != ctl.ExitError || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("exit code %d, stderr %q, want 1 and the socket's fault", r.code, r.stderr)
	}
}

// TestAHangingAgentIsSilent connects to a socket on which nobody ever accepts.
func TestAHangingAgentIsSilent(t *testing.T) {
	sockets := agents(t, viewA())
	hanging := filepath.Join(t.TempDir(), "hang.sock")
	l, err := net.Listen("unix", hanging)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	start := time.Now()
	r := run(t, append(sockets, hanging), "get", "tunnels", "--timeout", "200ms")
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s with a timeout of 200ms", took)
	}
	if r.code != ctl.ExitPartial || !strings.Contains(r.stdout, "shop-idc-1") || !strings.Contains(r.stderr, "B: no answer") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func TestCompletion(t *testing.T) {
	sockets := agents(t, viewA(), viewB(statusUp("gw-b")))
	tests := map[string]struct {
		args []string
		want []string
	}{
		"tunnel names":   {[]string{"get", "tunnels", ""}, []string{"shop-idc-1", "shop-idc-2"}},
		"those not said": {[]string{"get", "tunnels", "shop-idc-1", ""}, []string{"shop-idc-2"}},
		"describe":       {[]string{"describe", "connection", ""}, []string{"shop-idc"}},
		"one name only":  {[]string{"describe", "connection", "shop-idc", ""}, nil},
		"gateways once":  {[]string{"get", "gateways", ""}, []string{"shop-prod"}},
		"formats":        {[]string{"get", "tunnels", "-o", ""}, []string{"table", "wide", "json", "yaml"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := run(t, sockets, append([]string{"__complete"}, tc.args...)...)
			var got []string
			for line := range strings.Lines(r.stdout) {
				if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, ":") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("completions (-want +got):\n%s%s", diff, r.stderr)
			}
		})
	}
}
