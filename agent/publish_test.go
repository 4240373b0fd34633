package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func namesOf[T any](list []T, name func(T) string) []string {
	var out []string
	for _, x := range list {
		out = append(out, name(x))
	}
	return out
}

func part(gateway string, tunnels ...string) fragment {
	f := fragment{gateway: &apiv1.BorderGateway{Name: gateway}, stats: status.ReconcileStats{Gateway: gateway},
		logs: map[string][]*apiv1.LogEntry{}}
	for _, t := range tunnels {
		f.tunnels = append(f.tunnels, &apiv1.VPNTunnel{Name: t})
		f.connections = append(f.connections, &apiv1.ConnectionView{Connection: &apiv1.VPNConnection{Name: "c-" + t}})
		f.logs[t] = nil
	}
	f.routes = []*apiv1.Route{{Gateway: gateway, Prefix: "10.0.0.0/8"}}
	return f
}

func TestViewIsSorted(t *testing.T) {
	p := newPublisher(func() *apiv1.GetHostResponse { return &apiv1.GetHostResponse{Host: "gw-a"} }, func(*apiv1.HostEvent) {})
	if p.view.Load() == nil {
		t.Fatal("no view at first")
	}
	p.put("b", part("b", "a2", "z"))
	p.put("a", part("a", "b", "a1"))
	p.publish()
	v := p.view.Load()
	for what, got := range map[string][]string{
		"gateways":    namesOf(v.Gateways, (*apiv1.BorderGateway).GetName),
		"routes":      namesOf(v.Routes, (*apiv1.Route).GetGateway),
		"reconcile":   namesOf(v.Reconcile, func(s status.ReconcileStats) string { return s.Gateway }),
		"tunnels":     namesOf(v.Tunnels, (*apiv1.VPNTunnel).GetName),
		"connections": namesOf(v.Connections, func(c *apiv1.ConnectionView) string { return c.GetConnection().GetName() }),
	} {
		if len(got) < 2 || !slices.IsSorted(got) {
			t.Errorf("%s: %q", what, got)
		}
	}
	if len(v.Logs) != 4 {
		t.Errorf("logs of %d tunnels", len(v.Logs))
	}
	p.drop("b")
	p.publish()
	if now := p.view.Load(); len(now.Gateways) != 1 || len(now.Tunnels) != 2 || len(v.Gateways) != 2 {
		t.Errorf("after a drop: %v; the view before: %v", now.Gateways, v.Gateways)
	}
}

func TestManyChangesMakeOneView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		p := newPublisher(func() *apiv1.GetHostResponse { made++; return &apiv1.GetHostResponse{} }, func(*apiv1.HostEvent) {})
		for i := range 1000 {
			p.put(fmt.Sprint(i%7), part(fmt.Sprint(i%7)))
		}
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(done); p.run(ctx) }()
		synctest.Wait()
		if made != 2 || len(p.view.Load().Gateways) != 7 {
			t.Errorf("%d views, the last with %d gateways", made, len(p.view.Load().Gateways))
		}
		cancel()
		<-done
	})
}

func TestPublishedViewsDoNotChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		view := w.agent.View()
		logged := len(view.Logs[shop1])
		var before []proto.Message
		for _, m := range messages(view) {
			before = append(before, proto.Clone(m))
		}
		w.charon.PeerDies("bgw-" + shop1)
		w.pass(10 * time.Second)
		tenant := shop()
		tenant.specs[shop1] = "adminState: DOWN"
		w.write(manifests(tenant))
		w.down(shop1, apiv1.ReasonAdminDown)
		if diff := cmp.Diff(before, messages(view), protocmp.Transform()); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
		if len(view.Logs[shop1]) != logged {
			t.Error("the log of an old view has grown")
		}
	})
}

func messages(v *status.View) []proto.Message {
	out := []proto.Message{v.Host}
	for _, g := range v.Gateways {
		out = append(out, g)
	}
	for _, c := range v.Connections {
		out = append(out, c)
	}
	for _, t := range v.Tunnels {
		out = append(out, t)
	}
	for _, r := range v.Routes {
		out = append(out, r)
	}
	return out
}

func TestConditionsKeepTheirSince(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 300_000_000, time.UTC)
	var first, second, third problems
	first.add("b", errors.New("x"))
	first.add("a", errors.New("y"))
	first.add("a", errors.New("y"))
	first.note(apiv1.ConditionNotProgrammed, "c", "%d too many", 3)
	before := first.conditions(nil, start)
	if got := namesOf(before, (*apiv1.Condition).GetObject); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("objects: %q", got)
	}
	if !before[0].GetSince().AsTime().Equal(start.Truncate(time.Second)) {
		t.Errorf("since %v", before[0].GetSince().AsTime())
	}
	second.add("a", errors.New("y"))
	second.addConflict("b", errors.New("x"), true)
	after := second.conditions(before, start.Add(time.Minute))
	if !proto.Equal(before[0], after[0]) {
		t.Errorf("what stays: %v, before %v", after[0], before[0])
	}
	if after[1].GetType() != apiv1.ConditionConflict || after[1].GetSince().AsTime().Equal(before[1].GetSince().AsTime()) {
		t.Errorf("what is another problem: %v", after[1])
	}
	if got := third.conditions(after, start); got != nil {
		t.Errorf("no problems: %v", got)
	}
	if !first.retry || third.retry {
		t.Error("errors ask for a retry, nothing else does")
	}
	var noted problems
	noted.note(apiv1.ConditionConflict, "a", "b")
	if noted.retry || noted.errs() != "a: b" {
		t.Errorf("a note: %v", noted)
	}
}

func TestAbout(t *testing.T) {
	all := []*apiv1.Condition{{Object: "VPNTunnel/a"}, {Object: "VPNTunnel/a/x"}, {Object: "VPNTunnel/ab"}, {Object: "BorderGateway/a"}}
	if got := namesOf(about(all, "VPNTunnel/a"), (*apiv1.Condition).GetObject); !slices.Equal(got, []string{"VPNTunnel/a", "VPNTunnel/a/x"}) {
		t.Errorf("%q", got)
	}
}

func TestTunnelWarnings(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tenant := shop()
		tenant.specs[shop1] = "ike: {proposals: [aes128-sha1-modp1024]}"
		w.startWith(manifests(tenant), shop1, shop2)
		conditions := w.tunnel(shop1).GetConditions()
		if len(conditions) == 0 || conditions[0].GetType() != apiv1.ConditionWeakProposal || conditions[0].GetSince() == nil {
			t.Errorf("conditions: %v", conditions)
		}
		if got := w.tunnel(shop2).GetConditions(); len(got) > 0 {
			t.Errorf("conditions of %s: %v", shop2, got)
		}
		if !w.gateway("shop").GetProgrammed() {
			t.Error("a warning is no failure")
		}
	})
}
