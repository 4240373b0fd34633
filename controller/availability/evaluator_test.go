package availability_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// controllers are stores with an evaluator each, on one etcd.
func controllers(t *testing.T, n int) []*store.Store {
	t.Helper()
	endpoint := storetest.Start(t)
	var out []*store.Store
	for range n {
		s, err := store.Open(t.Context(), store.Options{Client: storetest.Client(t, endpoint), Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := availability.New(availability.Options{Store: s, Log: storetest.Log(t)}).Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		t.Cleanup(func() { cancel(); wg.Wait() })
		out = append(out, s)
	}
	return out
}

func write(t *testing.T, s *store.Store, fn func(*store.Tx)) {
	t.Helper()
	if _, err := s.Write(t.Context(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func put(tx *store.Tx, o model.Object, gateway string) {
	tx.Put(model.RefOf(o), &apiv1.Stored{Resource: model.Wrap(o), BorderGateway: gateway})
}

// shop is a connection with a tunnel on each of two hosts, which are there.
func shop(tx *store.Tx) {
	put(tx, &apiv1.CustomerGateway{Name: "shop", Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{"203.0.113.1", "203.0.113.2"}}}, "")
	put(tx, &apiv1.VPNConnection{Name: "shop", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop", CustomerGateway: "shop", Routing: apiv1.RoutingStatic,
		CloudAddresses: []string{"198.51.100.1", "198.51.100.2"}}}, "")
	for i, host := range []string{"gw-1", "gw-2"} {
		put(tx, &apiv1.GatewayHost{Name: host, Spec: &apiv1.GatewayHostSpec{Addresses: []string{fmt.Sprintf("198.51.100.%d", i+1)}}}, "")
		put(tx, &apiv1.VPNTunnel{Name: fmt.Sprintf("shop-%d", i+1), Spec: &apiv1.VPNTunnelSpec{Connection: "shop",
			CloudAddress: fmt.Sprintf("198.51.100.%d", i+1), CustomerAddress: fmt.Sprintf("203.0.113.%d", i+1)}}, "shop")
		tx.Put(fleet.Host(host), &apiv1.Stored{Host: &apiv1.HostRecord{Name: host}})
		tx.Put(fleet.Presence(host), &apiv1.Stored{Presence: &apiv1.HostPresence{Controller: "one"}})
		turn(tx, fmt.Sprintf("shop-%d", i+1), host, "UP")
	}
}

func turn(tx *store.Tx, tunnel, host, running string) {
	tx.Put(fleet.TunnelStatusRef(tunnel), &apiv1.Stored{TunnelStatus: &apiv1.VPNTunnelStatus{Running: running, Host: host}})
}

func until(t *testing.T, s *store.Store, what string, want func(store.Reader) bool) {
	t.Helper()
	sub := s.Subscribe()
	defer sub.Close()
	for limit := time.After(time.Minute); ; {
		ok := false
		s.View(func(r store.Reader) { ok = want(r) })
		if ok {
			return
		}
		select {
		case <-sub.Wake():
			sub.Take()
		case <-limit:
			t.Fatalf("%s: not so", what)
		}
	}
}

func verdict(words ...string) func(store.Reader) bool {
	return func(r store.Reader) bool {
		st := fleet.ConnectionStatus(r, "shop")
		return st != nil && slices.Equal(append([]string{st.GetAvailability()}, st.GetReasons()...), words)
	}
}

func TestVerdicts(t *testing.T) {
	all := controllers(t, 2)
	s := all[0]
	write(t, s, shop)
	until(t, s, "all is well", verdict(apiv1.HighlyAvailable))
	for _, step := range []struct {
		name   string
		change func(*store.Tx)
		want   []string
	}{
		{"tunnel down", func(tx *store.Tx) { turn(tx, "shop-1", "gw-1", "DOWN") }, []string{apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp}},
		{"tunnel up", func(tx *store.Tx) { turn(tx, "shop-1", "gw-1", "UP") }, []string{apiv1.HighlyAvailable}},
		{"host silent", func(tx *store.Tx) { tx.Delete(fleet.Presence("gw-2")) },
			[]string{apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp, apiv1.AvailabilityHostSilent}},
		{"host back", func(tx *store.Tx) { tx.Put(fleet.Presence("gw-2"), &apiv1.Stored{Presence: &apiv1.HostPresence{}}) }, []string{apiv1.HighlyAvailable}},
		{"customer with one address", func(tx *store.Tx) {
			put(tx, &apiv1.CustomerGateway{Name: "shop", Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{"203.0.113.1"}}}, "")
		}, []string{apiv1.NotHighlyAvailable, apiv1.AvailabilitySingleCustomerAddress}},
		{"tunnel deleted", func(tx *store.Tx) { tx.Delete(store.Ref{Kind: apiv1.KindVPNTunnel, Name: "shop-2"}) },
			[]string{apiv1.NotHighlyAvailable, apiv1.AvailabilitySingleCustomerAddress, apiv1.AvailabilityCloudAddressWithoutTunnel}},
		{"reported by a host that does not own it", func(tx *store.Tx) { turn(tx, "shop-1", "gw-2", "UP") },
			[]string{apiv1.NotHighlyAvailable, apiv1.AvailabilitySingleCustomerAddress, apiv1.AvailabilityCloudAddressWithoutTunnel, apiv1.AvailabilityNoTunnelUp}},
	} {
		write(t, s, step.change)
		until(t, all[1], step.name, verdict(step.want...))
	}
	// One transition for each change, although two controllers evaluate.
	history, _ := availability.History(all[1], "shop")
	if len(history) != 8 {
		t.Errorf("%d transitions: %v", len(history), history)
	}
	for i, tr := range history[1:] {
		if tr.GetBefore() != history[i].GetAfter() {
			t.Errorf("transition %d begins with %s, the one before ends with %s", i+1, tr.GetBefore(), history[i].GetAfter())
		}
	}
	until(t, s, "the deleted tunnel's status is removed", func(r store.Reader) bool { return r.Get(fleet.TunnelStatusRef("shop-2")) == nil })
	write(t, s, func(tx *store.Tx) { tx.Delete(store.Ref{Kind: apiv1.KindVPNConnection, Name: "shop"}) })
	until(t, s, "the deleted connection's verdict is removed", func(r store.Reader) bool { return r.Get(fleet.Availability("shop")) == nil })
}

// The since-time is that of the verdict, not that of the controller; what a controller missed while none ran it makes up for.
func TestSinceOutlivesControllers(t *testing.T) {
	s := controllers(t, 1)[0]
	write(t, s, shop)
	until(t, s, "all is well", verdict(apiv1.HighlyAvailable))
	var since time.Time
	s.View(func(r store.Reader) { since = fleet.ConnectionStatus(r, "shop").GetSince().AsTime() })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := availability.New(availability.Options{Store: s, Log: storetest.Log(t)}).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	write(t, s, func(tx *store.Tx) { turn(tx, "shop-1", "gw-1", "DOWN") })
	until(t, s, "down", verdict(apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp))
	cancel()
	wg.Wait()
	history, _ := availability.History(s, "")
	if len(history) != 2 || !history[0].GetTime().AsTime().Equal(since) || !cmp.Equal(history[1].GetTunnelsUp(), []string{"shop-2"}) {
		t.Errorf("history %v", history)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := controllers(t, 1)[0]
	write(t, s, shop)
	until(t, s, "all is well", verdict(apiv1.HighlyAvailable))
	for range 30 {
		write(t, s, func(tx *store.Tx) { turn(tx, "shop-1", "gw-1", "DOWN") })
		until(t, s, "down", verdict(apiv1.NotHighlyAvailable, apiv1.AvailabilityNoTunnelUp))
		write(t, s, func(tx *store.Tx) { turn(tx, "shop-1", "gw-1", "UP") })
		until(t, s, "up", verdict(apiv1.HighlyAvailable))
	}
	if history, _ := availability.History(s, "shop"); len(history) != 50 || history[49].GetAfter() != apiv1.HighlyAvailable {
		t.Errorf("%d transitions", len(history))
	}
}

// Hosts and tunnels by the thousand become silent at once.
func TestManyConnections(t *testing.T) {
	s := controllers(t, 2)[0]
	const n = 300
	for from := 0; from < n; from += 50 {
		write(t, s, func(tx *store.Tx) {
			if from == 0 {
				shop(tx)
			}
			for i := from; i < from+50; i++ {
				name := fmt.Sprintf("c%03d", i)
				put(tx, &apiv1.VPNConnection{Name: name, Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop", CustomerGateway: "shop",
					Routing: apiv1.RoutingStatic, CloudAddresses: []string{"198.51.100.1", "198.51.100.2"}}}, "")
				for k := range 2 {
					tunnel := fmt.Sprintf("%s-%d", name, k+1)
					put(tx, &apiv1.VPNTunnel{Name: tunnel, Spec: &apiv1.VPNTunnelSpec{Connection: name,
						CloudAddress: fmt.Sprintf("198.51.100.%d", k+1), CustomerAddress: fmt.Sprintf("203.0.113.%d", k+1)}}, "shop")
					turn(tx, tunnel, fmt.Sprintf("gw-%d", k+1), "UP")
				}
			}
		})
	}
	count := func(want string) func(store.Reader) bool {
		return func(r store.Reader) bool {
			k := 0
			for _, rec := range r.All(fleet.KindAvailability) {
				if rec.Value.GetAvailability().GetStatus().GetAvailability() == want {
					k++
				}
			}
			return k == n+1
		}
	}
	until(t, s, "all are well", count(apiv1.HighlyAvailable))
	began := time.Now()
	write(t, s, func(tx *store.Tx) { tx.Delete(fleet.Presence("gw-1")) })
	until(t, s, "none is well", count(apiv1.NotHighlyAvailable))
	t.Logf("%d verdicts after the silence of a host took %s", n+1, time.Since(began))
}
