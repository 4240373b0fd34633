//go:build lab

package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyPFSMissing: esp.pfs REQUIRED against a device without. The first CHILD_SA comes with the IKE_SA and needs no group (RFC 7296
// §1.2), so the tunnel is UP; the rekeying is refused, and says why before the SA ends.
func TestVarietyPFSMissing(t *testing.T) {
	d := &device{name: "no-group", spec: "esp: {lifetime: 40s}", customer: func(c *lab.CustomerTunnel) { c.ESPProposals = "aes256gcm16" }}
	w := newVariety(t, d)
	w.up()
	up := time.Now()
	d.pings()
	lab.Eventually(t, startup, "the refusal in the counters, with the tunnel still UP", func() error {
		if st := d.status(); st.Running != "UP" || st.Counters.Failures["NO_PROPOSAL_CHOSEN"] == 0 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	t.Logf("the refusal is counted %v after the tunnel came up", time.Since(up).Round(time.Second))
	d.pings()
	// It is DOWN for a second only, but the log keeps it.
	lab.Eventually(t, startup, "no-group=DOWN:NO_PROPOSAL_CHOSEN", func() error {
		log := d.log()
		_, why, found := strings.Cut(log, "running: DOWN NO_PROPOSAL_CHOSEN: ")
		why, _, _ = strings.Cut(why, "\n")
		if !found || !strings.Contains(why, "ESP proposals") {
			return fmt.Errorf("%q in:\n%s", why, log)
		}
		return nil
	})
	down := time.Now()
	t.Logf("DOWN %v after it came up", down.Sub(up).Round(time.Second))
	// A new IKE_SA brings a CHILD_SA without a group again.
	w.Running(startup, "no-group=UP")
	t.Logf("UP again %v later", time.Since(down).Round(time.Second))
}
