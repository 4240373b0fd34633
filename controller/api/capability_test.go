package api_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/store"
)

// What a host's charon cannot do is refused where it would run, and accepted where it can or where nobody knows.
func TestHostsCapabilities(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	r.apply(host("gw-a", "198.51.100.1"), host("gw-b", "198.51.100.2"), border, customer, conn)
	says := func(name, word string) {
		t.Helper()
		if _, err := r.store.Write(t.Context(), func(tx *store.Tx) error {
			tx.Put(fleet.Host(name), &apiv1.Stored{Host: &apiv1.HostRecord{Name: name, Capabilities: &apiv1.HostCapabilities{MlKem: word}}})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	required := func(x *apiv1.VPNTunnel) *apiv1.VPNTunnel {
		return changed(x, func(x *apiv1.VPNTunnel) { x.Spec.Ike = &apiv1.IKE{PostQuantum: apiv1.PostQuantumRequired} })
	}
	named := changed(t1, func(x *apiv1.VPNTunnel) {
		x.Spec.Ike = &apiv1.IKE{Proposals: []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768"}}
	})
	const why = "cannot work on host gw-a: its charon has no ML-KEM (it needs strongSwan 6.0 with the plugin ml, or 6.0.2 with OpenSSL 3.5)"
	says("gw-a", apiv1.CapabilityAbsent.String())
	for field, tunnel := range map[string]*apiv1.VPNTunnel{`spec.ike.postQuantum: REQUIRED`: required(t1), `spec.ike.proposals[0]: "` + named.GetSpec().GetIke().GetProposals()[0] + `"`: named} {
		_, err := r.try(tunnel)
		told(t, err, connect.CodeInvalidArgument, "VPNTunnel/shop-idc-1: "+field+" "+why)
	}
	if _, err := r.try(t1, required(t2)); err != nil { // nobody knows of gw-b
		t.Error(err)
	}
	for _, word := range []string{apiv1.CapabilityUnknown.String(), apiv1.CapabilityPresent.String(), "A NEWER WORD"} {
		says("gw-a", word)
		if _, err := r.try(named); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	if _, err := r.try(required(t1)); err != nil {
		t.Error(err)
	}
	// A charon that has become older keeps nobody from taking the tunnel down, but the tunnel cannot come back as it is.
	says("gw-a", apiv1.CapabilityAbsent.String())
	resp, err := r.try(changed(required(t1), func(x *apiv1.VPNTunnel) { x.Spec.AdminState = apiv1.AdminStateDown }))
	if err != nil || len(resp.GetWarnings()) == 0 || !strings.Contains(resp.GetWarnings()[0].GetMessage(), why) {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := r.operator.DeleteVPNTunnel(t.Context(), &apiv1.DeleteVPNTunnelRequest{Name: t1.GetName()}); err != nil {
		t.Error(err)
	}
	if _, err := r.try(required(t1)); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Error(err)
	}
}
