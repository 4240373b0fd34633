package agent

import (
	"slices"
	"time"
)

// stuckAfter is how long a round may take before its loop counts as stuck: longer than any driver waits for a daemon or the kernel.
const stuckAfter = 2 * time.Minute

// Stuck returns the gateways, sorted, whose round does not come to an end.
func (a *Agent) Stuck() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for name, w := range a.workers {
		if since := w.stuckSince(); !since.IsZero() && time.Since(since) > stuckAfter {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// SourceChanged is to be called when the source's status changed, so that readers see it.
func (a *Agent) SourceChanged() { a.publisher.poke() }
