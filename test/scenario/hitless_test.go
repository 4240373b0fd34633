//go:build lab

package scenario

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// TestHitlessChanges: keys, proposals, lifetimes and DPD change, and SAs are rekeyed, under 100 echoes a second. Rekeyings lose nothing. A change
// that needs new IKE_SAs may lose what the customer sends with the new SA before our charon has processed the answer that brings it:
// a responder uses its SAs at once (RFC 7296 §1.2 allows it), so that is a round trip and the time charon needs.
//
//lab:pair
func TestHitlessChanges(t *testing.T) {
	const renewed = 15
	d := &device{name: "site", mayLose: true, customer: func(c *lab.CustomerTunnel) {
		c.Proposals = "aes256gcm16-prfsha384-ecp384, aes128gcm16-prfsha256-ecp256"
		c.ESPProposals = "aes256gcm16-ecp384, aes128gcm16-ecp256"
		c.ChildExtra = "replay_window = 1024"
	}}
	w := newVariety(t, d)
	w.up()
	swanctl := func(args ...string) {
		if out, err := w.CharonA.Swanctl(args...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	apply := func(change func()) func() {
		return func() { change(); w.AgentA.WriteManifests(w.manifests()) }
	}
	customerKey := func(key string) {
		tunnel := d.tunnel
		tunnel.PSK = key
		d.charon.Tunnel(tunnel)
	}
	spec := func(more string) func() {
		return apply(func() { d.spec = more })
	}
	for _, step := range []struct {
		name  string
		do    func()
		may   int
		same  bool // the IKE_SA stays, the CHILD_SA or nothing is replaced
		after func() error
		// figure, if set, is the name under which the suite prints what the step cost.
		figure string
	}{
		{name: "CHILD rekey", do: func() { swanctl("--rekey", "--child", "bgw-site") }, same: true},
		{name: "IKE rekey", do: func() { swanctl("--rekey", "--ike", "bgw-site") }},
		{name: "ESP proposals", do: spec("esp: {proposals: [aes128gcm16-ecp256]}"), may: renewed, same: true,
			after: func() error { return d.suite("AES_GCM_16-128") }, figure: "change of ESP proposals"},
		{name: "IKE proposals", do: spec("ike: {proposals: [aes128gcm16-prfsha256-ecp256]}"), may: renewed, figure: "change of IKE proposals"},
		{name: "lifetimes", do: spec("ike: {lifetime: 7200s}\nesp: {lifetime: 1800s}"), may: renewed},
		{name: "DPD", do: spec("dpd: {interval: 5s, timeout: 20s}"), may: renewed},
		{name: "key, the cloud first", do: apply(func() { d.psk = "a-second-key-of-site" }), may: renewed, same: true,
			after: func() error { return d.condition("KEY_ROTATION", true) }},
		{name: "key, the customer second", do: func() { customerKey("a-second-key-of-site") }, may: renewed,
			after: func() error { return d.condition("KEY_ROTATION", false) }, figure: "PSK rotation, the cloud first"},
		{name: "key, the customer first", do: func() { customerKey("a-third-key-of-site") }, same: true},
		{name: "key, the cloud second", do: apply(func() { d.psk = "a-third-key-of-site" }), may: renewed,
			after: func() error { return d.condition("KEY_ROTATION", false) }, figure: "PSK rotation, the customer first"},
	} {
		d.settle()
		since, before := d.status().Since, d.charonIKE()
		ping := w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: d.lan, Interval: 10 * time.Millisecond})
		step.do()
		lab.Eventually(t, 2*startup, step.name, func() error {
			if step.after != nil {
				if err := step.after(); err != nil {
					return err
				}
			}
			now := d.charonIKE()
			switch {
			case strings.Contains(now, " "):
				return errors.New("several IKE_SAs: " + now)
			case now == before && !step.same:
				return errors.New("the IKE_SA is still the one before")
			case now != before && step.same:
				return errors.New("another IKE_SA")
			}
			return nil
		})
		if step.may == 0 {
			// Not charon's list: while an IKE_SA is rekeyed its CHILD_SAs are for a moment in neither.
			lab.Consistently(t, 2*time.Second, "it stays", func() error {
				if st := d.status(); st.Running != "UP" || st.Since != since {
					return fmt.Errorf("%s since %s", st.Running, st.Since)
				}
				return nil
			})
		}
		s, st := ping.Stop(), d.status()
		t.Logf("%s: %d sent, %d lost, longest gap %v", step.name, s.Sent, s.Lost, s.LongestGap.Round(time.Millisecond))
		if step.figure != "" {
			measured(step.figure, s)
		}
		if s.Lost > step.may {
			t.Errorf("%s: lost echoes %v", step.name, s.LostSeqs)
		}
		if st.Running != "UP" || st.Since != since {
			t.Errorf("%s: %s since %s, was UP since %s", step.name, st.Running, st.Since, since)
		}
	}
	out, err := w.AgentA.Ctl("describe", "tunnel", "site")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, "key-of-site") {
		t.Error("the description shows a key")
	}
	if !strings.Contains(out, "accepted the new pre-shared key") {
		t.Errorf("the log does not tell of the new key:\n%s", out)
	}
}

// charonIKE are the SPIs of the gateway's established IKE_SAs.
func (d *device) charonIKE() string {
	d.w.t.Helper()
	sas, err := d.w.CharonA.SAs()
	if err != nil {
		d.w.t.Fatal(err)
	}
	var all []string
	for _, sa := range sas {
		if sa.State == "ESTABLISHED" || sa.State == "REKEYING" {
			all = append(all, sa.InitiatorSPI)
		}
	}
	return strings.Join(all, " ")
}

func (d *device) suite(want string) error {
	if got := d.status().Negotiated.ESPSuite; !strings.HasPrefix(got, want) {
		return errors.New("the suite is " + got)
	}
	return nil
}

func (d *device) condition(kind string, want bool) error {
	if st := d.status(); hasCondition(st, kind) != want {
		return fmt.Errorf("conditions %v", st.Conditions)
	}
	return nil
}
