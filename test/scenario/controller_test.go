//go:build lab

package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/test/lab"
)

// untold returns a function that waits for the next verdict on the connection that has all of these words (the availability and reasons),
// and returns when a client of the controller was told of it. Verdicts count from the moment of the call of untold.
func (c *Controlled) untold(t *testing.T, words ...string) func() time.Time {
	t.Helper()
	url, client := c.Controller.API()
	fleet := apiv1connect.NewFleetServiceClient(client, url)
	object := apiv1.ObjectName(apiv1.KindVPNConnection, Connection)
	now, err := fleet.ListTransitions(t.Context(), &apiv1.ListTransitionsRequest{Connection: Connection})
	if err != nil {
		t.Fatalf("transitions: %v", err)
	}
	told, failed := make(chan time.Time, 1), make(chan error, 1)
	go func() {
		// Returns with the first event.
		stream, err := fleet.WatchEvents(t.Context(), &apiv1.WatchEventsRequest{Object: object, ResourceVersion: now.GetResourceVersion()})
		if err != nil {
			failed <- err
			return
		}
		defer func() { _ = stream.Close() }() // what it was for has been told
		for stream.Receive() {
			e := stream.Msg().GetEvent()
			if has := append(e.GetReasons(), e.GetState()); !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(has, w) }) {
				told <- time.Now()
				return
			}
		}
		failed <- fmt.Errorf("the events end: %w", stream.Err())
	}()
	return func() time.Time {
		t.Helper()
		select {
		case at := <-told:
			return at
		case err := <-failed:
			t.Fatalf("a verdict with %v: %v", words, err)
		case <-time.After(startup):
			t.Fatalf("no verdict with %v within %v", words, startup)
		}
		return time.Time{}
	}
}

// since is when the tunnel became what it is, by its host's clock, which is the only one in the lab.
func since(t *testing.T, st TunnelStatus) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, st.Since)
	if err != nil {
		t.Fatalf("the tunnel has no time: %+v", st)
	}
	return at
}

// everything is all that the controller tells of its resources and hosts, but for counters, which move.
func (c *Controlled) everything() map[string]any {
	c.T.Helper()
	all := map[string]any{}
	for _, kind := range []string{"gateways", "customers", "connections", "tunnels", "hosts"} {
		var out struct{ Items []map[string]any }
		if err := c.Controller.CtlJSON(&out, "get", kind); err != nil {
			c.T.Fatalf("%v", err)
		}
		for _, item := range out.Items {
			if status, ok := item["status"].(map[string]any); ok {
				delete(status, "counters")
			}
		}
		all[kind] = out.Items
	}
	return all
}

// reboot takes away everything that a machine loses, but leaves its disk.
func (c *Controlled) rebootA() {
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
	for _, family := range []string{"-4", "-6"} {
		c.must(c.GatewayA.Run("ip", family, "rule", "add", "pref", "0", "lookup", "local"))
		c.must(c.GatewayA.Run("ip", family, "rule", "del", "pref", "1"))
		c.must(c.GatewayA.Run("ip", family, "rule", "del", "pref", "2"))
	}
}

// TestController: one controller with an embedded etcd, two gateway hosts, a customer with two routers; nothing on the hosts but where the
// controller is, everything by bordergwctl apply.
func TestController(t *testing.T) {
	w := NewControlled(t, Options{Routing: "STATIC"})
	told := w.untold(t, apiv1.HighlyAvailable)
	start := time.Now()
	w.Apply(w.Manifests())
	available := told()
	up := since(t, w.Reported(Tunnel1))
	if second := since(t, w.Reported(Tunnel2)); second.After(up) {
		up = second
	}
	measuredTime("bordergwctl apply until both tunnels are UP", up.Sub(start))
	verdictIn(t, "second tunnel UP until HIGHLY_AVAILABLE is told", available.Sub(up))
	w.Verdict(apiv1.HighlyAvailable)
	w.FabricUp()
	w.TrafficBothWays()
	w.FlowsUseBothTunnels()

	t.Run("a tunnel goes", func(t *testing.T) { w.tunnelGoes(t) })
	// The VPC's sessions end with the agent; static routes at its router keep the packets coming, as a VPC without BGP has them.
	w.VPCVia(lab.VPCGatewayA, lab.VPCGatewayB)
	t.Run("an agent is stopped", func(t *testing.T) { w.agentStops(t) })
	t.Run("the controller is killed", func(t *testing.T) { w.controllerDies(t) })
	t.Run("a host reboots without a controller", func(t *testing.T) { w.hostReboots(t) })

	noTrace(t, w.World)
	holdsNoKey(t, "the controller's log", w.Controller.Process().LogTail(1<<20))
	holdsNoKey(t, "etcd", folderText(t, w.Controller.DataDir()))
	holdsNoKey(t, "bordergwctl", fmt.Sprint(w.everything()))
}

// verdictIn prints how long a verdict took after what it follows from, which is promised to be a second at most; a busy emulated machine
// has more of them.
func verdictIn(t *testing.T, figure string, d time.Duration) {
	t.Helper()
	measuredTime(figure, d)
	if d > 4*time.Second {
		t.Errorf("%s: %v", figure, d)
	}
}

func (c *Controlled) tunnelGoes(t *testing.T) {
	told := c.untold(t, apiv1.NotHighlyAvailable)
	if out, err := c.Controller.Ctl("disable", "tunnel", Tunnel1); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	available := told()
	verdictIn(t, "tunnel DOWN until NOT_HIGHLY_AVAILABLE is told", available.Sub(since(t, c.Reported(Tunnel1))))
	c.Verdict(apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp)
	if out, err := c.Controller.Ctl("enable", "tunnel", Tunnel1); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.Verdict(apiv1.HighlyAvailable)
	c.FabricUp()
}

func (c *Controlled) agentStops(t *testing.T) {
	spis := c.SPIs()
	ping := c.PingVPC(100 * time.Millisecond)
	told := c.untold(t, apiv1.NotHighlyAvailable, apiv1.AvailabilityHostSilent)
	start := time.Now()
	c.AgentA.Stop()
	measuredTime("agent stopped until HOST_SILENT is told", told().Sub(start))
	c.Verdict(apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp, apiv1.AvailabilityHostSilent)
	if got := c.Reported(Tunnel1); got.Running != apiv1.RunningDown || got.Reason != apiv1.ReasonHostSilent || got.Host != "gw-a" || since(t, got).Before(start) {
		t.Errorf("the silent host's tunnel is %+v", got)
	}
	if got := c.Reported(Tunnel2); got.Running != apiv1.RunningUp {
		t.Errorf("the other host's tunnel is %+v", got)
	}
	// The customer answers over the tunnel by which it was asked or the other one, so packets through A are seen at A's peer only.
	before, _ := c.tunnelPackets()
	lab.Eventually(t, startup, "traffic on the silent host's tunnel", func() error {
		if now, _ := c.tunnelPackets(); now < before+10 {
			return fmt.Errorf("%d packets", now-before)
		}
		return nil
	})
	c.AgentA.Start()
	c.Verdict(apiv1.HighlyAvailable)
	if s := ping.Stop(); s.Lost > 0 {
		t.Errorf("while the agent was away: %v", s)
	}
	if now := c.SPIs(); now != spis {
		t.Errorf("SAs before %s, after %s", spis, now)
	}
}

// controllerDies: it is killed, its folder stays.
func (c *Controlled) controllerDies(t *testing.T) {
	before, spis := c.everything(), c.SPIs()
	ping := c.PingVPC(100 * time.Millisecond)
	c.Controller.Process().Kill(unix.SIGKILL)
	lab.Eventually(t, startup, "the agents say so", func() error {
		for _, a := range c.Agents() {
			if out, err := a.Ctl("get", "host", "-o", "json"); err != nil || !strings.Contains(out, `"disconnected"`) {
				return fmt.Errorf("%v: %s", err, out)
			}
		}
		return nil
	})
	c.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	start := time.Now()
	c.Controller.Start()
	lab.Eventually(t, startup, "the state from before", func() error {
		if diff := cmp.Diff(before, c.everything()); diff != "" {
			return fmt.Errorf("before (-) and after (+):\n%s", diff)
		}
		return nil
	})
	t.Logf("the state is complete %v after the controller's restart", time.Since(start))
	if s := ping.Stop(); s.Lost > 0 {
		t.Errorf("while the controller was away: %v", s)
	}
	if now := c.SPIs(); now != spis {
		t.Errorf("SAs before %s, after %s", spis, now)
	}
}

func (c *Controlled) hostReboots(t *testing.T) {
	c.Controller.Process().Kill(unix.SIGKILL)
	c.rebootA()
	start := time.Now()
	c.CharonA.Restart()
	c.AgentA.Start()
	c.Running(startup, Tunnel1+"=UP")
	measuredTime("start of a host without a controller until its tunnel is UP", time.Since(start))
	if out, err := c.AgentA.Ctl("get", "host", "-o", "json"); err != nil || !strings.Contains(out, `"fromDisk"`) {
		t.Errorf("%v: %s", err, out)
	}
	c.TrafficBothWays()
	c.Controller.Start()
	c.Verdict(apiv1.HighlyAvailable)
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
