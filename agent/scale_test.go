package agent

import (
	"fmt"
	"os"
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

// sizes are how many tunnels benchmarks have.
func sizes() []int {
	if os.Getenv("BORDERGW_BENCH_SIZE") == "small" {
		return []int{10, 100}
	}
	return []int{10, 100, 1000}
}

// withFleets runs a benchmark on hosts of several sizes, in real time.
func withFleets(b *testing.B, bench func(*testing.B, *world, fleet)) {
	for _, tunnels := range sizes() {
		b.Run(fmt.Sprintf("tunnels=%d", tunnels), func(b *testing.B) {
			w := newWorld(b, b.TempDir(), b.TempDir())
			defer w.charon.Close()
			defer func() { w.stop() }()
			f := newFleet(tunnels)
			w.startFleet(f)
			bench(b, w, f)
		})
	}
}

// BenchmarkIdleRound is a round in which nothing has changed, of every gateway of the host, and what is published after it.
func BenchmarkIdleRound(b *testing.B) {
	withFleets(b, func(b *testing.B, w *world, _ fleet) {
		w.kernel.TakeWrites()
		commands := w.charon.Commands()
		b.ReportAllocs()
		begin := cpuTime(b)
		for b.Loop() {
			w.round()
		}
		b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/round")
		b.ReportMetric(float64(len(w.kernel.TakeWrites()))/float64(b.N), "writes/round")
		b.ReportMetric(float64(len(w.changes(commands)))/float64(b.N), "commands/round")
	})
}

// BenchmarkRefresh reads all counters, as the agent does every ten seconds, without the rounds that follow.
func BenchmarkRefresh(b *testing.B) {
	withFleets(b, func(b *testing.B, w *world, _ fleet) {
		b.ReportAllocs()
		begin := cpuTime(b)
		for b.Loop() {
			if err := w.agent.drivers.Charon.Refresh(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/refresh")
	})
}

// quiet is how long SAs take to follow a change, their predecessors' end included.
const quiet = 3 * time.Second

// BenchmarkOneChange changes one manifest among many, from reading it to when nothing moves any more.
func BenchmarkOneChange(b *testing.B) {
	for _, change := range []struct {
		name string
		make func(f *fleet, i int)
	}{
		{"route", func(f *fleet, i int) { f.routes = []string{fmt.Sprintf("172.30.%d.0/24", i%200)} }},
		{"description", func(f *fleet, i int) { f.description = fmt.Sprint("the first, ", i) }},
		{"tunnel", func(f *fleet, i int) {
			f.specs[f.tunnel(0, 0, 1)] = fmt.Sprintf(", ike: {lifetime: %ds}", 14400+i%200*100)
		}},
		{"down", func(f *fleet, i int) {
			f.specs[f.tunnel(0, f.connections-1, 1)] = []string{", adminState: DOWN", ""}[i%2]
		}},
	} {
		b.Run(change.name, func(b *testing.B) {
			withFleets(b, func(b *testing.B, w *world, f fleet) {
				messages, commands, cpu := 0, 0, time.Duration(0)
				for i := 0; b.Loop(); i++ {
					w.kernel.TakeWrites()
					change.make(&f, i)
					text, before, begin := f.String(), w.charon.Commands(), cpuTime(b)
					generation := w.agent.View().Host.GetSource().GetGeneration()
					w.write(text)
					w.until("the change is in force", func() bool { return w.agent.View().Host.GetSource().GetGeneration() > generation })
					w.round()
					w.round()
					cpu += cpuTime(b) - begin
					time.Sleep(quiet)
					messages += len(w.kernel.TakeWrites())
					commands += len(w.changes(before))
				}
				b.ReportMetric(float64(messages)/float64(b.N), "netlink/change")
				b.ReportMetric(float64(commands)/float64(b.N), "vici/change")
				b.ReportMetric(cpu.Seconds()*1000/float64(b.N), "cpu-ms/change")
			})
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
