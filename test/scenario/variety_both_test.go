//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// ikeSAs counts the device's IKE_SAs in a state.
func (d *device) ikeSAs(state string) (n int) {
	d.w.t.Helper()
	sas, err := d.charon.SAs()
	if err != nil {
		d.w.t.Fatal(err)
	}
	for _, sa := range sas {
		if sa.State == state {
			n++
		}
	}
	return n
}

// TestVarietyBothBegin: cloud and device begin at the same moment. The tunnel comes up and stays up, and of the two IKE_SAs one is left;
// a device that makes up for everything that is closed keeps the second one, and is not fought over it.
//
//lab:pair
func TestVarietyBothBegin(t *testing.T) {
	eager := func(extra string) func(*lab.CustomerTunnel) {
		return func(c *lab.CustomerTunnel) { c.Initiate, c.ChildExtra = true, extra }
	}
	// Closing an SA loses what is on its way in it.
	meek := &device{name: "meek", later: true, mayLose: true, customer: eager("close_action = none")}
	stubborn := &device{name: "stubborn", later: true, mayLose: true, customer: eager("")}
	w := newVariety(t, meek, stubborn)
	for _, d := range w.devices {
		d.wire.Cut()
		d.start()
	}
	for _, d := range w.devices {
		lab.Eventually(t, startup, "both begin", func() error {
			if st := d.status(); st.IKE != "CONNECTING" || d.ikeSAs("CONNECTING") != 1 {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
	}
	for _, d := range w.devices {
		d.wire.Restore()
	}
	w.Running(startup, "meek=UP", "stubborn=UP")
	for _, d := range w.devices {
		lab.Eventually(t, startup, d.name+" has two IKE_SAs", func() error {
			if n := d.ikeSAs("ESTABLISHED"); n != 2 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	first := stubborn.status().Counters.Establishments
	w.underPings(0, 4*startup, 0, func() error {
		if n := meek.ikeSAs("ESTABLISHED"); n != 1 {
			return fmt.Errorf("meek has %d IKE_SAs", n)
		}
		if st := stubborn.status(); st.Counters.Establishments == first || stubborn.ikeSAs("ESTABLISHED") != 2 {
			return fmt.Errorf("the stubborn one has not come back: %+v", st)
		}
		return nil
	})
	spis := w.SPIs()
	lab.Consistently(t, 15*time.Second, "peace", func() error {
		if now := w.SPIs(); now != spis {
			return errors.New("CHILD_SAs were replaced: " + spis + " by " + now)
		}
		return nil
	})
	for _, d := range w.devices {
		if st, n := d.status(), d.wentDown(); n > 0 || st.Running != "UP" || d.stats.Lost > 50 {
			t.Errorf("%s went down %d times, lost %d echoes:\n%s", d.name, n, d.stats.Lost, d.log())
		}
		d.pings()
	}
}
