//go:build lab

package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// Figures of the suite are printed on lines of their own, for people and for programs that compare runs. A name is printed by one test only.

// measured prints what an event cost the echoes that were sent while it happened.
func measured(name string, s lab.PingStats) {
	fmt.Printf("MEASURED %s: lost %d of %d, longest gap %v\n", name, s.Lost, s.Sent, s.LongestGap.Round(time.Millisecond))
}

// measuredTime prints how long something took.
func measuredTime(name string, d time.Duration) {
	fmt.Printf("MEASURED %s: %v\n", name, d.Round(time.Millisecond))
}

// measuredMemory prints what a process has in RAM, which it returns in bytes.
func measuredMemory(t *testing.T, name string, p *lab.Process) uint64 {
	t.Helper()
	resident, peak, err := p.Memory()
	if err != nil {
		t.Fatalf("%v", err)
	}
	fmt.Printf("MEASURED %s: %d MiB resident, %d MiB at most\n", name, resident>>20, peak>>20)
	return resident
}
