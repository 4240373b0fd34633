//go:build lab

package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/test/lab"
)

// TestVarietyIdentities: host names and key ids as identities of both ends; a wrong one is told with the identity that was
// received, wherever the device tells it. Beside them a device that can do only what is weak.
func TestVarietyIdentities(t *testing.T) {
	const wrong = "stranger.example.net"
	ids := func(local, remote string) func(*lab.CustomerTunnel) {
		return func(c *lab.CustomerTunnel) { c.LocalID, c.RemoteID = local, remote }
	}
	weak := &device{name: "weak", spec: "ike: {proposals: [aes128-sha1-modp1024]}\nesp: {proposals: [aes128-sha1-modp1024]}",
		customer: func(c *lab.CustomerTunnel) {
			c.Proposals, c.ESPProposals = "aes128-sha1-modp1024", "aes128-sha1-modp1024"
		}}
	fqdn := &device{name: "fqdn", spec: "localId: vpn.cloud.example\nremoteId: branch.example.net",
		customer: ids("branch.example.net", "vpn.cloud.example")}
	keyid := &device{name: "keyid", spec: "localId: keyid:cloud-one\nremoteId: keyid:branch-9",
		customer: ids("keyid:branch-9", "keyid:cloud-one")}
	// An IKEv2 device that is asked for another name than it has refuses without telling its own. The two others tell.
	answers := &device{name: "wrong-answers", spec: "remoteId: branch-2.example.net", customer: ids(wrong, "")}
	asks := &device{name: "wrong-asks", later: true, spec: "initiation: RESPOND\nremoteId: branch-3.example.net", customer: func(c *lab.CustomerTunnel) {
		c.LocalID, c.Initiate = wrong, true
	}}
	v1 := &device{name: "wrong-v1", spec: "ike: {version: 1}\nremoteId: branch-4.example.net\nesp: {" + v1ESP + "}",
		customer: func(c *lab.CustomerTunnel) {
			v1Customer(false)(c)
			c.LocalID = wrong
		}}
	// One that begins with proposals that the tunnel does not have: both sides' are told.
	offers := &device{name: "wrong-offers", later: true, spec: "initiation: RESPOND", customer: func(c *lab.CustomerTunnel) {
		c.Proposals, c.Initiate = "aes256-sha512-modp4096", true
	}}
	devices := []*device{weak, fqdn, keyid, answers, asks, offers}
	refused := []string{"wrong-answers=DOWN:AUTHENTICATION_FAILED", "wrong-asks=DOWN:AUTHENTICATION_FAILED"}
	if lab.HasIKEv1(t) {
		devices = append(devices, v1)
		refused = append(refused, "wrong-v1=DOWN:AUTHENTICATION_FAILED")
	}
	w := newVariety(t, devices...)
	w.Running(startup, "weak=UP", "fqdn=UP", "keyid=UP", "wrong-asks=DOWN:WAITING_FOR_PEER")
	offers.start()
	asks.start() // charon does not repeat what was refused, so the cloud has to be there first
	w.Running(startup, refused...)
	for _, d := range []*device{weak, fqdn, keyid} {
		d.pings()
		if st := d.status(); hasCondition(st, "WEAK_PROPOSAL") != (d == weak) {
			t.Errorf("%s: conditions %+v", d.name, st.Conditions)
		}
	}
	for d, want := range map[*device][2]string{fqdn: {"vpn.cloud.example", "branch.example.net"}, keyid: {"cloud-one", "branch-9"}} {
		if n := d.status().Negotiated; n.LocalID != want[0] || n.RemoteID != want[1] {
			t.Errorf("%s: identities %q and %q", d.name, n.LocalID, n.RemoteID)
		}
	}
	w.Running(startup, "wrong-offers=DOWN:NO_PROPOSAL_CHOSEN")
	for _, part := range []string{"HMAC_SHA2_512_256", "MODP_4096", "AES_GCM_16_256", "ECP_384"} {
		if st := offers.status(); !strings.Contains(st.Message, part) {
			t.Errorf("%s is not in the message: %s", part, st.Message)
		}
	}
	for _, d := range []*device{answers, asks, v1} {
		if !slices.Contains(devices, d) {
			continue
		}
		// The reason stays over all attempts, and so does what it says.
		lab.Eventually(t, startup, d.name+": the identity in the message", func() error {
			st := d.status()
			says := wrong
			if d == answers {
				says = "does not have the remoteId we asked for"
			}
			if st.Reason != "AUTHENTICATION_FAILED" || !strings.Contains(st.Message, says) {
				return fmt.Errorf("%s: %s", st.Reason, st.Message)
			}
			return nil
		})
		t.Logf("%s: %s", d.name, d.status().Message)
	}
}
