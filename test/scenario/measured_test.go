//go:build lab

package scenario

import (
	"fmt"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// measured prints one figure of the suite on a line of its own, for people and for programs that compare runs: what an event cost the
// echoes that were sent while it happened. A name is printed by one test only.
func measured(name string, s lab.PingStats) {
	fmt.Printf("MEASURED %s: lost %d of %d, longest gap %v\n", name, s.Lost, s.Sent, s.LongestGap.Round(time.Millisecond))
}
