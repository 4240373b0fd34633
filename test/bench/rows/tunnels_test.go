//go:build bench

package rows

import (
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/bench/record"
	"github.com/bordergw/bordergw/test/lab"
)

// TestTunnelsUp measures how long many tunnels take from nothing, and what the agent does for it.
func TestTunnelsUp(t *testing.T) {
	tenants, addresses := 5, 2
	if !small() {
		tenants, addresses = 25, 4
	}
	var ours, theirs, share []float64
	tunnels := 0
	for turn := range turns(t) {
		c := newCrowd(t, fmt.Sprintf("agent-%d", turn), tenants, addresses)
		tunnels = c.tunnels()
		manifests := c.manifests()
		start := time.Now()
		agent := c.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB}, Charon: c.gateway, Manifests: manifests, LogLevel: "info",
			Extra: quotas})
		c.installed()
		ours = append(ours, time.Since(start).Seconds())
		used, err := cpuTime(agent.Process())
		must(t, err)
		by, err := cpuTime(c.gateway.Process())
		must(t, err)
		t.Logf("CPU: agent %v, charon %v", used, by)
		share = append(share, 100*used.Seconds()/by.Seconds())
		c.Lab.Close()

		c = newCrowd(t, fmt.Sprintf("swanctl-%d", turn), tenants, addresses)
		text := c.swanctl()
		start = time.Now()
		c.gateway.LoadConns(text)
		c.installed()
		by, err = cpuTime(c.gateway.Process())
		must(t, err)
		t.Logf("CPU: charon without an agent %v", by)
		theirs = append(theirs, time.Since(start).Seconds())
		c.Lab.Close()
	}
	put(t, "tunnels-up",
		record.Series{Quantity: "all CHILD_SAs installed", Unit: "s", Peer: "swanctl", Size: tunnels, Things: "tunnels", A: ours, B: theirs, Goal: record.AtMost(1.05).OfRatio()},
		record.Series{Quantity: "the agent's CPU beside charon's", Unit: "%", Size: tunnels, Things: "tunnels", A: share, Goal: record.AtMost(5)})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
