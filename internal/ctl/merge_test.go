package ctl_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/ctl"
)

const (
	cloud1, cloud2       = "198.51.100.1", "198.51.100.2"
	customer1, customer2 = "203.0.113.1", "203.0.113.2"
)

// tunnel is one with a state that began some minutes ago; an empty state stands for no status.
func tunnel(name, cloud, customer, running string, minutes int) *apiv1.VPNTunnel {
	t := &apiv1.VPNTunnel{Name: name, Spec: &apiv1.VPNTunnelSpec{Connection: "shop-idc", CloudAddress: cloud, CustomerAddress: customer}}
	if running != "" {
		t.Status = &apiv1.VPNTunnelStatus{
			Admin: "UP", Running: running, Host: "owner of " + cloud, Bgp: "ESTABLISHED", Since: ago(time.Duration(minutes) * time.Minute),
		}
	}
	return t
}

func view(ownMinutes int, tunnels ...*apiv1.VPNTunnel) []*apiv1.ConnectionView {
	c := connection()
	c.Status = &apiv1.VPNConnectionStatus{Availability: "NOT_HIGHLY_AVAILABLE", Since: ago(time.Duration(ownMinutes) * time.Minute)}
	return []*apiv1.ConnectionView{{Connection: c, CustomerGateway: customer(), Tunnels: tunnels}}
}

func TestMergedVerdict(t *testing.T) {
	tests := map[string]struct {
		answers      [][]*apiv1.ConnectionView
		availability string
		reasons      []string
		minutes      int
		up, all      uint32
	}{
		"highly available since the second address came up": {
			answers: [][]*apiv1.ConnectionView{
				view(50, tunnel("a", cloud1, customer1, "UP", 30), tunnel("b", cloud2, customer2, "", 0)),
				view(60, tunnel("a", cloud1, customer1, "", 0), tunnel("b", cloud2, customer2, "UP", 7)),
			},
			availability: "HIGHLY_AVAILABLE", minutes: 7, up: 2, all: 2,
		},
		"a second tunnel of an address that flaps does not date the verdict": {
			answers: [][]*apiv1.ConnectionView{
				view(50, tunnel("a", cloud1, customer1, "UP", 30), tunnel("a2", cloud1, customer2, "UP", 1), tunnel("b", cloud2, customer2, "", 0)),
				view(60, tunnel("a", cloud1, customer1, "", 0), tunnel("b", cloud2, customer2, "UP", 20)),
			},
			availability: "HIGHLY_AVAILABLE", minutes: 20, up: 3, all: 3,
		},
		"not since an address lost its last tunnel": {
			answers: [][]*apiv1.ConnectionView{
				view(50, tunnel("a", cloud1, customer1, "UP", 30), tunnel("b", cloud2, customer1, "", 0), tunnel("b2", cloud2, customer2, "", 0)),
				view(60, tunnel("b", cloud2, customer1, "DOWN", 9), tunnel("b2", cloud2, customer2, "DOWN", 4)),
			},
			availability: "NOT_HIGHLY_AVAILABLE", reasons: []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, minutes: 4, up: 1, all: 3,
		},
		"both down: the first loss dates it": {
			answers: [][]*apiv1.ConnectionView{
				view(50, tunnel("a", cloud1, customer1, "DOWN", 3), tunnel("b", cloud2, customer2, "", 0)),
				view(60, tunnel("a", cloud1, customer1, "", 0), tunnel("b", cloud2, customer2, "DOWN", 8)),
			},
			availability: "NOT_HIGHLY_AVAILABLE", reasons: []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, minutes: 8, up: 0, all: 2,
		},
		"the layout decides: the agents' newest time": {
			answers: [][]*apiv1.ConnectionView{
				view(50, tunnel("a", cloud1, customer1, "UP", 3), tunnel("b", cloud2, customer1, "", 0)),
				view(40, tunnel("a", cloud1, customer1, "", 0), tunnel("b", cloud2, customer1, "UP", 8)),
			},
			availability: "NOT_HIGHLY_AVAILABLE", reasons: []string{"SAME_CUSTOMER_ADDRESS_ON_BOTH_CLOUD_ADDRESSES"}, minutes: 40, up: 2, all: 2,
		},
		"one agent's own verdict stands": {
			answers:      [][]*apiv1.ConnectionView{view(50, tunnel("a", cloud1, customer1, "UP", 3), tunnel("b", cloud2, customer2, "", 0)), nil},
			availability: "NOT_HIGHLY_AVAILABLE", minutes: 50,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := make([]proto.Message, 0, len(tc.answers))
			for _, list := range tc.answers {
				for _, v := range list {
					before = append(before, proto.Clone(v))
				}
			}
			merged := ctl.MergeConnections(tc.answers)
			if len(merged) != 1 {
				t.Fatalf("%d connections, want 1", len(merged))
			}
			got := merged[0].GetConnection().GetStatus()
			if got.GetAvailability() != tc.availability || got.GetTunnelsUp() != tc.up || got.GetTunnels() != tc.all {
				t.Errorf("%s with %d of %d up, want %s with %d of %d", got.GetAvailability(), got.GetTunnelsUp(), got.GetTunnels(), tc.availability, tc.up, tc.all)
			}
			if diff := cmp.Diff(tc.reasons, got.GetReasons()); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if want := ago(time.Duration(tc.minutes) * time.Minute); !proto.Equal(want, got.GetSince()) {
				t.Errorf("since %s, want %s", got.GetSince().AsTime(), want.AsTime())
			}
			i := 0
			for _, list := range tc.answers {
				for _, v := range list {
					if diff := cmp.Diff(before[i], proto.Message(v), protocmp.Transform()); diff != "" {
						t.Errorf("an answer was changed (-before +after):\n%s", diff)
					}
					i++
				}
			}
		})
	}
}

func TestTheOwnersStatusCounts(t *testing.T) {
	statusOf := func(answers ...[]*apiv1.ConnectionView) *apiv1.VPNTunnelStatus {
		return ctl.MergeConnections(answers)[0].GetTunnels()[0].GetStatus()
	}
	owned := view(1, tunnel("a", cloud1, customer1, "DOWN", 5))
	other := view(1, tunnel("a", cloud1, customer1, "", 0))
	for _, order := range [][][]*apiv1.ConnectionView{{owned, other}, {other, owned}} {
		if got := statusOf(order...); got.GetHost() != "owner of "+cloud1 {
			t.Errorf("status = %v, want the owner's", got)
		}
	}
	carrying := view(1, tunnel("a", cloud1, customer1, "UP", 60))
	for _, order := range [][][]*apiv1.ConnectionView{{owned, carrying}, {carrying, owned}} {
		if got := statusOf(order...); got.GetRunning() != "UP" {
			t.Errorf("of two owners, %v counts, want the one that carries traffic", got)
		}
	}
	silent := statusOf(other)
	if silent.GetRunning() != "DOWN" || silent.GetReason() != "HOST_SILENT" || silent.GetAdmin() != "UP" {
		t.Errorf("status of a tunnel nobody reports on = %v", silent)
	}
}
