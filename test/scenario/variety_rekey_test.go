//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// v1Blink is the most that one rekeying may interrupt an IKEv1 tunnel on a busy emulated machine: its initiator uses the new SA as soon as
// it has sent the last message of the quick mode, and until the responder has processed that there is nothing to decrypt with.
const v1Blink = 5 * time.Second

// TestVarietyRekey: SAs of all kinds are replaced under traffic and before their end, by time and by volume. With IKEv2 no packet is
// lost, with IKEv1 only those that overtake the last message of the quick mode.
//
//lab:pair
func TestVarietyRekey(t *testing.T) {
	const often, now = 20 * time.Millisecond, 40 * time.Millisecond
	child := &device{name: "v2-child", spec: "esp: {lifetime: 30s}"}
	ike := &device{name: "v2-ike", spec: "ike: {lifetime: 30s}"}
	v1ike := &device{name: "v1-ike", every: now, customer: v1Customer(false), spec: "ike: {version: 1, lifetime: 30s}\nesp: {" + v1ESP + "}"}
	v1main := &device{name: "v1-main", mayLose: true, customer: v1Customer(false), spec: "ike: {version: 1}\nesp: {lifetime: 30s, " + v1ESP + "}"}
	v1aggressive := &device{name: "v1-aggressive", every: now, mayLose: true, customer: v1Customer(true),
		spec:    "ike: {version: 1, mode: AGGRESSIVE}\nesp: {lifetime: 30s, " + v1ESP + "}",
		options: lab.CharonOptions{Extra: "i_dont_care_about_security_and_use_aggressive_mode_psk = yes"}}
	children, ikes := []*device{child,
		{name: "no-pfs", every: now, spec: "esp: {lifetime: 30s, pfs: OPTIONAL}",
			customer: func(c *lab.CustomerTunnel) { c.ESPProposals = "aes256gcm16" }},
		{name: "bytes", every: often, size: 1300, spec: "esp: {lifetimeBytes: 1048576}"},
		{name: "packets", every: often, spec: "esp: {lifetimePackets: 1000}"}}, []*device{ike}
	hasV1 := lab.HasIKEv1(t)
	if hasV1 {
		children, ikes = append(children, v1main, v1aggressive), append(ikes, v1ike)
	}
	w := newVariety(t, slices.Concat(children, ikes)...)
	w.up()
	for _, d := range w.devices {
		st := d.status()
		t.Logf("%s: %+v", d.name, st.Negotiated)
		if v1 := strings.HasPrefix(d.name, "v1"); v1 != (st.Negotiated.IKEVersion == 1) {
			t.Errorf("%s: IKE version %d", d.name, st.Negotiated.IKEVersion)
		}
	}
	spis, counts := map[*device]string{}, w.rekeys()
	for _, d := range ikes {
		spis[d] = d.ikeSPIs()
	}
	w.underPings(0, startup, 0, func() error {
		var errs []error
		counted := w.rekeys()
		for _, d := range children {
			if counted[d.name] == counts[d.name] {
				errs = append(errs, fmt.Errorf("%s: no CHILD_SA rekey", d.name))
			}
		}
		for d, first := range spis {
			if d.ikeSPIs() == first {
				errs = append(errs, fmt.Errorf("%s: no IKE_SA rekey", d.name))
			}
		}
		return errors.Join(errs...)
	})
	measured("CHILD_SA rekey", child.stats)
	measured("IKE_SA rekey", ike.stats)
	if hasV1 {
		measured("IKEv1 quick mode rekey", v1main.stats)
	}
	for _, d := range w.devices {
		if n := d.wentDown(); n > 0 {
			t.Errorf("%s went down %d times:\n%s", d.name, n, d.log())
		}
		if d.mayLose && (d.stats.Lost > d.early || d.stats.LongestGap > v1Blink) {
			t.Errorf("%s: %v; only %d of them came before the device had the SA", d.name, d.stats, d.early)
		}
	}
}

// rekeys are how many CHILD_SAs each tunnel has replaced.
func (w *variety) rekeys() map[string]uint64 {
	w.t.Helper()
	tunnels, err := w.Tunnels()
	if err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]uint64{}
	for name, st := range tunnels {
		counts[name] = st.Counters.Rekeys
	}
	return counts
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

// rekey has the device replace its CHILD_SA and waits until the gateway counts it.
func (d *device) rekey() {
	d.w.t.Helper()
	rekeys := d.status().Counters.Rekeys
	if out, err := d.charon.Swanctl("--rekey", "--child", "cloud"); err != nil {
		d.w.t.Fatalf("%s: rekey: %v\n%s", d.name, err, out)
	}
	lab.Eventually(d.w.t, startup, d.name+": the CHILD_SA is replaced", func() error {
		if st := d.status(); st.Counters.Rekeys <= rekeys || len(st.ChildSAs) == 0 {
			return fmt.Errorf("%d rekeys, CHILD_SAs %+v", st.Counters.Rekeys, st.ChildSAs)
		}
		return nil
	})
}
