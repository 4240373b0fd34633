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
	// Tenants and addresses of each customer.
	sizes := [][2]int{{1, 1}, {5, 2}}
	if !small() {
		sizes = [][2]int{{25, 4}}
	}
	for _, size := range sizes {
		tunnelsUp(t, size[0], size[1])
	}
}

func tunnelsUp(t *testing.T, tenants, addresses int) {
	t.Helper()
	var ours, theirs, share, heavier []float64
	tunnels := 0
	for turn := range turns(t) {
		c := newCrowd(t, fmt.Sprintf("agent-%d-%d", tenants, turn), tenants, addresses)
		tunnels = c.tunnels()
		manifests := c.manifests()
		start := time.Now()
		agent := c.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB}, Charon: c.gateway, Manifests: manifests, LogLevel: "info",
			Extra: quotas})
		c.installed()
		ours = append(ours, time.Since(start).Seconds())
		used, err := cpuTime(agent.Process())
		must(t, err)
		busy, err := cpuTime(c.gateway.Process())
		must(t, err)
		c.Lab.Close()

		c = newCrowd(t, fmt.Sprintf("swanctl-%d-%d", tenants, turn), tenants, addresses)
		text := c.swanctl()
		start = time.Now()
		c.gateway.LoadConns(text)
		c.installed()
		theirs = append(theirs, time.Since(start).Seconds())
		alone, err := cpuTime(c.gateway.Process())
		must(t, err)
		c.Lab.Close()
		t.Logf("CPU: agent %v, charon %v; charon without an agent %v", used, busy, alone)
		share = append(share, 100*used.Seconds()/busy.Seconds())
		heavier = append(heavier, 100*busy.Seconds()/alone.Seconds())
	}
	put(t, "tunnels-up",
		record.Series{Quantity: "all CHILD_SAs installed", Unit: "s", Peer: "swanctl", Size: tunnels, Things: "tunnels", A: ours, B: theirs, Goal: record.AtMost(1.05).OfRatio()},
		record.Series{Quantity: "the agent's CPU beside charon's", Unit: "%", Size: tunnels, Things: "tunnels", A: share, Goal: record.AtMost(5)},
		record.Series{Quantity: "charon's CPU beside that without an agent", Unit: "%", Size: tunnels, Things: "tunnels", A: heavier})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
