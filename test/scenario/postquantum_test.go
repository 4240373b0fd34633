//go:build lab

package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/test/lab"
)

const (
	hybridIKE = "aes256gcm16-prfsha384-ecp384-ke1_mlkem768"
	hybridESP = "aes256gcm16-ecp384-ke1_mlkem768"
	mlkem     = "KE1_ML_KEM_768"
)

// hybridCustomer is a device that accepts nothing but the hybrid key exchange.
func hybridCustomer(c *lab.CustomerTunnel) { c.Proposals, c.ESPProposals = hybridIKE, hybridESP }

// suiteHasMLKEM: Debian's unstable has ML-KEM, its stable releases do not.
func suiteHasMLKEM() bool { return os.Getenv("BORDERGW_LAB_SUITE") == "sid" }

// TestPostQuantum: hybrid key exchanges between two ends that can, classical ones with a device that cannot, and the tunnel that requires
// the hybrid one is DOWN beside it, or refused where this host cannot.
func TestPostQuantum(t *testing.T) {
	hybrid := &device{name: "hybrid", customer: hybridCustomer}
	classical := &device{name: "classical"}
	required := &device{name: "required", spec: "ike: {postQuantum: REQUIRED}", customer: hybridCustomer}
	refused := &device{name: "refused", spec: "ike: {postQuantum: REQUIRED}"}
	if !suiteHasMLKEM() {
		required.customer = nil
		w := newVariety(t, classical, required)
		w.requiredIsRefused(classical, required)
		return
	}
	w := newVariety(t, hybrid, classical, required, refused)
	w.Running(2*startup, "hybrid=UP", "classical=UP", "required=UP", "refused=DOWN:NO_PROPOSAL_CHOSEN")
	for _, d := range []*device{hybrid, required, classical} {
		d.pings()
		want := d != classical
		st := d.status()
		if got := strings.HasSuffix(st.Negotiated.IKESuite, "/"+mlkem); got != want || st.Negotiated.PostQuantum != want {
			t.Errorf("%s: IKE suite %s, post-quantum %v", d.name, st.Negotiated.IKESuite, st.Negotiated.PostQuantum)
		}
		// The first CHILD_SA has its keys from the IKE_SA, a later one from an exchange of its own.
		if strings.Contains(st.Negotiated.ESPSuite, mlkem) {
			t.Errorf("%s: ESP suite %s before any rekeying", d.name, st.Negotiated.ESPSuite)
		}
		d.rekey()
		d.pings()
		if esp := d.status().ChildSAs[len(d.status().ChildSAs)-1].Suite; strings.HasSuffix(esp, "/ECP_384/"+mlkem) != want {
			t.Errorf("%s: ESP suite %s after a rekeying", d.name, esp)
		}
		w.metric(w.AgentA, fmt.Sprintf(`bordergw_tunnel_post_quantum{connection="%[1]s",gateway="variety",tunnel="%[1]s"} %[2]d`, d.name, map[bool]int{true: 1}[want]))
		st = d.status()
		w.metric(w.AgentA, fmt.Sprintf(`bordergw_tunnel_suite_info{connection="%[1]s",esp_suite="%[2]s",gateway="variety",ike_suite="%[3]s",ike_version="2",tunnel="%[1]s"} 1`,
			d.name, st.Negotiated.ESPSuite, st.Negotiated.IKESuite))
		t.Logf("%s: IKE %s, ESP %s", d.name, st.Negotiated.IKESuite, st.Negotiated.ESPSuite)
	}
	w.metric(w.AgentA, "bordergw_charon_mlkem 1")
}

// requiredIsRefused: nothing is in force while a tunnel requires what charon does not have; without that demand it comes up.
func (w *variety) requiredIsRefused(classical, required *device) {
	w.t.Helper()
	w.metric(w.AgentA, `bordergw_source_findings{severity="error"} 1`)
	w.metric(w.AgentA, "bordergw_source_generation 0")
	w.metric(w.AgentA, "bordergw_charon_mlkem 0")
	host, err := w.AgentA.Ctl("get", "host", "-o", "yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	check, err := w.AgentA.Check()
	if err == nil {
		w.t.Error("--check finds nothing")
	}
	if want := "VPNTunnel/required: spec.ike.postQuantum: REQUIRED cannot work here"; !strings.Contains(check, want) || !strings.Contains(host, "spec.ike.postQuantum") {
		w.t.Errorf("want %s\n--check: %s%v\n%s", want, check, err, host)
	}
	w.t.Logf("--check: %s%v", check, err)
	required.spec = ""
	w.AgentA.WriteManifests(w.manifests())
	w.up()
	for _, d := range []*device{classical, required} {
		d.pings()
		if st := d.status(); strings.Contains(st.Negotiated.IKESuite, "ML_KEM") || st.Negotiated.PostQuantum {
			w.t.Errorf("%s: IKE suite %s", d.name, st.Negotiated.IKESuite)
		}
	}
	if log := classical.log(); strings.Contains(log, "ML_KEM") {
		w.t.Errorf("ML-KEM was spoken of:\n%s", log)
	}
}
