package ctl_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/ctl"
)

// teller is an agent to which two things have happened, and that plans what a file's name says.
type teller struct{ host string }

var (
	_ server.Teller  = teller{}
	_ server.Planner = teller{}
)

func (x teller) WatchEvents(_ context.Context, req *apiv1.WatchHostEventsRequest, send func(*apiv1.HostEvent) error) error {
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now().Add(-d)) }
	all := []*apiv1.HostEvent{
		{Sequence: 8, Time: at(2500 * time.Millisecond), Type: apiv1.EventTunnelLayer, Host: x.host, Object: "VPNTunnel/shop-idc-1", Field: "ike", Old: "DOWN", New: "ESTABLISHED"},
		{Sequence: 9, Time: at(time.Second), Type: apiv1.EventSourceRefused, Host: x.host, Object: "Host/" + x.host, Message: "shop.yaml:3: spec.mtu: \x1b[2Jno"},
	}
	if req.GetFollow() {
		all[1].Dropped = 12
	}
	for _, e := range all[len(all)-min(len(all), int(req.GetLast())):] {
		if err := send(e); err != nil {
			return err
		}
	}
	return nil
}

func (x teller) WatchLog(_ context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error {
	if !strings.HasPrefix(req.GetTunnel(), "shop-idc-") {
		return &local.Error{Kind: local.Unknown, Message: "not here"}
	}
	for _, e := range []*apiv1.LogEntry{{Time: ago(time.Hour), Message: "IKE_SA_INIT sent"}, {Time: ago(time.Minute), Message: "running: UP"}} {
		if req.GetSince() != nil && e.GetTime().AsTime().Before(req.GetSince().AsTime()) {
			continue
		}
		if err := send(e); err != nil {
			return err
		}
	}
	return nil
}

func (x teller) Plan(files []manifest.File) (*apiv1.PlanResponse, error) {
	out := &apiv1.PlanResponse{Host: x.host, Accepted: true, Impact: apiv1.ImpactNone}
	for _, f := range files {
		switch string(f.Content) {
		case "bad":
			out.Accepted = false
			out.Findings = append(out.Findings, &apiv1.Finding{File: filepath.Base(f.Name), Line: 7, Object: "VPNTunnel/x", Field: "spec.mtu", Message: "is too small"})
		case "rekey":
			out.Impact = apiv1.ImpactRekey
			out.Changes = []*apiv1.PlannedChange{
				{Object: "VPNConnection/shop-idc", Action: apiv1.PlanAdded, Impact: apiv1.ImpactNone},
				{Object: "VPNTunnel/shop-idc-1", Action: apiv1.PlanChanged, Impact: apiv1.ImpactRekey, Tunnels: []string{"shop-idc-1"}, Fields: []*apiv1.FieldChange{
					{Field: "spec.esp.lifetime", Old: "1h0m0s", New: "10m0s", Impact: apiv1.ImpactRekey},
					{Field: "spec.psk", Old: "value", New: "value", Impact: apiv1.ImpactRekey, Message: "psk changed"},
					{Field: "spec.description", New: "new", Impact: apiv1.ImpactNone},
				}},
			}
		}
	}
	return out, nil
}

func told(t *testing.T) []string {
	t.Helper()
	var sockets []string
	for _, v := range []*status.View{viewA(), viewB(statusUp("gw-b"))} {
		sockets = append(sockets, filepath.Join(t.TempDir(), "agent.sock"))
		x := teller{v.Host.GetHost()}
		serve(t, sockets[len(sockets)-1], server.Config{View: func() *status.View { return v }, Teller: x, Planner: x})
	}
	return sockets
}

func TestWatchGolden(t *testing.T) {
	for _, tc := range []struct {
		name   string
		agents int
		args   string
	}{
		{"events", 2, "events"},
		{"events-json", 1, "events -n 1 -o json"},
		{"events-watch", 1, "events -w"}, // the stream ends, which is a fault
		{"events-watch-json", 1, "events -w -n 1 -o json"},
		{"logs", 2, "logs tunnel shop-idc-2"},
		{"logs-since-json", 2, "logs tunnel shop-idc-1 --since 10m -o json"},
		{"logs-unknown", 2, "logs tunnel nobody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			golden(t, tc.name, tc.args, run(t, told(t)[:tc.agents], strings.Fields(tc.args)...))
		})
	}
}

func TestPlanGolden(t *testing.T) {
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"rekey.yaml": "rekey", "bad.yaml": "bad", "same.yaml": "", "folder/a.yaml": "rekey", "folder/.hidden.yaml": "bad", "folder/notes.txt": "bad",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		agents int
		args   string
	}{
		{"plan", 1, "plan -f folder"},
		{"plan-json", 1, "plan -f rekey.yaml -o json"},
		{"plan-two-hosts", 2, "plan -f same.yaml"},
		{"plan-refused", 1, "plan -f rekey.yaml -f bad.yaml"},
		{"plan-nothing", 1, "plan"},
		{"plan-no-file", 1, "plan -f nowhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			goldenIn(t, testdata, tc.name, tc.args, run(t, told(t)[:tc.agents], strings.Fields(tc.args)...))
		})
	}
}

// TestFollowEndsWithItsReader: an interrupt is no fault.
func TestFollowEndsWithItsReader(t *testing.T) {
	sockets := told(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err strings.Builder
	env := map[string]string{ctl.SocketsVariable: strings.Join(sockets, ",")}
	p := ctl.Program{Stdout: &out, Stderr: &err, Now: now, Getenv: func(name string) string { return env[name] }}
	if code := p.Run(ctx, []string{"events", "-w"}); code != ctl.ExitOK {
		t.Errorf("exit code %d: %s%s", code, out.String(), err.String())
	}
}
