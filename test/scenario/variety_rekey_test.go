//go:build lab && soak

package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyRekey: CHILD_SAs of all kinds are replaced under traffic, by time and by volume. With IKEv2 no packet is lost, with IKEv1 only
// those that overtake the last message of the quick mode.
func TestVarietyRekey(t *testing.T) {
	aggressive := &device{name: "v1-aggressive", mayLose: true, customer: v1Customer(true),
		spec:    "ike: {version: 1, mode: AGGRESSIVE}\nesp: {lifetime: 30s, " + v1ESP + "}",
		options: lab.CharonOptions{Extra: "i_dont_care_about_security_and_use_aggressive_mode_psk = yes"}}
	w := newVariety(t,
		&device{name: "v2-child", spec: "esp: {lifetime: 30s}"},
		&device{name: "v1-main", mayLose: true, customer: v1Customer(false), spec: "ike: {version: 1}\nesp: {lifetime: 30s, " + v1ESP + "}"},
		aggressive,
		&device{name: "no-pfs", spec: "esp: {lifetime: 30s, pfs: OPTIONAL}",
			customer: func(c *lab.CustomerTunnel) { c.ESPProposals = "aes256gcm16" }},
		&device{name: "bytes", spec: "esp: {lifetimeBytes: 1048576}"},
		&device{name: "packets", spec: "esp: {lifetimePackets: 2000}"},
	)
	w.up()
	for _, d := range w.devices {
		st := d.status()
		t.Logf("%s: %+v", d.name, st.Negotiated)
		if v1 := strings.HasPrefix(d.name, "v1"); v1 != (st.Negotiated.IKEVersion == 1) {
			t.Errorf("%s: IKE version %d", d.name, st.Negotiated.IKEVersion)
		}
	}
	w.underPings(0, startup, 600, func() error { return w.rekeyed(2) })
	for _, d := range w.devices {
		if n := d.wentDown(); n > 0 {
			t.Errorf("%s went down %d times:\n%s", d.name, n, d.log())
		}
		// IKEv1's initiator installs the new SA before the responder has its last message, and until that is processed there is
		// nothing to decrypt with.
		if d.mayLose && d.lost > d.early {
			t.Errorf("%s: %d lost, only %d of them came too early", d.name, d.lost, d.early)
		}
	}
}

// TestVarietyIKERekey: IKE_SAs are replaced under traffic, and no packet is lost: IKEv2 rekeys them, IKEv1 makes new ones that adopt
// the CHILD_SAs.
func TestVarietyIKERekey(t *testing.T) {
	w := newVariety(t,
		&device{name: "v2-ike", spec: "ike: {lifetime: 30s}"},
		&device{name: "v1-ike", customer: v1Customer(false), spec: "ike: {version: 1, lifetime: 30s}\nesp: {" + v1ESP + "}"},
	)
	w.up()
	first := map[string]string{}
	for _, d := range w.devices {
		first[d.name] = d.ikeSPIs()
	}
	replaced := map[string]int{}
	w.underPings(40*time.Second, startup, 0, func() error {
		var errs []error
		for _, d := range w.devices {
			if now := d.ikeSPIs(); now != first[d.name] {
				first[d.name] = now
				replaced[d.name]++
			}
			if replaced[d.name] < 2 {
				errs = append(errs, fmt.Errorf("%s: %d IKE rekeys", d.name, replaced[d.name]))
			}
		}
		return errors.Join(errs...)
	})
	for _, d := range w.devices {
		st := d.status()
		t.Logf("%s: %d times another set of IKE_SAs, counters %+v", d.name, replaced[d.name], st.Counters)
		if n := d.wentDown(); n > 0 {
			t.Errorf("%s went down %d times:\n%s", d.name, n, d.log())
		}
	}
}

// ikeSPIs are those of the device's IKE_SAs.
func (d *device) ikeSPIs() string {
	d.w.t.Helper()
	sas, err := d.charon.SAs()
	if err != nil {
		d.w.t.Fatal(err)
	}
	var all []string
	for _, sa := range sas {
		all = append(all, sa.InitiatorSPI)
	}
	return strings.Join(all, " ")
}
