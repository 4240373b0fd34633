package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// A backup that is put back (docs/operations.md, "Keep it"): the controller has what was in the backup, hosts go on with the newer state
// while it is away and take over the older one when it is back, and writes go on from there.
func TestBackupIsPutBack(t *testing.T) {
	s := newSite(t)
	stop := s.start()
	host := &gateway{name: "gw-a"}
	host.start(t, s, "192.0.2.1")
	resources := []*apiv1.Resource{
		{Resource: &apiv1.Resource_GatewayHost{GatewayHost: &apiv1.GatewayHost{Name: "gw-b", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"192.0.2.2"}}}}},
		{Resource: &apiv1.Resource_BorderGateway{BorderGateway: &apiv1.BorderGateway{Name: "shop", Spec: &apiv1.BorderGatewaySpec{
			Attachments: []*apiv1.Attachment{{Name: "vpc", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"}}}}}}},
	}
	for i := range 3 {
		resources = append(resources, &apiv1.Resource{Resource: &apiv1.Resource_CustomerGateway{CustomerGateway: &apiv1.CustomerGateway{
			Name: fmt.Sprintf("c-%d", i), Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{fmt.Sprintf("203.0.113.%d", i+1)}}}}})
	}
	s.eventually("gw-a is registered", func() bool {
		_, err := s.client("operator-operator").GetGatewayHost(t.Context(), &apiv1.GetGatewayHostRequest{Name: "gw-a"})
		return err == nil
	})
	if _, err := s.client("operator-operator").Apply(t.Context(), &apiv1.ApplyRequest{Resources: resources}); err != nil {
		t.Fatal(err)
	}
	connect := func(i int) {
		t.Helper()
		if _, err := s.client("operator-operator").CreateVPNConnection(t.Context(), &apiv1.CreateVPNConnectionRequest{DefaultTunnels: true,
			VpnConnection: &apiv1.VPNConnection{Name: fmt.Sprintf("n-%d", i), Spec: &apiv1.VPNConnectionSpec{
				BorderGateway: "shop", CustomerGateway: fmt.Sprintf("c-%d", i), Routing: apiv1.RoutingStatic}}}); err != nil {
			t.Fatal(err)
		}
	}
	serves := func(tunnels ...string) {
		t.Helper()
		s.eventually(fmt.Sprintf("gw-a serves %v", tunnels), func() bool { return host.serves(tunnels...) })
	}
	connect(0)
	serves("n-0-1")
	stop()
	data, backup := filepath.Join(s.dir, "etcd"), filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}

	stop = s.start()
	connect(1)
	serves("n-0-1", "n-1-1")
	stop()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	if !host.serves("n-0-1", "n-1-1") {
		t.Error("the host does not go on without a controller")
	}

	s.start()
	serves("n-0-1")
	got, err := s.client("operator-operator").ListVPNConnections(t.Context(), &apiv1.ListVPNConnectionsRequest{})
	if err != nil || len(got.GetItems()) != 1 || got.GetItems()[0].GetName() != "n-0" {
		t.Errorf("after the backup was put back: %v %v", got, err)
	}
	connect(2)
	serves("n-0-1", "n-2-1")
}

// serves says whether the set in force has these tunnels and no others.
func (g *gateway) serves(tunnels ...string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range tunnels {
		if g.set.Tunnels[name] == nil {
			return false
		}
	}
	return len(g.set.Tunnels) == len(tunnels)
}

// eventually waits for a condition.
func (s *site) eventually(what string, is func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if is() {
			return
		}
	}
	s.t.Fatalf("not within a minute: %s", what)
}
