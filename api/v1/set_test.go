package apiv1_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

func TestSetPrintsNoSecret(t *testing.T) {
	const clear = "correct-horse-battery"
	s := exampleSet()
	s.SetPSK("t1", secret.New(clear))
	s.SetBGPPassword("t1", secret.New(clear))
	s.SetPeerPassword("shop", "vpc-a", secret.New(clear))
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb, s)
		fmt.Fprintf(&out, verb, *s)
		fmt.Fprintf(&out, verb, struct{ s apiv1.Set }{*s})
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("set", "set", s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("set", "set", s)
	if err := json.NewEncoder(&out).Encode(s); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{clear, fmt.Sprintf("%x", clear)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("a secret is visible as %s", form)
		}
	}
}

func TestSetReads(t *testing.T) {
	s := exampleSet()
	addTenant(s)
	names := func(tunnels []*apiv1.VPNTunnel) (out []string) {
		for _, t := range tunnels {
			out = append(out, t.GetName())
		}
		return out
	}
	if diff := cmp.Diff([]string{"t1", "t2"}, names(s.TunnelsOf("shop-idc"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b1"}, names(s.TunnelsOfGateway("bank"))); diff != "" {
		t.Error(diff)
	}
	if got := s.ConnectionsOf("shop"); len(got) != 1 || got[0].GetName() != "shop-idc" {
		t.Errorf("ConnectionsOf: %v", got)
	}
	if got := s.ConnectionsOfCustomer("branch"); len(got) != 1 || got[0].GetName() != "bank-branch" {
		t.Errorf("ConnectionsOfCustomer: %v", got)
	}
	c, g, cg := s.Parents(s.Tunnels["b1"])
	if c.GetName() != "bank-branch" || g.GetName() != "bank" || cg.GetName() != "branch" {
		t.Errorf("Parents: %v %v %v", c, g, cg)
	}
	if c, g, cg := s.Parents(&apiv1.VPNTunnel{}); c != nil || g != nil || cg != nil {
		t.Errorf("Parents of an orphan: %v %v %v", c, g, cg)
	}
	if got := s.PSK("t1").Reveal(); got != "psk-of-t1" {
		t.Errorf("PSK: %s", got)
	}
	var zero apiv1.Set
	if zero.PSK("t1").IsSet() || zero.BGPPassword("t1").IsSet() || zero.PeerPassword("shop", "vpc-a").IsSet() || zero.TunnelsOf("x") != nil {
		t.Error("the zero Set is empty")
	}
}

func TestSetEqualAndClone(t *testing.T) {
	for name, change := range map[string]func(*apiv1.Set){
		"border gateway":   func(s *apiv1.Set) { s.BorderGateways["shop"].Spec.Attachments[0].Prefixes[0] = "10.1.0.0/16" },
		"customer gateway": func(s *apiv1.Set) { s.CustomerGateways["idc"].Spec.Asn++ },
		"connection":       func(s *apiv1.Set) { s.Connections["shop-idc"].Spec.CloudAddresses[0] = "198.51.100.9" },
		"tunnel":           func(s *apiv1.Set) { s.Tunnels["t1"].Spec.Ike.Proposals[0] = "x" },
		"fewer tunnels":    func(s *apiv1.Set) { delete(s.Tunnels, "t1") },
		"key":              func(s *apiv1.Set) { s.SetPSK("t1", secret.New("another-key")) },
		"BGP password":     func(s *apiv1.Set) { s.SetBGPPassword("t1", secret.New("another-key")) },
		"peer password":    func(s *apiv1.Set) { s.SetPeerPassword("shop", "vpc-a", secret.New("another-key")) },
	} {
		original := exampleSet()
		clone := original.Clone()
		if !clone.Equal(original) || !original.Equal(exampleSet()) {
			t.Fatal("a clone is equal")
		}
		change(clone)
		if clone.Equal(original) || original.Equal(clone) {
			t.Errorf("%s: the change does not show", name)
		}
		if !original.Equal(exampleSet()) {
			t.Errorf("%s: changing the clone changed the original", name)
		}
	}
	var none *apiv1.Set
	if none.Equal(apiv1.NewSet()) || apiv1.NewSet().Equal(none) || !none.Equal(nil) || !apiv1.NewSet().Equal(&apiv1.Set{}) {
		t.Error("nil and empty")
	}
}

const wantDefaults = `{
  "connection":"c", "cloudAddress":"198.51.100.1", "customerAddress":"203.0.113.1",
  "localId":"198.51.100.1", "remoteId":"203.0.113.1", "adminState":"UP", "initiation":"ALWAYS",
  "ike":{"version":2, "proposals":["aes256gcm16-prfsha384-ecp384","aes128gcm16-prfsha256-ecp256","aes256-sha256-modp2048","aes128-sha256-modp2048"],
    "postQuantum":"AUTO", "lifetime":"28800s"},
  "esp":{"proposals":["aes256gcm16-ecp384","aes128gcm16-ecp256","aes256-sha256-modp2048"], "pfs":"REQUIRED", "lifetime":"3600s"},
  "dpd":{"enabled":true, "interval":"10s", "timeout":"30s"},
  "probe":{"mode":"AUTO", "interval":"1s", "failures":3},
  "bgp":{"keepalive":"10s", "hold":"30s", "maxPrefixes":300, "bfd":{"interval":"0.3s", "multiplier":3}},
  "replayWindow":1024
}`

func TestDefaults(t *testing.T) {
	s := apiv1.NewSet()
	s.Tunnels["t"] = &apiv1.VPNTunnel{Spec: &apiv1.VPNTunnelSpec{Connection: "c", CloudAddress: "198.51.100.1", CustomerAddress: "203.0.113.1"}}
	s.BorderGateways["g"] = &apiv1.BorderGateway{}
	s.SetDefaults()
	var want apiv1.VPNTunnelSpec
	if err := protojson.Unmarshal([]byte(wantDefaults), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, s.Tunnels["t"].Spec, protocmp.Transform()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if got := s.BorderGateways["g"].Spec.Asn; got != 65000 {
		t.Errorf("border ASN %d", got)
	}
	once := s.Clone()
	s.SetDefaults()
	if !s.Equal(once) {
		t.Error("defaults are not idempotent")
	}
	for _, p := range want.Ike.Proposals {
		if parsed, err := apiv1.ParseIKEProposal(p, 2); err != nil || len(parsed.Weak) > 0 {
			t.Errorf("default proposal %s: %v, weak %v", p, err, parsed.Weak)
		}
	}
}

func TestDefaultsKeepWhatIsGiven(t *testing.T) {
	spec := exampleSet().Tunnels["t1"].Spec
	spec.LocalId, spec.AdminState, spec.ReplayWindow = "gw", apiv1.AdminStateDown, proto.Uint32(0)
	spec.Dpd.Enabled, spec.Probe.Failures, spec.Bgp.Keepalive = proto.Bool(false), 9, seconds(1)
	want := proto.CloneOf(spec)
	apiv1.DefaultTunnel(&apiv1.VPNTunnel{Spec: spec})
	if diff := cmp.Diff(want, spec, protocmp.Transform()); diff != "" {
		t.Errorf("given values (-want +got):\n%s", diff)
	}
	old := &apiv1.VPNTunnel{Spec: &apiv1.VPNTunnelSpec{Ike: &apiv1.IKE{Version: 1}}}
	apiv1.DefaultTunnel(old)
	if old.Spec.Ike.Mode != apiv1.IKEModeMain {
		t.Error("IKEv1 has MAIN mode by default")
	}
	for _, p := range old.Spec.Ike.Proposals {
		if _, err := apiv1.ParseIKEProposal(p, 1); err != nil {
			t.Errorf("default proposal %s of IKEv1: %v", p, err)
		}
	}
}

func TestDefaultLayout(t *testing.T) {
	addrs := func(texts ...string) (out []netip.Addr) {
		for _, text := range texts {
			out = append(out, netip.MustParseAddr(text))
		}
		return out
	}
	for _, tc := range []struct {
		cloud, customer []netip.Addr
		want            []string
	}{
		{addrs("10.0.0.1", "10.0.0.2"), addrs("1.0.0.1"), []string{"10.0.0.1 1.0.0.1", "10.0.0.2 1.0.0.1"}},
		{addrs("10.0.0.1", "10.0.0.2"), addrs("1.0.0.1", "1.0.0.2"), []string{"10.0.0.1 1.0.0.1", "10.0.0.2 1.0.0.2"}},
		{addrs("10.0.0.1", "10.0.0.2"), addrs("1.0.0.1", "1.0.0.2", "1.0.0.3"), []string{"10.0.0.1 1.0.0.1", "10.0.0.1 1.0.0.2", "10.0.0.2 1.0.0.3"}},
		{addrs("10.0.0.1", "10.0.0.2"), addrs("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4"),
			[]string{"10.0.0.1 1.0.0.1", "10.0.0.1 1.0.0.2", "10.0.0.2 1.0.0.3", "10.0.0.2 1.0.0.4"}},
		{addrs("10.0.0.1"), addrs("1.0.0.1", "1.0.0.2"), []string{"10.0.0.1 1.0.0.1", "10.0.0.1 1.0.0.2"}},
		{nil, addrs("1.0.0.1"), nil},
		{addrs("10.0.0.1"), nil, nil},
	} {
		var got []string
		for _, p := range apiv1.DefaultLayout(tc.cloud, tc.customer) {
			got = append(got, p.Cloud.String()+" "+p.Customer.String())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%v × %v (-want +got):\n%s", tc.cloud, tc.customer, diff)
		}
	}
}
