package ctl_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/agent/local"
	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/ctl"
)

// control is one host's local changes: it remembers states, and refuses to take its tunnels down when the caller knows of no other.
type control struct {
	t       *testing.T
	tunnels map[string]*apiv1.LocalChange
	// ends is the last stage of drains.
	ends string
}

var _ server.Control = (*control)(nil)

func (c *control) known(tunnel string) error {
	if _, ok := c.tunnels[tunnel]; tunnel != "" && !ok {
		return &local.Error{Kind: local.Unknown, Message: "tunnel " + tunnel + " is not on this host"}
	}
	return nil
}

func (c *control) mayGo(force bool, elsewhere []string) error {
	if force || slices.Contains(elsewhere, "shop-idc") {
		return nil
	}
	return &local.Error{Kind: local.Refused, Message: "connection shop-idc has no other tunnel that is known to be up; force is needed"}
}

func (c *control) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	if by == "" || by == "unknown" {
		c.t.Errorf("asked by %q", by)
	}
	if err := c.known(req.GetTunnel()); err != nil {
		return nil, err
	}
	out := &apiv1.ChangeResponse{}
	for _, name := range apiv1.Names(c.tunnels) {
		if req.GetTunnel() != "" && req.GetTunnel() != name {
			continue
		}
		switch req.GetAction() {
		case apiv1.ActionDisable:
			if err := c.mayGo(req.GetForce(), req.GetConnectionsUpElsewhere()); err != nil {
				return nil, err
			}
			c.tunnels[name] = &apiv1.LocalChange{State: apiv1.LocalDisabled, Since: ago(0), By: "root"}
		case apiv1.ActionAbort:
			if c.tunnels[name] == nil {
				return nil, &local.Error{Kind: local.Refused, Message: "tunnel " + name + " is not being drained"}
			}
			c.tunnels[name] = nil
		case apiv1.ActionEnable:
			if c.tunnels[name] == nil {
				out.Notes = append(out.Notes, "tunnel "+name+" has no local change")
			}
			c.tunnels[name] = nil
		default:
			return nil, &local.Error{Kind: local.Invalid, Message: "action: unknown"}
		}
		out.Tunnels = append(out.Tunnels, &apiv1.ChangedTunnel{Name: name, Local: c.tunnels[name]})
	}
	return out, nil
}

func (c *control) Drain(_ context.Context, _ string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	if err := c.known(req.GetTunnel()); err != nil {
		return err
	}
	if err := c.mayGo(req.GetForce(), req.GetConnectionsUpElsewhere()); err != nil {
		return err
	}
	if req.GetTimeout().AsDuration() < time.Second {
		return &local.Error{Kind: local.Invalid, Message: "timeout: too short"}
	}
	for i, stage := range []string{apiv1.DrainAnnouncedWorse, apiv1.DrainWithdrawn, c.ends} {
		err := send(&apiv1.DrainProgress{Time: ago(time.Duration(-i) * time.Second), Tunnel: apiv1.Names(c.tunnels)[0], Stage: stage, Message: "so it is\x1b[2J"})
		if err != nil {
			return err
		}
	}
	return nil
}

// controlled starts agents that can be told to change something: gw-a with shop-idc-1 and gw-b with shop-idc-2.
func controlled(t *testing.T, b *apiv1.VPNTunnelStatus, ends string) []string {
	t.Helper()
	var sockets []string
	for i, v := range []*status.View{viewA(), viewB(b)} {
		v.Host.Ready = true
		sockets = append(sockets, filepath.Join(t.TempDir(), "agent.sock"))
		c := &control{t: t, tunnels: map[string]*apiv1.LocalChange{v.Tunnels[0].GetName(): nil}, ends: ends}
		serve(t, sockets[i], server.Config{View: func() *status.View { return v }, Control: c})
	}
	return sockets
}

func TestChangeGolden(t *testing.T) {
	up, bad := func() *apiv1.VPNTunnelStatus { return statusUp("gw-b") }, func() *apiv1.VPNTunnelStatus { return statusDown("gw-b") }
	changed := func() *apiv1.VPNTunnelStatus {
		st := statusUp("gw-b")
		st.Local = &apiv1.LocalChange{State: apiv1.LocalDraining, Stage: apiv1.DrainTimedOut, Since: ago(time.Hour), By: "root",
			Deadline: ago(time.Minute), Message: "still forwarded in the last second: 12 packets in, 0 out"}
		return st
	}
	const drained = apiv1.DrainDown
	for _, tc := range []struct {
		name   string
		b      func() *apiv1.VPNTunnelStatus
		ends   string
		agents int
		args   string
	}{
		{"disable", up, drained, 2, "disable tunnel shop-idc-1"},
		{"disable-json", up, drained, 2, "disable tunnel shop-idc-1 -o json"},
		{"disable-last", bad, drained, 2, "disable tunnel shop-idc-1"},
		{"disable-other-not-asked", up, drained, 1, "disable tunnel shop-idc-1"},
		{"disable-forced", up, drained, 1, "disable tunnel shop-idc-1 --force"},
		{"disable-unknown", up, drained, 2, "disable tunnel nobody"},
		{"enable", up, drained, 2, "enable tunnel shop-idc-2"},
		{"enable-host", up, drained, 2, "enable host gw-b"},
		{"enable-which-host", up, drained, 2, "enable host"},
		{"enable-no-such-host", up, drained, 2, "enable host gw-c"},
		{"drain", up, drained, 2, "drain tunnel shop-idc-2 --timeout 30s"},
		{"drain-json", up, drained, 2, "drain tunnel shop-idc-2 -o json"},
		{"drain-yaml", up, drained, 2, "drain host gw-a -o yaml"},
		{"drain-timed-out", up, apiv1.DrainTimedOut, 2, "drain tunnel shop-idc-2"},
		{"drain-last", changed, drained, 2, "drain host gw-a"},
		{"drain-abort", up, drained, 2, "drain tunnel shop-idc-1 --abort"},
		{"local-tunnels", changed, drained, 2, "get tunnels"},
		{"local-tunnel", changed, drained, 2, "describe tunnel shop-idc-2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sockets := controlled(t, tc.b(), tc.ends)[:tc.agents]
			golden(t, tc.name, tc.args, run(t, sockets, strings.Fields(tc.args)...))
		})
	}
}

// TestChangeWithASilentAgent is carried out when its owner answers, and says who did not.
func TestChangeWithASilentAgent(t *testing.T) {
	sockets := controlled(t, statusUp("gw-b"), apiv1.DrainDown)
	sockets = append(sockets, filepath.Join(t.TempDir(), "dead.sock"))
	r := run(t, sockets, "disable", "tunnel", "shop-idc-1")
	if r.code != ctl.ExitOK || !strings.Contains(r.stdout, "DISABLED") || !strings.Contains(r.stderr, "C: no answer") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r = run(t, sockets[2:], "disable", "tunnel", "shop-idc-1"); r.code != ctl.ExitError || !strings.Contains(r.stderr, "no agent answered") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	// Two that both believe to own it: neither is told.
	twice := append(slices.Clone(sockets[:1]), controlled(t, statusUp("gw-b"), apiv1.DrainDown)[0])
	if r = run(t, twice, "disable", "tunnel", "shop-idc-1"); r.code != ctl.ExitError || !strings.Contains(r.stderr, "2 of the agents own it") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// TestUnusableLocalFileShows: what tunnels were taken down is then not known.
func TestUnusableLocalFileShows(t *testing.T) {
	v := viewA()
	v.Host = proto.CloneOf(v.Host)
	v.Host.Conditions = []*apiv1.Condition{{Type: apiv1.ConditionLocalState, Object: "Host/gw-a", Message: "local.json: cannot be parsed"}}
	r := run(t, agents(t, v), "get", "host")
	if !strings.Contains(r.stdout, "LOCAL_STATE_UNUSABLE on gw-a: local.json: cannot be parsed") {
		t.Errorf("%s", r.stdout)
	}
}
