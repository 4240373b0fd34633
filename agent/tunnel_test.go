package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/charon/charontest"
)

func TestTunnelThatGoesDownIsOneDeletedNexthop(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tenant := shop()
		for i := range 40 {
			tenant.routes = append(tenant.routes, fmt.Sprintf("172.17.%d.0/24", i))
		}
		w.charon.Peer = func(conn string, attempt int) charontest.Outcome {
			if conn == "bgw-"+shop1 && attempt > 1 && attempt < 4 {
				return charontest.Silent
			}
			return charontest.Up
		}
		w.startWith(manifests(tenant), shop1, shop2)
		nexthop := w.nexthop(w.device(shop1))
		other := w.device(shop2)

		w.charon.PeerDies("bgw-" + shop1)
		w.down(shop1, "PEER_UNREACHABLE")
		if diff := cmp.Diff([]string{fmt.Sprintf("delete nexthop %#x", nexthop)}, w.kernel.TakeWrites()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
		for _, prefix := range tenant.routes {
			if diff := cmp.Diff([]string{other}, w.devicesOf("shop", prefix)); diff != "" {
				t.Errorf("devices of %s (-want +got):\n%s", prefix, diff)
			}
		}
		if st := w.tunnel(shop1); st.GetMessage() == "" || st.GetSince() == nil {
			t.Errorf("status says too little: %v", st)
		}
		if got := w.connection("shop"); got.GetAvailability() != apiv1.NotHighlyAvailable {
			t.Errorf("connection: %v", got)
		}
		if got := w.gateway("shop").GetTunnelsUp(); got != 1 {
			t.Errorf("%d tunnels up", got)
		}

		w.up(shop1)
		for _, write := range w.kernel.TakeWrites() {
			if strings.Contains(write, "route") {
				t.Errorf("a tunnel that comes back writes a route: %s", write)
			}
		}
		if n := len(w.devicesOf("shop", lan)); n != 2 {
			t.Errorf("route over %d devices", n)
		}
	})
}

func TestConnectionWithoutTunnelsUpHasNoRoute(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		dead := false
		w.charon.Peer = func(string, int) charontest.Outcome {
			mu.Lock()
			defer mu.Unlock()
			if dead {
				return charontest.BadKey
			}
			return charontest.Up
		}
		w.startWith(manifests(shop()), shop1, shop2)
		mu.Lock()
		dead = true
		mu.Unlock()
		w.charon.PeerCloses("bgw-" + shop1)
		w.charon.PeerCloses("bgw-" + shop2)
		w.down(shop1, "AUTHENTICATION_FAILED")
		w.down(shop2, "AUTHENTICATION_FAILED")
		w.until("no route", func() bool { return w.devicesOf("shop", lan) == nil })
		if w.devicesOf("shop", vpc) == nil {
			t.Error("the attachment's route went too")
		}
		i := slices.IndexFunc(w.agent.View().Routes, func(r *apiv1.Route) bool { return r.GetPrefix() == lan })
		if r := w.agent.View().Routes[i]; r.GetInstalled() || r.GetMessage() == "" {
			t.Errorf("route in the view: %v", r)
		}
		if logs := w.agent.View().Logs[shop1]; len(logs) == 0 {
			t.Error("negotiation log is empty")
		}
		mu.Lock()
		dead = false
		mu.Unlock()
		w.up(shop1, shop2)
		if n := len(w.devicesOf("shop", lan)); n != 2 {
			t.Errorf("route over %d devices", n)
		}
	})
}

func TestPeerThatAnswersNoProbesCarriesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.until("probes pass", func() bool { return w.tunnel(shop1).GetProbe() == "PASSING" })
		w.rest()
		w.peers.silence(shop1, true)
		nexthop := w.nexthop(w.device(shop1))
		w.down(shop1, apiv1.ReasonProbeFailed)
		if diff := cmp.Diff([]string{fmt.Sprintf("delete nexthop %#x", nexthop)}, w.kernel.TakeWrites()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
		w.peers.silence(shop1, false)
		w.up(shop1)
		if n := len(w.devicesOf("shop", lan)); n != 2 {
			t.Errorf("route over %d devices", n)
		}
	})
}

func TestCharonThatIsBackInTimeCostsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.installSAs(shop1, shop2)
		w.charon.Disconnect()
		w.pass(status.CharonHold - 2*time.Second)
		w.up(shop1, shop2)
		if writes := w.kernel.TakeWrites(); len(writes) > 0 {
			t.Errorf("writes: %q", writes)
		}
	})
}

// TestCharonThatForgotCostsNothing: a charon that was killed comes back without SAs, and the kernel's carry until it has new ones.
func TestCharonThatForgotCostsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.installSAs(shop1, shop2)
		before := w.tunnel(shop1).GetChildSas()[0].GetUniqueId()
		w.charon.Kill()
		w.pass(2 * time.Second)
		w.charon.Start()
		w.until("a new SA", func() bool {
			sas := w.tunnel(shop1).GetChildSas()
			return w.agent.View().Host.GetCharonConnected() && len(sas) > 0 && sas[0].GetUniqueId() != before
		})
		w.up(shop1, shop2)
		if writes := w.kernel.TakeWrites(); len(writes) > 0 {
			t.Errorf("writes: %q", writes)
		}
	})
}

// TestCharonThatTookItsSAsAlong: nothing carries any more, and waiting would only lose packets.
func TestCharonThatTookItsSAsAlong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.charon.Kill()
		w.down(shop1, apiv1.ReasonCharonUnavailable)
		if w.devicesOf("shop", lan) != nil {
			t.Error("the route stays")
		}
	})
}

func TestCharonThatIsAwayForLong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		w.installSAs(shop1, shop2)
		w.charon.Kill()
		w.until("the view says so", func() bool { return !w.agent.View().Host.GetCharonConnected() })
		died := time.Now()
		w.pass(status.CharonHold - time.Second - time.Since(died))
		if st := w.tunnel(shop1); st.GetRunning() != apiv1.RunningUp {
			t.Errorf("down before the hold ends: %v", st)
		}
		if writes := w.kernel.TakeWrites(); len(writes) > 0 {
			t.Errorf("writes before the hold ends: %q", writes)
		}
		w.pass(2 * time.Second)
		for _, name := range []string{shop1, shop2} {
			if st := w.tunnel(name); st.GetRunning() != apiv1.RunningDown || st.GetReason() != apiv1.ReasonCharonUnavailable {
				t.Errorf("after the hold: %v", st)
			}
		}
		if w.devicesOf("shop", lan) != nil {
			t.Error("the route stays after the hold")
		}
		w.charon.Start()
		w.up(shop1, shop2)
		conns := w.charon.Conns()
		slices.Sort(conns)
		if diff := cmp.Diff([]string{"bgw-" + shop1, "bgw-" + shop2}, conns); diff != "" {
			t.Errorf("charon's connections (-want +got):\n%s", diff)
		}
		if n := len(w.devicesOf("shop", lan)); n != 2 {
			t.Errorf("route over %d devices", n)
		}
		if !w.gateway("shop").GetProgrammed() {
			t.Errorf("conditions stay: %v", w.gateway("shop").GetConditions())
		}
	})
}

func TestChangesThatConcernNoDevice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		before := w.charon.Commands()
		w.write(manifests(shop(), mill()))
		w.pass(5 * time.Minute)
		w.silent("the same manifests", before)

		described := shop()
		described.description = "moved to the new building"
		w.write(manifests(described, mill()))
		w.until("the description is in the view", func() bool {
			return w.agent.View().Connections[1].GetConnection().GetSpec().GetDescription() == described.description
		})
		w.silent("a description", before)

		described.routes = append(described.routes, "172.18.0.0/16")
		w.write(manifests(described, mill()))
		w.until("the new route", func() bool { return len(w.devicesOf("shop", "172.18.0.0/16")) == 2 })
		want := []string{fmt.Sprintf("replace route %d 172.18.0.0/16", w.gateway("shop").GetTable())}
		if diff := cmp.Diff(want, w.kernel.TakeWrites()); diff != "" {
			t.Errorf("one route added (-want +got):\n%s", diff)
		}
		w.silent("one route added", before)
	})
}
