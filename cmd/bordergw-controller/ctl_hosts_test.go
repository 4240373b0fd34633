package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/source/remote"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/ctl"
	"github.com/bordergw/bordergw/internal/seal"
)

var update = flag.Bool("update", false, "write the golden files")

// gateway is a host whose agent has a real source and a real keeper of local changes; its tunnels are up unless they were taken down.
type gateway struct {
	name   string
	keeper *local.Keeper

	mu    sync.Mutex
	set   *apiv1.Set
	view  *status.View
	newer chan struct{}
}

// start gives the host an agent.
func (g *gateway) start(t *testing.T, s *site, address string) {
	t.Helper()
	state := t.TempDir()
	g.view, g.newer, g.set = &status.View{Host: &apiv1.GetHostResponse{}}, make(chan struct{}), apiv1.NewSet()
	g.keeper = local.New(local.Options{
		File: local.NewFile(state), View: func() *status.View { v, _ := g.published(); return v }, Log: slog.New(slog.DiscardHandler),
		Forwarded: func(context.Context) (map[string]local.Forwarded, error) { return nil, nil },
		Changed:   func() { go g.publish() },
	})
	keys, err := seal.OpenKeyring(state)
	if err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(s.dir, "pki")
	src := remote.New(remote.Options{
		Endpoints: []string{s.listen}, Host: remote.Host{Name: g.name, Addresses: []string{address}}, Keys: keys, State: state, Operations: g,
		Dial: remote.DialTLS(remote.Files{CA: filepath.Join(pki, "ca.crt"), Cert: filepath.Join(pki, "agent-"+g.name+".crt"),
			Key: filepath.Join(pki, "agent-"+g.name+".key")}),
		Capabilities: func() *apiv1.HostCapabilities { return &apiv1.HostCapabilities{AgentVersion: "test", MlKem: "ABSENT"} },
		MLKEM:        func() apiv1.Capability { return apiv1.CapabilityAbsent },
		Published:    g.published, Log: slog.New(slog.DiscardHandler), Patience: time.Hour,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.keeper.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := src.Run(ctx, func(set *apiv1.Set) {
			g.mu.Lock()
			g.set = set
			g.mu.Unlock()
			g.publish()
		}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func (g *gateway) publish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := &status.View{Host: &apiv1.GetHostResponse{Ready: true}}
	for _, name := range apiv1.Names(g.set.Connections) {
		v.Connections = append(v.Connections, &apiv1.ConnectionView{Connection: g.set.Connections[name], Tunnels: g.set.TunnelsOf(name)})
	}
	for _, name := range apiv1.Names(g.set.Tunnels) {
		st := &apiv1.VPNTunnelStatus{Admin: apiv1.AdminStateUp, Running: apiv1.RunningUp, Since: timestamppb.Now(), Local: g.keeper.Of(name)}
		if apiv1.LocallyDown(st.GetLocal()) {
			st.Admin, st.Running, st.Reason = apiv1.AdminStateDown, apiv1.RunningDown, apiv1.ReasonAdminDown
		}
		v.Tunnels = append(v.Tunnels, &apiv1.VPNTunnel{Name: name, Spec: g.set.Tunnels[name].GetSpec(), Status: st})
	}
	g.view = v
	close(g.newer)
	g.newer = make(chan struct{})
}

func (g *gateway) published() (*status.View, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.view, g.newer
}

// Change implements remote.Operations.
func (g *gateway) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	return g.keeper.Change(by, req)
}

// Drain implements remote.Operations.
func (g *gateway) Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	return g.keeper.Drain(ctx, by, req, send)
}

// WatchLog implements remote.Operations.
func (g *gateway) WatchLog(_ context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error {
	for _, text := range []string{"IKE_SA_INIT sent", "running: UP"} {
		if err := send(&apiv1.LogEntry{Time: timestamppb.Now(), Message: req.GetTunnel() + ": " + text}); err != nil {
			return err
		}
	}
	return nil
}

// What operators do on hosts through a controller: each transcript is a golden file.
func TestHostsThroughTheController(t *testing.T) {
	s := newSite(t)
	s.start()
	dir := t.TempDir()
	env := map[string]string{"BORDERGWCTL_CONFIG": filepath.Join(dir, "config.yaml"), "BGP_PASSWORD": "a-password-of-bgp"}
	var out, errs bytes.Buffer
	if code := run([]string{"init-pki", "--viewer", "bob", filepath.Join(s.dir, "pki")}, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	for name, text := range map[string]string{
		"all.yaml": manifests, "psk": "the-key-of-the-shop\n",
		"config.yaml": fmt.Sprintf(`currentContext: lab
contexts:
- {name: lab, server: "https://%[1]s", ca: %[2]s/ca.crt, cert: %[2]s/operator-operator.crt, key: %[2]s/operator-operator.key}
- {name: viewer, server: "https://%[1]s", ca: %[2]s/ca.crt, cert: %[2]s/viewer-bob.crt, key: %[2]s/viewer-bob.key}
`, s.listen, filepath.Join(s.dir, "pki")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bordergwctl := func(args string) (int, string, string) {
		var out, errs bytes.Buffer
		code := ctl.Program{Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return env[k] }, Now: time.Now}.Run(t.Context(), strings.Fields(args))
		return code, out.String(), errs.String()
	}
	if code, _, text := bordergwctl("apply -f " + filepath.Join(dir, "all.yaml")); code != 0 {
		t.Fatal(text)
	}
	a, b := &gateway{name: "gw-a"}, &gateway{name: "gw-b"}
	a.start(t, s, "198.51.100.1")
	until := func(want, args string) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); ; <-tick.C {
			_, got, text := bordergwctl(args)
			if strings.Contains(got, want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: no %q in\n%s%s", args, want, got, text)
			}
		}
	}
	until("1/2", "get connections")
	moment := regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z( \([0-9a-z]+\))?`)
	age, spaces := regexp.MustCompile(`  +[0-9]+s  +`), regexp.MustCompile(`  +`)
	for _, step := range []struct {
		name, args string
		// before is what the fleet must have come to, as another command tells it.
		want, before string
		do           func()
	}{
		{name: "disable-last", args: "disable tunnel shop-idc-1"},
		{name: "disable-forced", args: "disable tunnel shop-idc-1 --force"},
		{name: "disable-again", args: "disable tunnel shop-idc-1 -o json", before: "get tunnels shop-idc-1", want: "DISABLED"},
		{name: "describe-disabled", args: "describe tunnel shop-idc-1"},
		{name: "enable", args: "enable tunnel shop-idc-1"},
		{name: "drain-timed-out", args: "drain tunnel shop-idc-1 --timeout 1s --force"},
		{name: "drain-abort", args: "drain tunnel shop-idc-1 --abort"},
		{name: "drain-which-host", args: "drain host"},
		{name: "drain-silent-host", args: "drain host gw-b"},
		{name: "disable-unknown", args: "disable tunnel nobody"},
		{name: "enable-unknown-host", args: "enable host gw-c"},
		{name: "viewer-may-not", args: "drain tunnel shop-idc-1 --context viewer"},
		{name: "logs", args: "logs tunnel shop-idc-1 --context viewer"},
		{name: "logs-silent-host", args: "logs tunnel shop-idc-2 -f"},
		{name: "both-up", args: "disable tunnel shop-idc-1", before: "get connections", want: "2/2", do: func() { b.start(t, s, "198.51.100.2") }},
		{name: "describe-connection", args: "describe connection shop-idc", before: "get connections", want: "1/2"},
	} {
		if step.do != nil {
			step.do()
		}
		if step.want != "" {
			until(step.want, step.before)
		}
		code, stdout, stderr := bordergwctl(step.args)
		// How the fleet came to this depends on what was first.
		if before, history, ok := strings.Cut(stdout, "\nHistory\n"); ok {
			stdout = before + "\nHistory\n" + strings.Join(strings.SplitAfterN(history, "\n", 3)[:2], "")
		}
		got := fmt.Sprintf("$ bordergwctl %s\nexit code %d\n--- stdout\n%s--- stderr\n%s", step.args, code, stdout, stderr)
		got = spaces.ReplaceAllString(age.ReplaceAllString(moment.ReplaceAllString(got, "TIME"), "  AGE  "), "  ")
		path := filepath.Join("testdata", step.name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	until("TUNNEL_RUNNING            VPNTunnel/shop-idc-1     -       UP -> DOWN", "events -n 400")
	until(`"type": "HOST_STATE"`, "events -n 400 -o json --context viewer")
	// And what happens from now on, until interrupted.
	ctx, interrupt := context.WithCancel(t.Context())
	following := &lockedBuffer{}
	done := make(chan int, 1)
	go func() {
		done <- ctl.Program{Stdout: following, Stderr: following, Getenv: func(k string) string { return env[k] }, Now: time.Now}.Run(ctx, []string{"events", "-w", "-n", "1"})
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	seen := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(following.String(), what); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("no %q in\n%s", what, following.String())
			}
		}
	}
	seen("CONNECTION_AVAILABILITY")
	if code, _, text := bordergwctl("enable tunnel shop-idc-1"); code != 0 {
		t.Error(text)
	}
	seen("gw-a  TUNNEL_RUNNING  VPNTunnel/shop-idc-1  DOWN -> UP")
	interrupt()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d\n%s", code, following.String())
	}
	for args, want := range map[string]string{
		"disable tunnel ": "shop-idc-1\nshop-idc-2\n", "enable host ": "gw-a\ngw-b\n", "drain host ": "gw-a\ngw-b\n", "logs tunnel ": "shop-idc-1\nshop-idc-2\n",
		"describe connection ": "shop-idc\n", "describe gateway ": "shop\n", "get customers ": "idc\n", "delete tunnel ": "shop-idc-1\nshop-idc-2\n",
		"get tunnels --context ": "lab\nviewer\n", "completion ": "bash\tGenerate the autocompletion script for bash\nfish\tGenerate the autocompletion script for fish\npowershell\tGenerate the autocompletion script for powershell\nzsh\tGenerate the autocompletion script for zsh\n",
	} {
		words := append([]string{"__complete"}, append(strings.Fields(args), "")...)
		var out bytes.Buffer
		ctl.Program{Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return env[k] }, Now: time.Now}.Run(t.Context(), words)
		if got, _, _ := strings.Cut(out.String(), ":"); got != want {
			t.Errorf("completion of %q: %q, not %q", args, got, want)
		}
	}
}
