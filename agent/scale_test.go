package agent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/agent/status"
)

// TestWorkIsProportionalToTheChange counts what one change among many tunnels makes the agent tell the kernel and charon. Routes that a
// customer announces over the tunnel come on top: each changes its paths.
func TestWorkIsProportionalToTheChange(t *testing.T) {
	const tunnels, maxNetlink, maxVICI = 100, 10, 5
	inWorld(t, func(t *testing.T, w *world) {
		f := newFleet(tunnels)
		w.startFleet(f)
		w.pass(time.Minute)
		for _, change := range []struct {
			name string
			make func()
		}{
			{"nothing", func() {}},
			{"a static route", func() { f.routes = []string{"172.30.0.0/16"} }},
			{"a description", func() { f.description = "the first" }},
			{"a tunnel's lifetime", func() { f.specs[f.tunnel(0, 3, 1)] = ", ike: {lifetime: 14400s}" }},
			{"a tunnel that is taken down", func() { f.specs[f.tunnel(0, 9, 1)] = ", adminState: DOWN" }},
			{"a tunnel that is put up", func() { delete(f.specs, f.tunnel(0, 9, 1)) }},
		} {
			w.rest()
			before := w.charon.Commands()
			change.make()
			w.write(f.String())
			// Not until the next refresh: what it lists has nothing to do with the change.
			w.pass(5 * time.Second)
			messages, commands := w.kernel.TakeWrites(), w.changes(before)
			t.Logf("%s: %d netlink messages, %d VICI commands, %d changes of the firewall", change.name, len(messages), len(commands), w.firewall.take())
			if len(messages) > maxNetlink {
				t.Errorf("%s: %d netlink messages: %q", change.name, len(messages), messages[:min(len(messages), 20)])
			}
			if len(commands) > maxVICI {
				t.Errorf("%s: %d VICI commands: %q", change.name, len(commands), commands[:min(len(commands), 20)])
			}
		}
	})
}

// BenchmarkIdleRound is a round in which nothing has changed, of every gateway of the host, and what is published after it.
func BenchmarkIdleRound(b *testing.B) {
	for _, tunnels := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("tunnels=%d", tunnels), func(b *testing.B) {
			w := newWorld(b, b.TempDir(), b.TempDir())
			defer w.charon.Close()
			defer func() { w.stop() }()
			f := newFleet(tunnels)
			w.startFleet(f)
			names := make([]string, f.gateways)
			for g := range names {
				names[g] = f.gateway(g)
			}
			w.kernel.TakeWrites()
			b.ReportAllocs()
			begin := cpuTime(b)
			for b.Loop() {
				w.round()
			}
			b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/round")
			if writes := w.kernel.TakeWrites(); len(writes) > 0 {
				b.Errorf("rounds in which nothing had changed wrote %d times: %q", len(writes), slices.Compact(writes)[:1])
			}
		})
	}
}

// round has every gateway make a round, and returns when all of them are published.
func (w *world) round() {
	before := map[string]uint64{}
	for _, s := range w.agent.View().Reconcile {
		before[s.Gateway] = s.Rounds
	}
	w.agent.pokeAll()
	for {
		v, newer := w.agent.Published()
		if !slices.ContainsFunc(v.Reconcile, func(s status.ReconcileStats) bool { return s.Rounds == before[s.Gateway] }) {
			return
		}
		<-newer
	}
}

// cpuTime is what the process has used so far, its garbage collector included: unlike the clock it does not count other processes.
func cpuTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
