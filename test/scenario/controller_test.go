//go:build lab

package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/test/lab"
)

// controlled is a World whose agents take everything from one controller.
type controlled struct {
	*World
	controller *lab.Controller
	api        apiv1connect.ResourceServiceClient
}

func newControlled(t *testing.T, o Options) *controlled {
	t.Helper()
	o.NoAgents = true
	c := &controlled{World: New(t, o)}
	// The host in the middle of the internet is reached by both gateways.
	c.controller = c.Internet.Controller(lab.ControllerOptions{Address: "198.51.100.254", Agents: []string{"gw-a", "gw-b"}})
	url, client := c.controller.API()
	c.api = apiv1connect.NewResourceServiceClient(client, url)
	c.AgentA = c.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA}, Charon: c.CharonA, Source: c.controller.AgentSource("gw-a"), Extra: "zone: a\n"})
	c.AgentB = c.GatewayB.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayB}, Charon: c.CharonB, Source: c.controller.AgentSource("gw-b"), Extra: "zone: b\n"})
	return c
}

// apply gives the manifests of the options to the controller.
func (c *controlled) apply(ctx context.Context) {
	c.T.Helper()
	req := &apiv1.ApplyRequest{}
	var positions manifest.Positions
	for name, content := range c.Manifests() {
		objects, findings, _ := manifest.Decode(name, []byte(content), &positions)
		if len(findings) > 0 {
			c.T.Fatalf("manifests: %v", findings)
		}
		for _, o := range objects {
			r := &apiv1.Resource{}
			switch m := o.Message.(type) {
			case *apiv1.BorderGateway:
				r.Resource = &apiv1.Resource_BorderGateway{BorderGateway: m}
			case *apiv1.CustomerGateway:
				r.Resource = &apiv1.Resource_CustomerGateway{CustomerGateway: m}
			case *apiv1.VPNConnection:
				r.Resource = &apiv1.Resource_VpnConnection{VpnConnection: m}
			case *apiv1.VPNTunnel:
				r.Resource = &apiv1.Resource_VpnTunnel{VpnTunnel: m}
			}
			req.Resources = append(req.Resources, r)
		}
	}
	if _, err := c.api.Apply(ctx, req); err != nil {
		c.T.Fatalf("apply: %v", err)
	}
}

// verdict waits for the controller's verdict on the connection.
func (c *controlled) verdict(ctx context.Context, availability string, reasons ...string) *apiv1.VPNConnectionStatus {
	c.T.Helper()
	var st *apiv1.VPNConnectionStatus
	lab.Eventually(c.T, startup, availability, func() error {
		resp, err := c.api.GetVPNConnection(ctx, &apiv1.GetVPNConnectionRequest{Name: Connection})
		if err != nil {
			return err
		}
		st = resp.GetVpnConnection().GetStatus()
		if st.GetAvailability() != availability || !slices.Equal(st.GetReasons(), reasons) {
			return fmt.Errorf("the verdict is %v", st)
		}
		return nil
	})
	return st
}

func (c *controlled) tunnel(ctx context.Context, name string) *apiv1.VPNTunnelStatus {
	c.T.Helper()
	resp, err := c.api.GetVPNTunnel(ctx, &apiv1.GetVPNTunnelRequest{Name: name})
	if err != nil {
		c.T.Fatalf("%v", err)
	}
	return resp.GetVpnTunnel().GetStatus()
}

// reboot takes away everything that a machine loses, but leaves its disk.
func (c *controlled) rebootA() {
	c.T.Helper()
	c.AgentA.Kill(unix.SIGKILL)
	c.CharonA.Kill()
	c.GatewayA.FlushXfrm()
	for line := range strings.Lines(c.must(c.GatewayA.Run("ip", "-o", "link", "show"))) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line[strings.Index(line, ":")+1:]), ":"); ok {
			if name, _, _ = strings.Cut(name, "@"); strings.HasPrefix(name, "bgw") {
				c.must(c.GatewayA.Run("ip", "link", "del", name))
			}
		}
	}
	c.must(c.GatewayA.Run("ip", "nexthop", "flush", "proto", "201"))
	c.must(c.GatewayA.Run("nft", "flush", "ruleset"))
}

// TestController: one controller with an embedded etcd, two gateway hosts, a customer with two routers; nothing on the hosts but where the
// controller is.
func TestController(t *testing.T) {
	ctx := t.Context()
	w := newControlled(t, Options{Routing: "STATIC"})
	start := time.Now()
	w.apply(ctx)
	w.verdict(ctx, apiv1.HighlyAvailable)
	t.Logf("HIGHLY_AVAILABLE %v after apply", time.Since(start))
	w.FabricUp()
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()

	// The VPC's sessions end with the agent; static routes at its router keep the packets coming, as a VPC without BGP has them.
	w.VPCVia(lab.VPCGatewayA, lab.VPCGatewayB)
	spis := w.SPIs()
	ping := w.PingVPC(100 * time.Millisecond)
	start = time.Now()
	w.AgentA.Stop()
	st := w.verdict(ctx, apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp, apiv1.AvailabilityHostSilent)
	t.Logf("the silence of a host is known %v after its agent was stopped: %v", time.Since(start), st.GetMessages())
	if got := w.tunnel(ctx, Tunnel1); got.GetRunning() != apiv1.RunningDown || got.GetReason() != apiv1.ReasonHostSilent || got.GetHost() != "gw-a" || got.GetSince() == nil {
		t.Errorf("the silent host's tunnel is %v", got)
	}
	if got := w.tunnel(ctx, Tunnel2); got.GetRunning() != apiv1.RunningUp {
		t.Errorf("the other host's tunnel is %v", got)
	}
	w.AgentA.Start()
	w.verdict(ctx, apiv1.HighlyAvailable)
	if s := ping.Stop(); s.Lost > 0 {
		t.Errorf("while the agent was away: %v", s)
	}

	// The controller is killed, its folder stays.
	ping = w.PingVPC(100 * time.Millisecond)
	w.controller.Process().Kill(unix.SIGKILL)
	lab.Eventually(t, startup, "the agents say so", func() error {
		for _, a := range w.Agents() {
			if out, err := a.Ctl("get", "host", "-o", "json"); err != nil || !strings.Contains(out, `"disconnected"`) {
				return fmt.Errorf("%v: %s", err, out)
			}
		}
		return nil
	})
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	start = time.Now()
	w.controller.Start()
	w.verdict(ctx, apiv1.HighlyAvailable)
	t.Logf("the verdict is there %v after the controller's restart", time.Since(start))
	list, err := w.api.ListVPNTunnels(ctx, &apiv1.ListVPNTunnelsRequest{})
	if err != nil || len(list.GetItems()) != 2 {
		t.Errorf("%d tunnels after the restart: %v", len(list.GetItems()), err)
	}
	if s := ping.Stop(); s.Lost > 0 {
		t.Errorf("while the controller was away: %v", s)
	}
	if now := w.SPIs(); now != spis {
		t.Errorf("SAs before %s, after %s", spis, now)
	}

	// A host reboots while there is no controller.
	w.controller.Process().Kill(unix.SIGKILL)
	w.rebootA()
	start = time.Now()
	w.CharonA.Restart()
	w.AgentA.Start()
	w.Running(startup, Tunnel1+"=UP")
	t.Logf("a host that rebooted without a controller has its tunnel UP after %v", time.Since(start))
	if out, err := w.AgentA.Ctl("get", "host", "-o", "json"); err != nil || !strings.Contains(out, `"fromDisk"`) {
		t.Errorf("%v: %s", err, out)
	}
	w.TrafficBothWays()
	w.controller.Start()
	w.verdict(ctx, apiv1.HighlyAvailable)

	noTrace(t, w.World)
	holdsNoKey(t, "the controller's log", w.controller.Process().LogTail(1<<20))
	holdsNoKey(t, "etcd", folderText(t, w.controller.DataDir()))
}

// folderText is everything that is in the files of a folder.
func folderText(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		b.Write(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
