//go:build lab

package scenario

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyLibreswan: a second implementation of IKE at the customer's end, with IKEv2 and the defaults of the cloud, and with IKEv1. It
// answers, begins, rekeys and says goodbye.
func TestVarietyLibreswan(t *testing.T) {
	v2 := &device{name: "libreswan-v2", mayLose: true, spec: "esp: {lifetime: 30s}",
		libreswan: []string{"ikev2=yes", "ike=aes_gcm256-sha2_384;dh20", "esp=aes_gcm256-null;dh20"}}
	v1 := &device{name: "libreswan-v1", mayLose: true, spec: "ike: {version: 1}\nesp: {lifetime: 30s, " + v1ESP + "}",
		libreswan: []string{"ikev2=no", "ike=aes256-sha2_256;dh14", "esp=aes256-sha2_256;dh14"}}
	devices, up := []*device{v2}, []string{"libreswan-v2=UP"}
	hasV1 := lab.HasIKEv1(t)
	if hasV1 {
		devices, up = append(devices, v1), append(up, "libreswan-v1=UP")
	}
	w := newVariety(t, devices...)
	w.Running(2*startup, up...)
	for _, d := range w.devices {
		d.settle()
		st := d.status()
		if (d == v1) != (st.Negotiated.IKEVersion == 1) {
			t.Errorf("%s: IKE version %d", d.name, st.Negotiated.IKEVersion)
		}
		t.Logf("%s: %+v", d.name, st.Negotiated)
	}
	counts := w.rekeys()
	w.underPings(0, startup, 0, func() error {
		for _, d := range w.devices {
			if w.rekeys()[d.name] == counts[d.name] {
				return fmt.Errorf("%s: no rekey", d.name)
			}
		}
		return nil
	})
	measured("CHILD_SA rekey with libreswan", v2.stats)
	if hasV1 {
		measured("IKEv1 quick mode rekey with libreswan", v1.stats)
	}
	for _, d := range w.devices {
		// libreswan sends with the new SA as soon as it has answered, before the answer is here.
		if d.stats.Lost > d.early+w.early || d.stats.LongestGap > v1Blink {
			t.Errorf("%s: %v; only %d and %d packets came before the device and the gateway had the SA", d.name, d.stats, d.early, w.early)
		}
		before := d.status().Counters.Establishments
		if err := d.pluto.Terminate(); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		lab.Eventually(t, startup, d.name+" is back after the device closed it", func() error {
			st := d.status()
			if st.Running != "UP" || st.Counters.Establishments == before {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		d.settle()
		status, err := d.pluto.TrafficStatus()
		if err != nil || !strings.Contains(status, `"cloud"`) {
			t.Errorf("%s: pluto's SAs: %v, %s", d.name, err, status)
		}
	}
}
