package hosts_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/prototext"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/internal/secret"
)

var errDone = errors.New("seen enough")

// up: the tunnels that the test plays have no BGP sessions, so there is always an advisory reason.
func up(st *apiv1.VPNConnectionStatus) bool {
	return st.GetAvailability() == apiv1.HighlyAvailable
}

func TestFleet(t *testing.T) {
	w := newWorld(t)
	one, two := w.controller("one"), w.controller("two")
	a := w.agent("gw-a", "z1", "198.51.100.1", one, two)
	b := w.agent("gw-b", "z2", "198.51.100.2", two, one)
	one.until("the hosts", func(r store.Reader) bool {
		return r.Get(store.Ref{Kind: apiv1.KindGatewayHost, Name: "gw-a"}) != nil && r.Get(store.Ref{Kind: apiv1.KindGatewayHost, Name: "gw-b"}) != nil
	}, func() string { return "" })
	one.apply(shop()...)

	hasTunnels := func(names ...string) func(*apiv1.Set) bool {
		return func(s *apiv1.Set) bool { return slices.Equal(apiv1.Names(s.Tunnels), names) }
	}
	setA, setB := a.next(hasTunnels("shop-1")), b.next(hasTunnels("shop-2"))
	if !setA.PSK("shop-1").Equal(secret.New(pskMark+"shop-1")) || !setB.PSK("shop-2").Equal(secret.New(pskMark+"shop-2")) {
		t.Error("a host has another key than was written")
	}
	if len(setA.BorderGateways) != 1 || len(setA.CustomerGateways) != 1 || len(setA.Connections) != 1 || len(setA.BorderGateways["shop"].GetSpec().GetStaticRoutes()) != 1 {
		t.Errorf("gw-a serves %v", setA)
	}
	for _, c := range []*controller{one, two} {
		c.connection("shop", up)
	}

	t.Run("verdicts follow within a second", func(t *testing.T) {
		var delays []time.Duration
		for i := range 20 {
			began := time.Now()
			a.turn("shop-1", i%2 == 1)
			for _, c := range []*controller{one, two} {
				c.connection("shop", func(st *apiv1.VPNConnectionStatus) bool { return up(st) == (i%2 == 1) })
			}
			delays = append(delays, time.Since(began))
		}
		slices.Sort(delays)
		t.Logf("verdict known to both controllers after %s (median), %s (longest)", delays[10], delays[19])
		if delays[10] > time.Second {
			t.Errorf("verdicts take %v", delays)
		}
		var status *apiv1.VPNTunnelStatus
		one.Store.View(func(r store.Reader) {
			status = fleet.TunnelStatus(r, fleet.Object[*apiv1.VPNTunnel](r, apiv1.KindVPNTunnel, "shop-1"))
		})
		if status.GetRunning() != apiv1.RunningUp || status.GetHost() != "gw-a" || status.GetCounters() != nil {
			t.Errorf("status %v", status)
		}
	})

	t.Run("what agents do not act on reaches none", func(t *testing.T) {
		before := one.server.Stats().Snapshots + two.server.Stats().Snapshots
		change(one, apiv1.KindVPNConnection, "shop", func(c *apiv1.VPNConnection) { c.Spec.Description, c.Metadata.DisplayName = "x", "Shop" })
		change(one, apiv1.KindVPNTunnel, "shop-1", func(c *apiv1.VPNTunnel) { c.Spec.Description = "y" })
		// gw-b's tunnel alone: what gw-a gets next would have to be this.
		change(two, apiv1.KindVPNTunnel, "shop-2", func(c *apiv1.VPNTunnel) { c.Spec.Mtu = 1380 })
		b.next(func(s *apiv1.Set) bool { return s.Tunnels["shop-2"].GetSpec().GetMtu() == 1380 })
		change(one, apiv1.KindVPNTunnel, "shop-1", func(c *apiv1.VPNTunnel) { c.Spec.Mtu = 1390 })
		a.next(func(s *apiv1.Set) bool { return s.Tunnels["shop-1"].GetSpec().GetMtu() == 1390 })
		if n := one.server.Stats().Snapshots + two.server.Stats().Snapshots - before; n != 2 {
			t.Errorf("%d snapshots for two changes that concern a host each", n)
		}
	})

	t.Run("a controller is killed", func(t *testing.T) {
		before, _ := availability.History(two.Store, "shop")
		one.kill()
		two.until("the sessions", func(r store.Reader) bool {
			return fleet.HostStatus(r, "gw-a").GetController() == "two" && fleet.HostStatus(r, "gw-b").GetController() == "two"
		}, func() string { return "" })
		if after, _ := availability.History(two.Store, "shop"); len(after) != len(before) {
			t.Errorf("the verdict changed: %v", after[len(before):])
		}
		change(two, apiv1.KindVPNTunnel, "shop-1", func(c *apiv1.VPNTunnel) { c.Spec.Mtu = 1385 })
		a.next(func(s *apiv1.Set) bool { return s.Tunnels["shop-1"].GetSpec().GetMtu() == 1385 })
	})

	t.Run("an agent is stopped and comes back", func(t *testing.T) {
		before, _ := availability.History(two.Store, "shop")
		var events []string
		_, revision := availability.History(two.Store, "shop")
		began := time.Now()
		a.stop()
		st := two.connection("shop", func(st *apiv1.VPNConnectionStatus) bool { return !up(st) })
		t.Logf("the silence of a host is known after %s, with a lease of %s", time.Since(began).Round(time.Millisecond), lease)
		if !slices.Contains(st.GetReasons(), apiv1.AvailabilityNoTunnelUp) || !slices.Contains(st.GetReasons(), apiv1.AvailabilityHostSilent) {
			t.Errorf("verdict %v", st)
		}
		var silent *apiv1.VPNTunnelStatus
		two.until("the silence", func(r store.Reader) bool {
			silent = fleet.TunnelStatus(r, fleet.Object[*apiv1.VPNTunnel](r, apiv1.KindVPNTunnel, "shop-1"))
			return silent.GetSince() != nil
		}, func() string { return silent.String() })
		if silent.GetRunning() != apiv1.RunningDown || silent.GetReason() != apiv1.ReasonHostSilent || silent.GetHost() != "gw-a" || silent.GetMessage() == "" {
			t.Errorf("status %v", silent)
		}
		three := w.controller("three")
		three.connection("shop", func(again *apiv1.VPNConnectionStatus) bool {
			return cmp.Equal(again.GetSince().AsTime(), st.GetSince().AsTime())
		})

		a.start()
		two.connection("shop", up)
		after, _ := availability.History(two.Store, "shop")
		if len(after) != len(before)+2 {
			t.Errorf("%d transitions for a silence and its end: %v", len(after)-len(before), after[len(before):])
		}
		err := availability.Watch(t.Context(), three.Store, revision, func(tr *apiv1.Transition, _ int64) error {
			events = append(events, tr.GetBefore()+" "+tr.GetAfter())
			if len(events) == 2 {
				return errDone
			}
			return nil
		})
		if diff := cmp.Diff([]string{"HIGHLY_AVAILABLE NOT_HIGHLY_AVAILABLE", "NOT_HIGHLY_AVAILABLE HIGHLY_AVAILABLE"}, events); diff != "" || !errors.Is(err, errDone) {
			t.Error(err, diff)
		}
	})

	t.Run("resources are shown with what is true of them", func(t *testing.T) {
		poll, limit := time.NewTicker(10*time.Millisecond), time.After(patience)
		defer poll.Stop()
		for two.server.Counters("shop-2") == nil {
			select {
			case <-poll.C:
			case <-limit:
				t.Fatal("no counters")
			}
		}
		for ref, want := range map[store.Ref]func(model.Object) bool{
			{Kind: apiv1.KindVPNTunnel, Name: "shop-2"}: func(o model.Object) bool {
				st := o.(*apiv1.VPNTunnel).GetStatus()
				return st.GetRunning() == apiv1.RunningUp && st.GetCounters().GetBytesIn() == 7
			},
			{Kind: apiv1.KindVPNConnection, Name: "shop"}: func(o model.Object) bool { return up(o.(*apiv1.VPNConnection).GetStatus()) },
			{Kind: apiv1.KindGatewayHost, Name: "gw-b"}: func(o model.Object) bool {
				st := o.(*apiv1.GatewayHost).GetStatus()
				return st.GetState() == apiv1.HostReporting && st.GetController() == "two" && st.GetTunnels() == 1 && st.GetAgentVersion() == "test"
			},
		} {
			if o, err := two.Get(t.Context(), ref); err != nil || !want(o) {
				t.Errorf("%s: %v, %v", ref, o, err)
			}
		}
	})

	t.Run("no key is anywhere in clear", func(t *testing.T) {
		resp, err := two.client.Get(t.Context(), "", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Kvs) < 15 {
			t.Errorf("only %d keys", len(resp.Kvs))
		}
		for _, kv := range resp.Kvs {
			if strings.Contains(string(kv.Value), pskMark) {
				t.Errorf("%s has a key in clear", kv.Key)
			}
		}
		for _, x := range []struct {
			a       *agent
			foreign string
		}{{a, "shop-2"}, {b, "shop-1"}} {
			if len(x.a.heard()) == 0 {
				t.Errorf("%s heard nothing", x.a.name)
			}
			for _, m := range x.a.heard() {
				text := prototext.Format(m)
				if strings.Contains(text, pskMark) || strings.Contains(text, x.foreign) {
					t.Errorf("%s hears what is not for it: %s", x.a.name, text)
				}
			}
		}
	})
}
