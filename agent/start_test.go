package agent

import (
	"slices"
	"sync"
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

// slow is a kernel that takes its time before anything of the first gateway is made. Later, events would wait for the link driver's lock.
type slow struct {
	netlink.Kernel
	release chan struct{}
}

func (s slow) Rules(v6 bool) ([]netlink.Rule, error) {
	<-s.release
	return s.Kernel.Rules(v6)
}

// At the start charon does not wait for the kernel, which makes one interface after the other; a tunnel without one is not UP.
func TestNegotiationsDoNotWaitForInterfaces(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kernel := slow{Kernel: w.kernel, release: make(chan struct{})}
		release := sync.OnceFunc(func() { close(kernel.release) })
		defer release()
		w.links = kernel
		w.write(manifests(shop()))
		w.start()
		for _, tunnel := range []string{shop1, shop2} {
			w.until(tunnel+" has its CHILD_SA", func() bool { _, children := w.charon.SAs("bgw-" + tunnel); return children == 1 })
		}
		for _, tunnel := range w.agent.View().Tunnels {
			if tunnel.GetStatus().GetRunning() == apiv1.RunningUp {
				t.Errorf("%s is UP without an interface", tunnel.GetName())
			}
		}
		release()
		w.ready()
		w.up(shop1, shop2)
	})
}
