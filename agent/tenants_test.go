package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestTenantsAreApart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		a, b := w.gateway("shop"), w.gateway("mill")
		if a.GetTable() == b.GetTable() || a.GetVrf() == b.GetVrf() {
			t.Errorf("one table for two: %v, %v", a, b)
		}
		for _, name := range []string{"shop", "mill"} {
			devices := []string{w.device(name + "-1"), w.device(name + "-2")}
			slices.Sort(devices)
			if got := w.devicesOf(name, lan); !slices.Equal(got, devices) {
				t.Errorf("%s: route over %q, not %q", name, got, devices)
			}
		}
	})
}

func TestBrokenTenantHoldsUpNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		table, err := plan.NewIDs().Table.Get("shop")
		if err != nil {
			t.Fatal(err)
		}
		vrf := fmt.Sprintf("bgwv%d", table)
		foreign := w.kernel.AddDevice(vrf)
		w.startWith(manifests(shop(), mill()), mill1, mill2)
		if g := w.gateway("mill"); !g.GetProgrammed() || len(w.devicesOf("mill", lan)) != 2 {
			t.Errorf("mill: %v", g)
		}
		g := w.gateway("shop")
		if g.GetProgrammed() || !slices.ContainsFunc(g.GetConditions(), func(c *apiv1.Condition) bool {
			return c.GetType() == apiv1.ConditionConflict && c.GetObject() == "BorderGateway/shop" && strings.Contains(c.GetMessage(), vrf)
		}) {
			t.Errorf("shop: %v", g)
		}
		if got, err := w.kernel.Outside().Link(vrf); err != nil || got.Index != foreign.Index || got.Alias != "" {
			t.Errorf("the foreign device was touched: %v, %v", got, err)
		}

		// It is tried again, but ever less often, and the condition keeps its time.
		errors, since := w.stats("shop").Errors, g.GetConditions()[0].GetSince().AsTime()
		w.pass(10 * time.Minute)
		tries := w.stats("shop").Errors - errors
		if tries < 10*60/40 || tries > 10*60/10+20 {
			t.Errorf("%d tries in ten minutes", tries)
		}
		if got := w.gateway("shop").GetConditions()[0].GetSince().AsTime(); !got.Equal(since) {
			t.Errorf("the condition is since %v, not %v", got, since)
		}

		if err := w.kernel.Outside().DeleteLink(foreign.Index); err != nil {
			t.Fatal(err)
		}
		w.until("shop is programmed", func() bool { return w.gateway("shop").GetProgrammed() })
		w.up(shop1, shop2)
	})
}

func TestForeignInterfaceInTheWayOfOneTunnel(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id, err := plan.NewIDs().IfID.Get(shop1)
		if err != nil {
			t.Fatal(err)
		}
		device := fmt.Sprintf("bgwx%08x", id)
		foreign := w.kernel.AddDevice(device)
		w.startWith(manifests(shop()), shop2)
		w.down(shop1, apiv1.ReasonInterfaceConflict)
		conditions := w.tunnel(shop1).GetConditions()
		if len(conditions) != 1 || conditions[0].GetType() != apiv1.ConditionConflict || !strings.Contains(conditions[0].GetMessage(), device) {
			t.Errorf("conditions: %v", conditions)
		}
		if got := w.devicesOf("shop", lan); !slices.Equal(got, []string{w.device(shop2)}) {
			t.Errorf("route over %q", got)
		}
		if err := w.kernel.Outside().DeleteLink(foreign.Index); err != nil {
			t.Fatal(err)
		}
		w.up(shop1)
	})
}

func TestAttachmentInterfaceThatIsMissing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kernel.SetRunning("vpc0", false)
		w.startWith(manifests(shop()), shop1, shop2)
		if got := w.gateway("shop").GetAttachments()[0].GetInterface(); got != apiv1.InterfaceDown {
			t.Errorf("attachment is %s", got)
		}
		if w.devicesOf("shop", vpc) != nil {
			t.Error("route to a device without carrier")
		}
		w.kernel.SetRunning("vpc0", true)
		w.until("the route", func() bool { return w.devicesOf("shop", vpc) != nil })
		vpc0, err := w.kernel.Outside().Link("vpc0")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.kernel.Outside().DeleteLink(vpc0.Index); err != nil {
			t.Fatal(err)
		}
		w.until("missing", func() bool { return w.gateway("shop").GetAttachments()[0].GetInterface() == apiv1.InterfaceMissing })
		if w.gateway("shop").GetProgrammed() {
			t.Error("programmed without its attachment")
		}
		w.kernel.AddDevice("vpc0")
		w.until("back", func() bool { return w.devicesOf("shop", vpc) != nil && w.gateway("shop").GetProgrammed() })
	})
}

// downAll are the tenant's manifests with all tunnels DOWN, after which they may be removed.
func (c tenant) downAll() tenant {
	c.specs = map[string]string{c.name + "-1": "adminState: DOWN", c.name + "-2": "adminState: DOWN"}
	return c
}

func TestGatewayThatGoesAndComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		for range 3 {
			w.write(manifests(shop().downAll(), mill()))
			w.down(shop1, apiv1.ReasonAdminDown)
			w.down(shop2, apiv1.ReasonAdminDown)
			table, vrf := w.gateway("shop").GetTable(), w.gateway("shop").GetVrf()
			w.write(manifests(mill()))
			w.until("shop is gone", func() bool { return w.gateway("shop") == nil && w.workerCount() == 1 })
			if _, err := w.kernel.Outside().Link(vrf); err == nil {
				t.Errorf("%s stays", vrf)
			}
			for _, r := range w.allRoutes() {
				if r.Table == table {
					t.Errorf("route stays: %v", r)
				}
			}
			if vpc0, err := w.kernel.Outside().Link("vpc0"); err != nil || vpc0.Master != 0 {
				t.Errorf("the attachment's interface is not released: %v, %v", vpc0, err)
			}
			if _, ok := w.firewall.gateway("shop"); ok {
				t.Error("the firewall keeps it")
			}
			w.write(manifests(shop(), mill()))
			w.up(shop1, shop2)
			if len(w.devicesOf("shop", lan)) != 2 || len(w.devicesOf("shop", vpc)) != 1 {
				t.Error("routes did not come back")
			}
		}
		if got := len(w.agent.View().Gateways); got != 2 {
			t.Errorf("%d gateways", got)
		}
	})
}

func TestGatewayThatGoesWhileCharonCannotBeReached(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tenant := shop()
		tenant.specs[shop1] = "adminState: DOWN"
		w.startWith(manifests(tenant, mill()), shop2, mill1, mill2)
		w.cut.Store(true)
		w.charon.Disconnect()
		w.write(manifests(shop().downAll(), mill()))
		w.down(shop2, apiv1.ReasonAdminDown)
		if w.devicesOf("shop", lan) != nil {
			t.Error("the route stays until charon is back")
		}
		w.write(manifests(mill()))
		w.pass(100 * time.Millisecond)
		if w.gateway("shop") != nil || w.tunnel(shop2) != nil {
			t.Error("shop is shown until charon is back")
		}
		if ikes, _ := w.charon.SAs("bgw-" + shop2); ikes == 0 {
			t.Fatal("charon was reached")
		}
		w.cut.Store(false)
		w.until("charon has nothing of the shop", func() bool {
			ikes, _ := w.charon.SAs("bgw-" + shop2)
			return ikes == 0 && len(w.charon.Conns()) == 2 && len(w.charon.Secrets()) == 2
		})
		w.until("the shop is gone", func() bool { return w.workerCount() == 1 })
		w.up(mill1, mill2)
	})
}

func TestGatewayThatIsWantedAgainWhileItGoes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop().downAll(), mill()), mill1, mill2)
		w.charon.Kill()
		w.write(manifests(mill()))
		w.until("shop is not shown", func() bool { return w.gateway("shop") == nil })
		w.write(manifests(shop(), mill()))
		w.until("shop is shown", func() bool { return w.gateway("shop") != nil })
		w.charon.Start()
		w.up(shop1, shop2, mill1, mill2)
		if len(w.devicesOf("shop", lan)) != 2 || len(w.devicesOf("shop", vpc)) != 1 {
			t.Error("routes did not come back")
		}
	})
}

func (w *world) workerCount() int {
	w.agent.mu.Lock()
	defer w.agent.mu.Unlock()
	return len(w.agent.workers)
}
