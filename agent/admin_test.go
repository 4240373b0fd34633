package agent

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestAdminDownTakesRoutesAwayBeforeTheSAs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		var written []string // to the kernel, when charon is told to terminate
		terminated := 0
		w.onTerminate(func() {
			mu.Lock()
			defer mu.Unlock()
			terminated++
			written = append(written, w.kernel.TakeWrites()...)
		})
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		before := w.charon.Commands()
		nexthop, device, mate := w.nexthop(w.device(shop1)), w.device(shop1), w.device(shop2)
		others := w.sas()

		tenant := shop()
		tenant.specs[shop1] = "adminState: DOWN"
		w.write(manifests(tenant, mill()))
		w.down(shop1, apiv1.ReasonAdminDown)
		w.until("SAs are closed", func() bool { ikes, _ := w.charon.SAs("bgw-" + shop1); return ikes == 0 })
		mu.Lock()
		if terminated == 0 || !slices.Equal(written, []string{fmt.Sprintf("delete nexthop %#x", nexthop)}) {
			t.Errorf("written before the %d terminates: %q", terminated, written)
		}
		mu.Unlock()
		if got := w.devicesOf("shop", lan); !slices.Equal(got, []string{mate}) {
			t.Errorf("route over %q", got)
		}
		if slices.Contains(w.charon.Conns(), "bgw-"+shop1) || w.charon.Secrets()["bgw-"+shop1].Data != "" {
			t.Error("charon still has the tunnel")
		}
		if st := w.tunnel(shop1); st.GetAdmin() != apiv1.AdminStateDown || st.GetInterface() != apiv1.InterfaceUp {
			t.Errorf("status: %v", st)
		}
		w.rest()
		w.pass(time.Hour)
		w.silent("nothing else to do", append(before, w.changes(before)...))

		tenant.without[shop1] = true
		w.write(manifests(tenant, mill()))
		w.until("gone from the view", func() bool { return w.tunnel(shop1) == nil })
		if _, err := w.kernel.Outside().Link(device); err == nil {
			t.Error("the interface stays")
		}
		// The route moves to a group of those that are left; nothing of other tunnels and of the other gateway is touched.
		touched := []string{w.device(shop2), w.device(mill1), w.device(mill2), fmt.Sprintf("route %d ", w.gateway("mill").GetTable()), vpc}
		for _, name := range []string{shop2, mill1, mill2} {
			touched = append(touched, fmt.Sprintf("nexthop %#x", w.nexthop(w.device(name))))
		}
		for _, line := range w.kernel.TakeWrites() {
			if slices.ContainsFunc(touched, func(s string) bool { return strings.Contains(line, s) }) {
				t.Errorf("removal of %s writes: %s", shop1, line)
			}
		}
		for _, command := range w.changes(before) {
			if !strings.Contains(command, shop1) {
				t.Errorf("charon was told %q", command)
			}
		}
		delete(others, shop1)
		for name, id := range others {
			if w.tunnel(name).GetRunning() != apiv1.RunningUp || w.sas()[name] != id {
				t.Errorf("%s was disturbed: %v", name, w.tunnel(name))
			}
		}

		if shop := w.agent.workers["shop"]; len(shop.up) != 1 || len(shop.children) != 1 || len(shop.suites) != 1 {
			t.Errorf("the worker remembers %v, %v, %v", shop.up, shop.children, shop.suites)
		}

		// And back again, as another day's tunnel.
		w.write(manifests(shop(), mill()))
		w.up(shop1)
		if n := len(w.devicesOf("shop", lan)); n != 2 {
			t.Errorf("route over %d devices", n)
		}
	})
}

func TestAdminUpAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tenant := shop()
		tenant.specs[shop1] = "adminState: DOWN"
		w.startWith(manifests(tenant), shop2)
		w.down(shop1, apiv1.ReasonAdminDown)
		w.write(manifests(shop()))
		w.up(shop1)
		for _, line := range w.kernel.TakeWrites() {
			// Only the negotiation tells the MTU exactly.
			if strings.HasPrefix(line, "link") && !strings.Contains(line, "mtu") || strings.Contains(line, "route") {
				t.Errorf("admin UP writes: %s", line)
			}
		}
	})
}

func TestChangedParametersOfOneTunnelDisturbNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		before := w.charon.Commands()
		others := w.sas()
		tenant := shop()
		tenant.specs[shop1] = "mtu: 1380, dpd: {interval: 20s}"
		w.write(manifests(tenant))
		w.until("the new MTU", func() bool { return w.tunnel(shop1).GetMtu() == 1380 })
		w.until("the new connection", func() bool { return len(w.changes(before)) > 0 })
		w.pass(time.Minute)
		if diff := w.kernel.TakeWrites(); !slices.Equal(diff, []string{"link " + w.device(shop1) + ": mtu 1380"}) {
			t.Errorf("writes: %q", diff)
		}
		for _, command := range w.changes(before) {
			if strings.Contains(command, shop2) {
				t.Errorf("charon was told %q", command)
			}
		}
		if w.sas()[shop2] != others[shop2] {
			t.Errorf("%s has new SAs", shop2)
		}
		w.up(shop1, shop2)
	})
}

// sas are the unique ids of the tunnels' CHILD_SAs.
func (w *world) sas() map[string]string {
	out := map[string]string{}
	for _, t := range w.agent.View().Tunnels {
		for _, c := range t.GetStatus().GetChildSas() {
			out[t.GetName()] += fmt.Sprint(c.GetUniqueId(), " ")
		}
	}
	return out
}
