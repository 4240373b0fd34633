package api_test

import (
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// planned is a plan in one line for each finding, object and field.
func planned(p *apiv1.PlanResponse) []string {
	out := []string{fmt.Sprint(p.GetAccepted(), " ", p.GetImpact())}
	for _, f := range p.GetFindings() {
		out = append(out, fmt.Sprintf("! %s %s: %s", f.GetObject(), f.GetField(), f.GetMessage()))
	}
	for _, c := range p.GetChanges() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.GetAction(), c.GetObject(), c.GetImpact(), strings.Join(c.GetTunnels(), ","))))
		for _, f := range c.GetFields() {
			out = append(out, fmt.Sprintf("  %s: %s > %s: %s %s", f.GetField(), f.GetOld(), f.GetNew(), f.GetImpact(), f.GetMessage()))
		}
	}
	return out
}

func TestPlan(t *testing.T) {
	r := start(t)
	border, customer, conn, t1, t2 := shop()
	plan := func(objects ...model.Object) []string {
		t.Helper()
		req := &apiv1.PlanResourcesRequest{}
		for _, o := range objects {
			req.Resources = append(req.Resources, model.Wrap(o))
		}
		p, err := r.operator.Plan(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(p), "secret-of") {
			t.Errorf("a secret shows: %v", p)
		}
		return planned(p)
	}
	first := plan(host("gw-a", "198.51.100.1"), t1, conn, customer, border)
	want := []string{
		"true none", "! VPNConnection/shop-idc spec.cloudAddresses[1]: no GatewayHost has 198.51.100.2 yet",
		"ADDED BorderGateway/shop none", "ADDED CustomerGateway/idc none", "ADDED VPNConnection/shop-idc none", "ADDED VPNTunnel/shop-idc-1 none",
		"ADDED GatewayHost/gw-a none",
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("before there is anything (-want +got):\n%s", diff)
	}
	r.apply(host("gw-a", "198.51.100.1"), host("gw-b", "198.51.100.2"), border, customer, conn, t1, t2)
	// The second tunnel was taken down on its host.
	if _, err := r.store.Write(t.Context(), func(tx *store.Tx) error {
		tx.Put(fleet.Presence("gw-b"), &apiv1.Stored{Presence: &apiv1.HostPresence{}})
		tx.Put(fleet.TunnelStatusRef("shop-idc-2"), &apiv1.Stored{TunnelStatus: &apiv1.VPNTunnelStatus{Host: "gw-b",
			Local: &apiv1.LocalChange{State: apiv1.LocalDisabled}}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	lifetime := func(x *apiv1.VPNTunnel) *apiv1.VPNTunnel {
		return changed(x, func(x *apiv1.VPNTunnel) { x.Spec.Esp = &apiv1.ESP{Lifetime: durationpb.New(600e9)} })
	}
	for _, tc := range []struct {
		name    string
		objects []model.Object
		want    []string
	}{
		{"nothing", []model.Object{border, customer, conn, t1, t2}, []string{"true none"}},
		{"a lifetime, and the key", []model.Object{changed(lifetime(t1), func(x *apiv1.VPNTunnel) { x.Spec.Psk.Value = "secret-of-somebody" })}, []string{
			"true rekey", "CHANGED VPNTunnel/shop-idc-1 rekey shop-idc-1",
			"  spec.psk: value > value: rekey psk changed", "  spec.esp.lifetime: 1h0m0s > 10m0s: rekey ",
		}},
		{"a lifetime of a tunnel that is down on its host", []model.Object{lifetime(t2)}, []string{
			"true none", "CHANGED VPNTunnel/shop-idc-2 none", "  spec.esp.lifetime: 1h0m0s > 10m0s: none the tunnel is down",
		}},
		{"an ASN", []model.Object{changed(border, func(g *apiv1.BorderGateway) { g.Spec.Asn = 64900 })}, []string{
			"true connection", "CHANGED BorderGateway/shop connection shop-idc-1",
			"  spec.asn: 65000 > 64900: connection all BGP sessions of the gateway start anew",
		}},
		{"the customer's ASN", []model.Object{changed(customer, func(g *apiv1.CustomerGateway) { g.Spec.Asn = 65011 })}, []string{
			"true connection", "CHANGED CustomerGateway/idc connection shop-idc-1", "  spec.asn: 65010 > 65011: connection all BGP sessions start anew",
		}},
		{"the routing mode", []model.Object{changed(conn, func(x *apiv1.VPNConnection) { x.Spec.Routing = apiv1.RoutingStatic })}, []string{
			"true connection", "CHANGED VPNConnection/shop-idc connection shop-idc-1",
			"  spec.routing: BGP > STATIC: connection all BGP sessions begin or end; SAs and static routes stay",
		}},
		{"the first IPv6 prefix", []model.Object{changed(border, func(g *apiv1.BorderGateway) {
			g.Spec.Attachments[0].Prefixes = append(g.Spec.Attachments[0].Prefixes, "2001:db8::/48")
		})}, []string{
			"true connection", "CHANGED BorderGateway/shop connection shop-idc-1",
			"  spec.attachments[vpc].prefixes: 10.0.0.0/16 > 10.0.0.0/16, 2001:db8::/48: none ",
			"  address families in use: IPv4 > IPv4 and IPv6: connection traffic selectors of all tunnels change; all BGP sessions start anew",
		}},
		{"display name and cordon", []model.Object{
			changed(customer, func(g *apiv1.CustomerGateway) { g.Metadata = &apiv1.Metadata{DisplayName: "Data centre"} }),
			changed(host("gw-a", "198.51.100.1"), func(h *apiv1.GatewayHost) { h.Spec.Cordoned = true }),
		}, []string{
			"true none", "CHANGED CustomerGateway/idc none", "  metadata.displayName:  > Data centre: none ",
			"CHANGED GatewayHost/gw-a none", "  spec.cordoned:  > true: none ",
		}},
		{"what is refused", []model.Object{changed(t1, func(x *apiv1.VPNTunnel) { x.Spec.Mtu = 20 })}, []string{
			"false none", "! VPNTunnel/shop-idc-1 spec.mtu: must be between 576 and 9216 bytes, not 20",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, plan(tc.objects...)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if list, err := r.operator.ListVPNTunnels(t.Context(), &apiv1.ListVPNTunnelsRequest{Filters: []string{"metadata.generation!=1"}}); err != nil || len(list.GetItems()) > 0 {
		t.Errorf("a plan has written %v, %v", list, err)
	}
	if audit, err := r.operator.ListAudit(t.Context(), &apiv1.ListAuditRequest{}); err != nil || len(audit.GetItems()) != 7 {
		t.Errorf("%d entries in the audit log, %v", len(audit.GetItems()), err)
	}
	if _, err := r.client("viewer-bob", "").Plan(t.Context(), &apiv1.PlanResourcesRequest{}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a viewer could try keys: %v", err)
	}
	if _, err := r.operator.Plan(t.Context(), &apiv1.PlanResourcesRequest{Resources: []*apiv1.Resource{{}}}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Error(err)
	}
	// A tunnel that is down on its host may go, as where manifests are files.
	if _, err := r.operator.DeleteVPNTunnel(t.Context(), &apiv1.DeleteVPNTunnelRequest{Name: "shop-idc-2"}); err != nil {
		t.Error(err)
	}
}
