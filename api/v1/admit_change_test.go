package apiv1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestAdmitChange(t *testing.T) {
	down := func(s *apiv1.Set, names ...string) {
		for _, name := range names {
			s.Tunnels[name].Spec.AdminState = apiv1.AdminStateDown
		}
	}
	remove := func(s *apiv1.Set, names ...string) {
		for _, name := range names {
			delete(s.Tunnels, name)
		}
	}
	for _, tc := range []struct {
		name       string
		before     func(*apiv1.Set)
		change     func(*apiv1.Set)
		want       []string
		inadmitted bool
	}{
		{name: "nothing", change: func(*apiv1.Set) {}},
		{name: "parameters, routes, descriptions", change: func(s *apiv1.Set) {
			s.Tunnels["t1"].Spec.Dpd.Timeout = seconds(60)
			s.BorderGateways["shop"].Spec.StaticRoutes = nil
			s.Connections["shop-idc"].Spec.Description = "other"
			s.Connections["shop-idc"].Spec.Routing = apiv1.RoutingStatic
			s.CustomerGateways["idc"].Spec.Asn = 65011
		}},
		{name: "a tunnel that is UP goes", change: func(s *apiv1.Set) { remove(s, "t2") },
			want: []string{"VPNTunnel/t2: can be deleted only when its adminState is DOWN: set that first"}},
		{name: "a tunnel that is set DOWN and removed at once", change: func(s *apiv1.Set) { down(s, "t2"); remove(s, "t2") },
			want: []string{"VPNTunnel/t2: can be deleted only when its adminState is DOWN: set that first"}},
		{name: "a tunnel that was DOWN goes", before: func(s *apiv1.Set) { down(s, "t2") }, change: func(s *apiv1.Set) { remove(s, "t2") }},
		{name: "a connection with a tunnel UP goes", before: func(s *apiv1.Set) { down(s, "t2") }, change: func(s *apiv1.Set) {
			remove(s, "t1", "t2")
			delete(s.Connections, "shop-idc")
			s.BorderGateways["shop"].Spec.StaticRoutes = nil
		}, want: []string{
			"VPNConnection/shop-idc: cannot be deleted while it has tunnels; it has t1",
			"VPNTunnel/t1: can be deleted only when its adminState is DOWN: set that first",
		}},
		{name: "everything goes after its tunnels were DOWN", before: func(s *apiv1.Set) { down(s, "t1", "t2") }, change: func(s *apiv1.Set) { *s = *apiv1.NewSet() }},
		{name: "gateways in use go", change: func(s *apiv1.Set) {
			delete(s.BorderGateways, "shop")
			delete(s.CustomerGateways, "idc")
		}, want: []string{
			"BorderGateway/shop: cannot be deleted while VPNConnection shop-idc uses it",
			"CustomerGateway/idc: cannot be deleted while VPNConnection shop-idc uses it",
		}, inadmitted: true},
		{name: "addresses in use change", change: func(s *apiv1.Set) {
			s.CustomerGateways["idc"].Spec.Addresses = append(s.CustomerGateways["idc"].Spec.Addresses, "203.0.113.3")
		}, want: []string{"CustomerGateway/idc: spec.addresses: can change only while there is no tunnel; there is t1, t2"}},
		{name: "addresses change their order", change: func(s *apiv1.Set) {
			a := s.CustomerGateways["idc"].Spec.Addresses
			a[0], a[1] = a[1], a[0]
		}},
		{name: "addresses change after the tunnels went", before: func(s *apiv1.Set) { down(s, "t1", "t2"); remove(s, "t1", "t2") }, change: func(s *apiv1.Set) {
			s.CustomerGateways["idc"].Spec.Addresses = []string{"203.0.113.3"}
		}},
		{name: "a tunnel that is UP moves", change: func(s *apiv1.Set) { s.Tunnels["t2"].Spec.CustomerAddress = "203.0.113.1" },
			want: []string{"VPNTunnel/t2: spec.customerAddress: can change from 203.0.113.2 to 203.0.113.1 only when adminState is DOWN: set that first"}},
		{name: "a tunnel that was DOWN moves", before: func(s *apiv1.Set) { down(s, "t2") }, change: func(s *apiv1.Set) {
			s.Tunnels["t2"].Spec.CustomerAddress = "203.0.113.1"
		}},
		{name: "a connection with tunnels moves", before: addTenant, change: func(s *apiv1.Set) {
			s.Connections["bank-branch"].Spec.BorderGateway = "shop"
			s.Connections["bank-branch"].Spec.CustomerGateway = "idc"
		}, want: []string{
			`VPNConnection/bank-branch: spec.borderGateway: can change from "bank" to "shop" only while there is no tunnel; there is b1`,
			`VPNConnection/bank-branch: spec.customerGateway: can change from "branch" to "idc" only while there is no tunnel; there is b1`,
		}, inadmitted: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old := exampleSet()
			if tc.before != nil {
				tc.before(old)
			}
			new := old.Clone()
			tc.change(new)
			if !tc.inadmitted && apiv1.Refused(apiv1.Admit(new, apiv1.AdmitOptions{})) {
				t.Fatalf("the new Set itself is not admitted: %q", lines(apiv1.Admit(new, apiv1.AdmitOptions{})))
			}
			if diff := cmp.Diff(tc.want, lines(apiv1.AdmitChange(old, new))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
	if got := apiv1.AdmitChange(nil, exampleSet()); got != nil {
		t.Errorf("the first Set may be any: %q", lines(got))
	}
}
