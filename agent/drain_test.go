package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/agent/local"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// drain is a drain that is under way.
type drain struct {
	stages []string
	ended  chan error
}

func (w *world) drain(req *apiv1.DrainRequest) *drain {
	d := &drain{ended: make(chan error, 1)}
	go func() {
		d.ended <- w.agent.Local().Drain(w.t.Context(), "root", req, func(p *apiv1.DrainProgress) error {
			d.stages = append(d.stages, p.GetTunnel()+" "+p.GetStage())
			return nil
		})
	}()
	return d
}

// over waits for the end of a drain and compares its stages.
func (w *world) over(d *drain, want ...string) {
	w.t.Helper()
	var err error
	w.until("the drain's end", func() bool {
		select {
		case err = <-d.ended:
			return true
		default:
			return false
		}
	})
	if err != nil || !slices.Equal(d.stages, want) {
		w.t.Fatalf("stages %q, %v; want %q", d.stages, err, want)
	}
}

func (w *world) change(tunnel, action string, force bool) (*apiv1.ChangeResponse, error) {
	return w.agent.Local().Change("root", &apiv1.ChangeRequest{Tunnel: tunnel, Action: action, Force: force})
}

func (w *world) mustChange(tunnel, action string) *apiv1.ChangeResponse {
	w.t.Helper()
	out, err := w.change(tunnel, action, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func refused(err error, kind local.Kind) bool {
	refusal, ok := errors.AsType[*local.Error](err)
	return ok && refusal.Kind == kind
}

func TestDrainAndEnable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		before, others, mate := w.charon.Commands(), w.sas(), w.device(shop2)
		d := w.drain(&apiv1.DrainRequest{Tunnel: shop1})
		w.until("DRAINING", func() bool { return w.tunnel(shop1).GetLocal().GetState() == apiv1.LocalDraining })
		if got := w.devicesOf("shop", lan); !slices.Equal(got, []string{mate}) {
			t.Errorf("while it is drained new packets leave over %q", got)
		}
		if st := w.tunnel(shop1); st.GetRunning() != apiv1.RunningUp || st.GetAdmin() != apiv1.AdminStateUp {
			t.Errorf("while it is drained: %v", st)
		}
		if !slices.Contains(w.connection("shop").GetReasons(), apiv1.AvailabilityDraining) {
			t.Errorf("verdict: %v", w.connection("shop"))
		}
		w.over(d, "shop-1 ANNOUNCED_WORSE", "shop-1 WITHDRAWN", "shop-1 QUIET", "shop-1 DOWN")
		w.down(shop1, apiv1.ReasonAdminDown)
		if st := w.tunnel(shop1); st.GetLocal().GetState() != apiv1.LocalDrained || st.GetAdmin() != apiv1.AdminStateDown ||
			!strings.Contains(st.GetMessage(), "drained on this host by root") {
			t.Errorf("afterwards: %v", st)
		}
		if slices.Contains(w.connection("shop").GetReasons(), apiv1.AvailabilityDraining) {
			t.Error("it is still said to be drained")
		}
		for _, line := range w.kernel.TakeWrites() {
			if strings.Contains(line, "route") {
				t.Errorf("a drain writes: %s", line)
			}
		}
		w.rest()
		steady := w.charon.Commands()
		w.pass(time.Hour)
		w.silent("nothing else to do", steady)

		w.mustChange(shop1, apiv1.ActionEnable)
		w.up(shop1)
		w.until("traffic is back", func() bool { return len(w.devicesOf("shop", lan)) == 2 })
		if w.tunnel(shop1).GetLocal() != nil {
			t.Errorf("local change stays: %v", w.tunnel(shop1).GetLocal())
		}
		delete(others, shop1)
		for name, id := range others {
			if w.tunnel(name).GetRunning() != apiv1.RunningUp || w.sas()[name] != id {
				t.Errorf("%s was disturbed: %v", name, w.tunnel(name))
			}
		}
		for _, command := range w.changes(before) {
			if !strings.Contains(command, shop1) {
				t.Errorf("charon was told %q", command)
			}
		}
	})
}

// TestDrainWaitsForTraffic: packets that are forwarded keep a tunnel up, and at the deadline it stays so.
func TestDrainWaitsForTraffic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		d := w.drain(&apiv1.DrainRequest{Tunnel: shop1, Timeout: durationpb.New(30 * time.Second)})
		device := w.device(shop1)
		for range 60 {
			w.firewall.forward(device)
			w.pass(time.Second)
		}
		w.over(d, "shop-1 ANNOUNCED_WORSE", "shop-1 WITHDRAWN", "shop-1 TIMED_OUT")
		st := w.tunnel(shop1)
		if st.GetRunning() != apiv1.RunningUp || st.GetLocal().GetStage() != apiv1.DrainTimedOut ||
			!strings.Contains(st.GetLocal().GetMessage(), "1 packets in, 1 out") {
			t.Errorf("after the deadline: %v", st)
		}
		if got := w.devicesOf("shop", lan); len(got) != 1 || got[0] == device {
			t.Errorf("after the deadline packets leave over %q", got)
		}
		// Another try, in which they end.
		d = w.drain(&apiv1.DrainRequest{Tunnel: shop1})
		for range 20 {
			w.firewall.forward(device)
			w.pass(time.Second)
			if w.tunnel(shop1).GetRunning() != apiv1.RunningUp {
				t.Fatal("it went down under traffic")
			}
		}
		w.over(d, "shop-1 WITHDRAWN", "shop-1 QUIET", "shop-1 DOWN")
	})
}

func TestAbortedDrain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		before := w.charon.Commands()
		if _, err := w.change(shop1, apiv1.ActionAbort, false); !refused(err, local.Refused) {
			t.Errorf("abort without a drain: %v", err)
		}
		d := w.drain(&apiv1.DrainRequest{Tunnel: shop1})
		w.pass(3 * time.Second)
		w.mustChange(shop1, apiv1.ActionAbort)
		w.over(d, "shop-1 ANNOUNCED_WORSE", "shop-1 WITHDRAWN", "shop-1 ABORTED")
		w.until("everything as before", func() bool { return w.tunnel(shop1).GetLocal() == nil && len(w.devicesOf("shop", lan)) == 2 })
		w.pass(time.Minute)
		if changes := w.changes(before); len(changes) > 0 {
			t.Errorf("charon was told %q", changes)
		}
	})
}

func TestTheLastTunnelGoesByForceOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		w.mustChange(shop1, apiv1.ActionDisable)
		w.down(shop1, apiv1.ReasonAdminDown)
		if got := w.tunnel(shop1).GetLocal(); got.GetState() != apiv1.LocalDisabled || got.GetBy() != "root" || got.GetSince() == nil {
			t.Errorf("local: %v", got)
		}
		if _, err := w.change(shop2, apiv1.ActionDisable, false); !refused(err, local.Refused) || !strings.Contains(err.Error(), "connection shop has no other tunnel") {
			t.Errorf("the last one: %v", err)
		}
		if err := w.agent.Local().Drain(t.Context(), "root", &apiv1.DrainRequest{Tunnel: shop2}, nil); !refused(err, local.Refused) {
			t.Errorf("drain of the last one: %v", err)
		}
		// Somebody who sees other hosts, too, may know better.
		other := &apiv1.ChangeRequest{Tunnel: shop2, Action: apiv1.ActionDisable, ConnectionsUpElsewhere: []string{"mill"}}
		if _, err := w.agent.Local().Change("root", other); !refused(err, local.Refused) {
			t.Errorf("with another connection's tunnel up elsewhere: %v", err)
		}
		other.ConnectionsUpElsewhere = []string{"mill", "shop"}
		if out, err := w.agent.Local().Change("root", other); err != nil || len(out.GetNotes()) > 0 {
			t.Errorf("with a tunnel up elsewhere: %v, %v", out, err)
		}
		w.mustChange(shop2, apiv1.ActionEnable)
		w.until("back", func() bool { return w.tunnel(shop2).GetRunning() == apiv1.RunningUp })
		w.pass(time.Minute)
		if w.tunnel(shop2).GetRunning() != apiv1.RunningUp {
			t.Fatal("it went all the same")
		}
		d := w.drain(&apiv1.DrainRequest{Tunnel: shop2, Force: true})
		w.until("DRAINING", func() bool { return w.tunnel(shop2).GetLocal().GetState() == apiv1.LocalDraining })
		if got := w.devicesOf("shop", lan); !slices.Equal(got, []string{w.device(shop2)}) {
			t.Errorf("what still comes leaves over %q", got)
		}
		w.over(d, "shop-2 NOTE", "shop-2 ANNOUNCED_WORSE", "shop-2 WITHDRAWN", "shop-2 QUIET", "shop-2 DOWN")
		if _, err := w.change("nobody", apiv1.ActionDisable, false); !refused(err, local.Unknown) {
			t.Errorf("a tunnel that is not here: %v", err)
		}
		if _, err := w.change(shop1, "EXPLODE", false); !refused(err, local.Invalid) {
			t.Errorf("an unknown action: %v", err)
		}
	})
}

func TestDrainOfTheHost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		if err := w.agent.Local().Drain(t.Context(), "root", &apiv1.DrainRequest{}, nil); !refused(err, local.Refused) || !strings.Contains(err.Error(), "mill") {
			t.Errorf("without force: %v", err)
		}
		w.mustChange(mill1, apiv1.ActionDisable)
		w.down(mill1, apiv1.ReasonAdminDown)
		d := w.drain(&apiv1.DrainRequest{Force: true})
		w.until("the end", func() bool { return w.agent.View().Host.GetLocal().GetState() == apiv1.LocalDrained })
		for _, name := range []string{shop1, shop2, mill1, mill2} {
			w.down(name, apiv1.ReasonAdminDown)
		}
		if err := <-d.ended; err != nil {
			t.Error(err)
		}
		if _, err := w.change(shop1, apiv1.ActionEnable, false); !refused(err, local.Refused) {
			t.Errorf("enabling one of them: %v", err)
		}
		// What comes new while the host is drained is down from the beginning, also after a restart.
		w.stop()
		more := manifests(shop(), mill()) + "---\nkind: CustomerGateway\nname: third\nspec: {asn: 65011, addresses: [203.0.113.99]}\n" +
			"---\nkind: VPNConnection\nname: third\nspec: {borderGateway: shop, customerGateway: third, routing: STATIC, cloudAddresses: [198.51.100.1]}\n" +
			"---\nkind: VPNTunnel\nname: third\nspec: {connection: third, cloudAddress: 198.51.100.1, customerAddress: 203.0.113.99, " +
			"inside: {cloud: 169.254.99.1/30, customer: 169.254.99.2}, psk: {value: " + pskMark + "third}}\n"
		before := w.charon.Commands()
		w.write(more)
		w.start()
		w.ready()
		w.down("third", apiv1.ReasonAdminDown)
		w.pass(time.Minute)
		for _, command := range w.changes(before) {
			if strings.HasPrefix(command, "load-conn") || strings.HasPrefix(command, "initiate") {
				t.Errorf("charon was told %q", command)
			}
		}
		out := w.mustChange("", apiv1.ActionEnable)
		w.up(shop1, shop2, mill2, "third")
		w.down(mill1, apiv1.ReasonAdminDown)
		if len(out.GetTunnels()) != 4 || !strings.Contains(strings.Join(out.GetNotes(), "\n"), "mill-1 stays DISABLED") {
			t.Errorf("enabled: %v", out)
		}
	})
}

func TestLocalChangesOutliveTheAgent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		w.mustChange(shop1, apiv1.ActionDisable)
		w.down(shop1, apiv1.ReasonAdminDown)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			left <- w.agent.Local().Drain(ctx, "root", &apiv1.DrainRequest{Tunnel: mill1}, func(*apiv1.DrainProgress) error { return nil })
		}()
		w.pass(2 * time.Second)
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who leaves gets %v", err)
		}
		w.stop()
		before := w.charon.Commands()
		w.start()
		w.ready()
		w.down(shop1, apiv1.ReasonAdminDown)
		// The drain goes on where it was, without anybody who looks on.
		w.down(mill1, apiv1.ReasonAdminDown)
		if got := w.tunnel(mill1).GetLocal().GetState(); got != apiv1.LocalDrained {
			t.Errorf("mill-1 is %q", got)
		}
		for _, command := range w.changes(before) {
			if strings.HasPrefix(command, "initiate") {
				t.Errorf("charon was told %q", command)
			}
		}
		info, err := os.Stat(filepath.Join(w.state, "local.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file: %v, %v", info, err)
		}
	})
}

func TestUnusableLocalFileIsTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		path := filepath.Join(w.state, "local.json")
		if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.startWith(manifests(shop()), shop1, shop2)
		conditions := w.agent.View().Host.GetConditions()
		if len(conditions) != 1 || conditions[0].GetType() != apiv1.ConditionLocalState || !strings.Contains(conditions[0].GetMessage(), path) {
			t.Errorf("conditions: %v", conditions)
		}
		w.mustChange(shop1, apiv1.ActionDisable)
		if content, err := os.ReadFile(path + ".unusable"); err != nil || string(content) != "{broken" {
			t.Errorf("kept aside: %q, %v", content, err)
		}
	})
}

// TestLocallyDownTunnelMayGo: a tunnel that was taken down here counts as DOWN for the rule about deleting, and takes its change along.
func TestLocallyDownTunnelMayGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		without := shop()
		without.without[shop1] = true
		w.write(manifests(without))
		w.pass(10 * time.Second)
		if w.tunnel(shop1).GetRunning() != apiv1.RunningUp {
			t.Fatal("a tunnel that is up went")
		}
		w.mustChange(shop1, apiv1.ActionDisable)
		w.down(shop1, apiv1.ReasonAdminDown)
		w.write(manifests(without))
		w.until("gone", func() bool { return w.tunnel(shop1) == nil })
		w.write(manifests(shop()))
		w.up(shop1)
	})
}

// TestManyDrainsAtOnce ends with everything as it was.
func TestManyDrainsAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		for i := range 12 {
			name := []string{shop1, mill2, shop1, mill2}[i%4]
			switch i % 3 {
			case 0:
				w.drain(&apiv1.DrainRequest{Tunnel: name, Timeout: durationpb.New(time.Duration(1+i) * time.Second)})
			case 1:
				if _, err := w.change(name, apiv1.ActionEnable, false); err != nil {
					t.Error(err)
				}
			default:
				if _, err := w.change(name, apiv1.ActionDisable, false); err != nil {
					t.Error(err)
				}
			}
			w.pass(time.Duration(i) * 700 * time.Millisecond)
		}
		for _, name := range []string{shop1, mill2} {
			w.mustChange(name, apiv1.ActionEnable)
		}
		w.up(shop1, shop2, mill1, mill2)
		for _, g := range []string{"shop", "mill"} {
			if n := len(w.devicesOf(g, lan)); n != 2 {
				t.Errorf("%s: route over %d devices", g, n)
			}
		}
		if !w.gateway("shop").GetProgrammed() {
			t.Error(fmt.Sprint(w.gateway("shop").GetConditions()))
		}
	})
}
