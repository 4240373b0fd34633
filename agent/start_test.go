package agent

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/netlink"
)

func TestBothTunnelsComeUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		devices := []string{w.device(shop1), w.device(shop2)}
		slices.Sort(devices)
		if diff := cmp.Diff(devices, w.devicesOf("shop", lan)); diff != "" {
			t.Errorf("devices of %s (-want +got):\n%s", lan, diff)
		}
		if diff := cmp.Diff([]string{"vpc0"}, w.devicesOf("shop", vpc)); diff != "" {
			t.Errorf("devices of %s (-want +got):\n%s", vpc, diff)
		}
		st := w.tunnel(shop1)
		if st.GetIke() != "ESTABLISHED" || st.GetChild() != apiv1.ChildInstalled || st.GetInterface() != apiv1.InterfaceUp || st.GetHost() != "gw-a" || st.GetIfId() == 0 {
			t.Errorf("status of %s: %v", shop1, st)
		}
		w.until("probes pass", func() bool { return w.tunnel(shop1).GetProbe() == "PASSING" })
		if got := w.connection("shop").GetAvailability(); got != apiv1.HighlyAvailable {
			t.Errorf("availability %s", got)
		}
		g := w.gateway("shop")
		if !g.GetProgrammed() || g.GetTunnels() != 2 || g.GetTunnelsUp() != 2 || g.GetRoutes() != 2 || len(g.GetConditions()) > 0 {
			t.Errorf("gateway: %v", g)
		}
		if fw, ok := w.firewall.gateway("shop"); !ok || len(fw.Tunnels) != 2 || w.firewall.swept != 1 {
			t.Errorf("firewall: %v, swept %d times", fw, w.firewall.swept)
		}
	})
}

func TestNothingIsWrittenBeforeTheFirstGoodSnapshot(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("kind: BorderGateway\nname: shop\nspec: {colour: red}\n")
		w.start()
		w.pass(time.Hour)
		w.silent("manifests are refused", nil)
		if w.agent.Ready() || w.agent.View().Host.GetReady() {
			t.Error("ready without manifests")
		}
		if len(w.agent.View().Host.GetSource().GetFindings()) == 0 {
			t.Error("the view shows no findings")
		}
		w.write(manifests(shop()))
		w.ready()
		w.up(shop1, shop2)
	})
}

func TestNothingIsWrittenBeforeCharonHasListedItsSAs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Kill()
		w.write(manifests(shop()))
		w.start()
		w.pass(charonPatience - time.Second)
		w.silent("charon does not answer", nil)
		if w.agent.Ready() {
			t.Error("ready before charon")
		}
		w.pass(2 * time.Second)
		if !w.agent.Ready() || w.device(shop1) == "" {
			t.Fatalf("patience has an end\n%s", w.dump())
		}
		if len(w.devicesOf("shop", lan)) > 0 {
			t.Error("routes into tunnels that are not up")
		}
		w.down(shop1, apiv1.ReasonCharonUnavailable)
		w.charon.Start()
		w.up(shop1, shop2)
		if n := len(w.devicesOf("shop", lan)); n != 2 {
			t.Errorf("route over %d devices", n)
		}
	})
}

func TestCharonThatComesWithinPatienceIsWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Kill()
		w.write(manifests(shop()))
		w.start()
		w.pass(2 * time.Second)
		w.silent("charon does not answer", nil)
		w.charon.Start()
		begin := time.Now()
		w.ready()
		if waited := time.Since(begin); waited > 5*time.Second {
			t.Errorf("ready %v after charon", waited)
		}
		w.up(shop1, shop2)
	})
}

func TestRefusedManifestsChangeNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		before := w.charon.Commands()
		w.write("kind: Nonsense\n")
		w.pass(time.Minute)
		w.silent("refused", before)
		// Removal of a tunnel that was not DOWN is refused too.
		less := shop()
		less.without[shop2] = true
		w.write(manifests(less))
		w.pass(time.Minute)
		w.silent("refused", before)
		if w.tunnel(shop2).GetRunning() != apiv1.RunningUp {
			t.Error("tunnel is gone")
		}
	})
}

// patient is a kernel that makes no interface before something else has happened, or will never happen.
type patient struct {
	netlink.Kernel
	happened func() bool
	missed   atomic.Bool
}

func (p *patient) AddXfrm(name string, ifID uint32, underlay, mtu int) error {
	// Not waiting: the link driver's lock is held, and a bubble in which somebody waits for a lock has no time.
	for i := 0; !p.happened(); i++ {
		if i > 1e6 {
			p.missed.Store(true)
			break
		}
		runtime.Gosched()
	}
	return p.Kernel.AddXfrm(name, ifID, underlay, mtu)
}

// At the start charon does not wait for the kernel, which makes one interface after the other.
func TestNegotiationsDoNotWaitForInterfaces(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kernel := &patient{Kernel: w.kernel, happened: func() bool { return len(w.charon.Conns()) == 2 }}
		w.links = kernel
		w.startWith(manifests(shop()), shop1, shop2)
		if kernel.missed.Load() {
			t.Error("interfaces were made before charon had the tunnels")
		}
	})
}
