//go:build lab

package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// TestAgentKilled: scenario 6. SIGKILL and a new start under traffic: no packet lost on static routes, the same SAs, nothing foreign
// touched, nothing left over.
//
//lab:alone
func TestAgentKilled(t *testing.T) {
	w := New(t, Options{Routing: "STATIC", SingleGateway: true})
	w.BothUp()
	w.TrafficBothWays()
	// Things beside ours that look a bit like ours: a link, a route in the gateway's own table, a route with our protocol elsewhere.
	vrf := w.vrf(w.AgentA)
	table := strings.TrimPrefix(vrf, "bgwv")
	for _, cmd := range []string{
		"ip link add bgwforeign type dummy", "ip link set bgwforeign up", "ip route add 192.0.2.0/24 dev bgwforeign",
		"ip route add 198.18.0.0/24 dev bgwforeign proto 201 table 77",
		"ip route add unreachable 198.18.1.0/24 table " + table + " metric 99",
		"nft add table inet foreign", "ip nexthop add id 4711 dev bgwforeign",
	} {
		w.must(w.GatewayA.Run(strings.Fields(cmd)...))
	}
	before, spis := w.kernelState(), w.SPIs()
	// The VPC's sessions end with the agent; static routes at its router keep the packets coming, as a VPC without BGP has them.
	w.VPCVia(lab.VPCGatewayA)

	ping := w.PingVPC(50 * time.Millisecond)
	back := w.CustomerHost.Ping(lab.PingOptions{Src: lab.CustomerHost, Dst: lab.VPCHost, Interval: 10 * time.Millisecond})
	start := time.Now()
	w.AgentA.Kill(unix.SIGKILL)
	w.AgentA.Start()
	w.Running(startup, Tunnel1+"=UP", Tunnel2+"=UP")
	w.metric(w.AgentA, "bordergw_ready 1")
	took := time.Since(start)
	forth, backStats := ping.Stop(), back.Stop()
	t.Logf("killed, started and ready again after %v; ping %v; the other way %v", took, forth, backStats)
	if forth.Lost > 0 || backStats.Lost > 0 {
		t.Errorf("lost packets: %v; the other way %v", forth, backStats)
	}
	if now := w.SPIs(); now != spis {
		t.Errorf("SAs before %s, after %s", spis, now)
	}
	lab.Eventually(t, startup, "the kernel's state as before", func() error {
		if now := w.kernelState(); now != before {
			return fmt.Errorf("before:\n%s\nafter:\n%s", before, now)
		}
		return nil
	})

	// Nothing of a tunnel and of a gateway that are no longer wanted is left by an agent that has never heard of them.
	w.AgentA.Kill(unix.SIGKILL)
	w.AgentA.WriteManifests(map[string]string{})
	w.AgentA.Start()
	w.metric(w.AgentA, "bordergw_ready 1")
	lab.Eventually(t, startup, "nothing left over", func() error {
		left := w.kernelState()
		for _, ours := range []string{"bgwv", "bgwx", "proto 201 metric 512", "table inet bordergw"} {
			if strings.Contains(left, ours) {
				return fmt.Errorf("%q is left in:\n%s", ours, left)
			}
		}
		for _, foreign := range []string{"bgwforeign", "192.0.2.0/24", "198.18.0.0/24", "table inet foreign", "id 4711"} {
			if !strings.Contains(left, foreign) {
				return fmt.Errorf("%q is gone from:\n%s", foreign, left)
			}
		}
		spis, err := w.CharonA.SPIs()
		if err == nil && len(spis) > 0 {
			err = fmt.Errorf("SAs are left: %q", spis)
		}
		return err
	})
}

// TestCharonKilled: scenario 7. Every tunnel returns without help.
//
//lab:alone
func TestCharonKilled(t *testing.T) {
	w := New(t, Options{Routing: "BGP"})
	w.BothUp()
	w.TrafficBothWays()
	old := w.SPIs()
	ping := w.PingVPC(100 * time.Millisecond)
	w.CharonA.Kill()
	w.metric(w.AgentA, "bordergw_charon_connected 0")
	start := time.Now()
	w.CharonA.Restart()
	lab.Eventually(t, startup, "a new SA", func() error {
		if w.CharonA.Installed("bgw-"+Tunnel1) != nil || w.SPIs() == old {
			return fmt.Errorf("SAs are %s", w.SPIs())
		}
		return nil
	})
	w.BothUp()
	t.Logf("charon killed: both tunnels UP and BGP established %v after its new start; ping %v", time.Since(start), ping.Stop())
	w.TrafficBothWays()
	w.Availability(startup, "HIGHLY_AVAILABLE")
}

func (w *World) must(out string, err error) string {
	w.T.Helper()
	if err != nil {
		w.T.Fatalf("%v: %s", err, out)
	}
	return out
}

// kernelState is what gw-a has of links, addresses, routes, nexthops and tables, without counters and times.
func (w *World) kernelState() string {
	w.T.Helper()
	var b strings.Builder
	for _, cmd := range []string{
		"ip -o link show", "ip -o addr show", "ip -4 route show table all", "ip -6 route show table all proto 201", "ip nexthop show", "nft list tables",
		"ip rule show",
	} {
		lines := strings.Split(w.must(w.GatewayA.Run(strings.Fields(cmd)...)), "\n")
		slices.Sort(lines)
		fmt.Fprintf(&b, "# %s\n%s\n", cmd, strings.TrimSpace(strings.Join(lines, "\n")))
	}
	return b.String()
}

func (w *World) vrf(a *lab.Agent) string {
	w.T.Helper()
	var out struct {
		Items []struct {
			Status struct {
				VRF string `json:"vrf"`
			}
		}
	}
	if err := a.CtlJSON(&out, "get", "gateways"); err != nil || len(out.Items) != 1 {
		w.T.Fatalf("gateways: %v, %+v", err, out)
	}
	return out.Items[0].Status.VRF
}

// metric waits until the agent's metrics page has a line.
func (w *World) metric(a *lab.Agent, line string) {
	w.T.Helper()
	lab.Eventually(w.T, startup, line, func() error {
		page, err := a.Metrics()
		if err == nil && !strings.Contains(page, "\n"+line+"\n") {
			err = fmt.Errorf("the metrics do not have it")
		}
		return err
	})
}
