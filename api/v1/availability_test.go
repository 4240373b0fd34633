package apiv1_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

const (
	cloudA, cloudB       = "198.51.100.1", "198.51.100.2"
	customer1, customer2 = "203.0.113.1", "203.0.113.2"
)

func connection(routing string, cloud ...string) *apiv1.VPNConnection {
	return &apiv1.VPNConnection{Name: "c", Spec: &apiv1.VPNConnectionSpec{Routing: routing, CloudAddresses: cloud}}
}

func customer(addresses ...string) *apiv1.CustomerGateway {
	return &apiv1.CustomerGateway{Name: "idc", Spec: &apiv1.CustomerGatewaySpec{Addresses: addresses}}
}

// tun is a tunnel in a state: "UP", "DOWN", "" (silent), "BGP" (up with a session), "DRAINING" (up, on its way out).
func tun(name, cloud, customer, state string) *apiv1.VPNTunnel {
	t := &apiv1.VPNTunnel{Name: name, Spec: &apiv1.VPNTunnelSpec{CloudAddress: cloud, CustomerAddress: customer}}
	switch state {
	case "":
	case "BGP":
		t.Status = &apiv1.VPNTunnelStatus{Running: "UP", Bgp: "ESTABLISHED"}
	case "DRAINING":
		t.Status = &apiv1.VPNTunnelStatus{Running: "UP", Conditions: []*apiv1.Condition{{Type: apiv1.ConditionDraining}}}
	default:
		t.Status = &apiv1.VPNTunnelStatus{Running: state}
	}
	return t
}

func TestEvaluate(t *testing.T) {
	two := customer(customer1, customer2)
	static := connection(apiv1.RoutingStatic, cloudA, cloudB)
	for _, tc := range []struct {
		name     string
		conn     *apiv1.VPNConnection
		customer *apiv1.CustomerGateway
		tunnels  []*apiv1.VPNTunnel
		want     string
		reasons  []string
		messages []string
		failure  []string
	}{
		{"all is well", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudB, customer2, "UP")},
			"HIGHLY_AVAILABLE", nil, nil, nil},
		{"crossed", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer2, "UP"), tun("t2", cloudB, customer1, "UP")},
			"HIGHLY_AVAILABLE", nil, nil, nil},
		{"one tunnel of four down", static, two, []*apiv1.VPNTunnel{
			tun("t1", cloudA, customer1, "UP"), tun("t2", cloudA, customer2, "DOWN"), tun("t3", cloudB, customer1, "UP"), tun("t4", cloudB, customer2, "UP"),
		}, "HIGHLY_AVAILABLE", nil, nil, nil},
		{"up tunnels share the customer's device", static, two, []*apiv1.VPNTunnel{
			tun("t1", cloudA, customer1, "UP"), tun("t2", cloudA, customer2, "DOWN"), tun("t3", cloudB, customer1, "UP"), tun("t4", cloudB, customer2, "DOWN"),
		}, "HIGHLY_AVAILABLE", []string{"UP_TUNNELS_SHARE_CUSTOMER_ADDRESS"},
			[]string{"All tunnels that are up lead to customer address 203.0.113.1."},
			[]string{"Losing customer address 203.0.113.1 would leave no tunnel up."}},
		{"one cloud address down", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudB, customer2, "DOWN")},
			"NOT_HIGHLY_AVAILABLE", []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, []string{"No tunnel is up at cloud address 198.51.100.2."}, []string{
				"Losing cloud address 198.51.100.1 would leave no tunnel up.",
				"Losing customer address 203.0.113.1 would leave no tunnel up.",
				"Losing tunnel t1 would leave no tunnel up.",
			}},
		{"one host silent", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, ""), tun("t2", cloudB, customer2, "UP")},
			"NOT_HIGHLY_AVAILABLE", []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, []string{"No tunnel is up at cloud address 198.51.100.1."}, []string{
				"Losing cloud address 198.51.100.2 would leave no tunnel up.",
				"Losing customer address 203.0.113.2 would leave no tunnel up.",
				"Losing tunnel t2 would leave no tunnel up.",
			}},
		{"all down", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "DOWN"), tun("t2", cloudB, customer2, "DOWN")},
			"NOT_HIGHLY_AVAILABLE", []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, []string{"No tunnel is up at cloud address 198.51.100.1 and 198.51.100.2."},
			[]string{"No tunnel is up: the connection carries nothing already."}},
		{"one device", static, customer(customer1), []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudB, customer1, "UP")},
			"NOT_HIGHLY_AVAILABLE", []string{"SINGLE_CUSTOMER_ADDRESS", "SAME_CUSTOMER_ADDRESS_ON_BOTH_CLOUD_ADDRESSES"}, []string{
				"CustomerGateway idc has fewer than two addresses.", "The tunnels of both cloud addresses lead to customer address 203.0.113.1.",
			}, []string{"Losing customer address 203.0.113.1 would leave no tunnel up."}},
		{"one of two devices used", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudB, customer1, "UP")},
			"NOT_HIGHLY_AVAILABLE", []string{"SAME_CUSTOMER_ADDRESS_ON_BOTH_CLOUD_ADDRESSES"},
			[]string{"The tunnels of both cloud addresses lead to customer address 203.0.113.1."},
			[]string{"Losing customer address 203.0.113.1 would leave no tunnel up."}},
		{"one cloud address unused", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudA, customer2, "UP")},
			"NOT_HIGHLY_AVAILABLE", []string{"CLOUD_ADDRESS_WITHOUT_TUNNEL"}, []string{"No tunnel begins at cloud address 198.51.100.2."},
			[]string{"Losing cloud address 198.51.100.1 would leave no tunnel up."}},
		{"one cloud address", connection(apiv1.RoutingStatic, cloudA), two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudA, customer2, "UP")},
			"NOT_HIGHLY_AVAILABLE", []string{"CLOUD_ADDRESS_WITHOUT_TUNNEL"}, []string{"The connection has only one cloud address."},
			[]string{"Losing cloud address 198.51.100.1 would leave no tunnel up."}},
		{"no tunnels", static, two, nil, "NOT_HIGHLY_AVAILABLE", []string{"CLOUD_ADDRESS_WITHOUT_TUNNEL"},
			[]string{"No tunnel begins at cloud address 198.51.100.1 or 198.51.100.2."}, []string{"No tunnel is up: the connection carries nothing already."}},
		{"BGP on one", connection(apiv1.RoutingBGP, cloudA, cloudB), two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "BGP"), tun("t2", cloudB, customer2, "UP")},
			"HIGHLY_AVAILABLE", []string{"BGP_NOT_ESTABLISHED"}, []string{"BGP is not established on t2."}, []string{
				"Losing cloud address 198.51.100.1 would leave no BGP session established.",
				"Losing customer address 203.0.113.1 would leave no BGP session established.",
				"Losing tunnel t1 would leave no BGP session established.",
			}},
		{"BGP on a tunnel that is down is not expected", connection(apiv1.RoutingBGP, cloudA, cloudB), two, []*apiv1.VPNTunnel{
			tun("t1", cloudA, customer1, "BGP"), tun("t2", cloudB, customer2, "BGP"), tun("t3", cloudB, customer1, "DOWN"),
		}, "HIGHLY_AVAILABLE", nil, nil, nil},
		{"draining", static, two, []*apiv1.VPNTunnel{tun("t1", cloudA, customer1, "UP"), tun("t2", cloudB, customer2, "DRAINING")},
			"HIGHLY_AVAILABLE", []string{"DRAINING"}, []string{"Traffic is being moved away from t2."}, nil},
		{"everything at once", connection(apiv1.RoutingBGP, cloudA, cloudB), customer(customer1), []*apiv1.VPNTunnel{
			tun("t1", cloudA, customer1, "DRAINING"), tun("t2", cloudB, customer1, "DOWN"),
		}, "NOT_HIGHLY_AVAILABLE", []string{
			"SINGLE_CUSTOMER_ADDRESS", "SAME_CUSTOMER_ADDRESS_ON_BOTH_CLOUD_ADDRESSES", "NO_TUNNEL_UP_ON_CLOUD_ADDRESS", "BGP_NOT_ESTABLISHED", "DRAINING",
		}, []string{
			"CustomerGateway idc has fewer than two addresses.", "The tunnels of both cloud addresses lead to customer address 203.0.113.1.",
			"No tunnel is up at cloud address 198.51.100.2.", "BGP is not established on t1.", "Traffic is being moved away from t1.",
		}, []string{
			"Losing cloud address 198.51.100.1 would leave no tunnel up.",
			"Losing customer address 203.0.113.1 would leave no tunnel up.",
			"Losing tunnel t1 would leave no tunnel up.",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			up := 0
			for _, tunnel := range tc.tunnels {
				if tunnel.GetStatus().GetRunning() == "UP" {
					up++
				}
			}
			got := apiv1.Evaluate(tc.conn, tc.customer, tc.tunnels)
			if got.GetAvailability() != tc.want || int(got.GetTunnelsUp()) != up || int(got.GetTunnels()) != len(tc.tunnels) {
				t.Errorf("%s with %d of %d up, want %s", got.GetAvailability(), got.GetTunnelsUp(), got.GetTunnels(), tc.want)
			}
			for _, list := range []struct {
				what      string
				want, got []string
			}{{"reasons", tc.reasons, got.GetReasons()}, {"messages", tc.messages, got.GetMessages()}, {"failures", tc.failure, got.GetOneMoreFailure()}} {
				if diff := cmp.Diff(list.want, list.got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", list.what, diff)
				}
			}
		})
	}
}

func TestFailureOfAHostWithBothCloudAddresses(t *testing.T) {
	t1, t2 := tun("t1", cloudA, customer1, "UP"), tun("t2", cloudB, customer2, "UP")
	t1.Status.Host, t2.Status.Host = "gw-a", "gw-a"
	got := apiv1.Evaluate(connection(apiv1.RoutingStatic, cloudA, cloudB), customer(customer1, customer2), []*apiv1.VPNTunnel{t1, t2})
	want := []string{"Losing host gw-a (cloud address 198.51.100.1, 198.51.100.2) would leave no tunnel up."}
	if diff := cmp.Diff(want, got.GetOneMoreFailure()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEvaluateAgainstTheDefinition tries every state of every layout of up to two by two addresses against the definition,
// written down a second time, and two properties: a tunnel going down never improves the verdict, and the order in which
// tunnels are given never matters.
func TestEvaluateAgainstTheDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, addresses := range [][]string{{customer1}, {customer1, customer2}} {
		for states := range 81 { // each of four pairs: no tunnel, DOWN, UP
			var tunnels []*apiv1.VPNTunnel
			for i, rest := 0, states; i < 4; i, rest = i+1, rest/3 {
				cloud, cust := []string{cloudA, cloudB}[i/2], []string{customer1, customer2}[i%2]
				if slices.Contains(addresses, cust) && rest%3 > 0 {
					tunnels = append(tunnels, tun(fmt.Sprintf("t%d", i), cloud, cust, []string{"", "DOWN", "UP"}[rest%3]))
				}
			}
			conn, cgw := connection(apiv1.RoutingStatic, cloudA, cloudB), customer(addresses...)
			got := apiv1.Evaluate(conn, cgw, tunnels)
			if want := definition(addresses, tunnels); got.GetAvailability() != want {
				t.Errorf("%d addresses, states %d: %s, want %s", len(addresses), states, got.GetAvailability(), want)
			}
			shuffled := slices.Clone(tunnels)
			random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if !proto.Equal(got, apiv1.Evaluate(conn, cgw, shuffled)) {
				t.Errorf("states %d: the order of the tunnels matters", states)
			}
			for i, lost := range tunnels {
				fewer := slices.Clone(tunnels)
				fewer[i] = tun(lost.GetName(), lost.GetSpec().GetCloudAddress(), lost.GetSpec().GetCustomerAddress(), "DOWN")
				if after := apiv1.Evaluate(conn, cgw, fewer); got.GetAvailability() == apiv1.NotHighlyAvailable && after.GetAvailability() == apiv1.HighlyAvailable {
					t.Errorf("states %d: losing %s made it highly available", states, lost.GetName())
				}
			}
		}
	}
}

func definition(addresses []string, tunnels []*apiv1.VPNTunnel) string {
	upA, upB, different := false, false, false
	for _, a := range tunnels {
		upA = upA || a.GetSpec().GetCloudAddress() == cloudA && a.GetStatus().GetRunning() == "UP"
		upB = upB || a.GetSpec().GetCloudAddress() == cloudB && a.GetStatus().GetRunning() == "UP"
		for _, b := range tunnels {
			different = different || a.GetSpec().GetCloudAddress() != b.GetSpec().GetCloudAddress() && a.GetSpec().GetCustomerAddress() != b.GetSpec().GetCustomerAddress()
		}
	}
	if len(addresses) >= 2 && upA && upB && different {
		return apiv1.HighlyAvailable
	}
	return apiv1.NotHighlyAvailable
}

func TestKeepSince(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 22, 18, minute, 0, 0, time.UTC) }
	first := &apiv1.VPNConnectionStatus{Availability: apiv1.HighlyAvailable}
	apiv1.KeepSince(nil, first, at(0))
	same := &apiv1.VPNConnectionStatus{Availability: apiv1.HighlyAvailable, TunnelsUp: 3}
	apiv1.KeepSince(first, same, at(1))
	other := &apiv1.VPNConnectionStatus{Availability: apiv1.HighlyAvailable, Reasons: []string{apiv1.AvailabilityDraining}}
	apiv1.KeepSince(same, other, at(2))
	for i, want := range []time.Time{at(0), at(0), at(2)} {
		if got := []*apiv1.VPNConnectionStatus{first, same, other}[i].GetSince().AsTime(); !got.Equal(want) {
			t.Errorf("status %d: since %s, want %s", i, got, want)
		}
	}
}

func TestTunnelReasonsAreASet(t *testing.T) {
	reasons := apiv1.TunnelReasons()
	slices.Sort(reasons)
	if len(slices.Compact(slices.Clone(reasons))) != len(reasons) || len(reasons) != 16 {
		t.Errorf("%q", reasons)
	}
}
