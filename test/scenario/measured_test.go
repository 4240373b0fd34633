//go:build lab

package scenario

import (
	"fmt"
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
