package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/route"
)

func TestRestartAdoptsEverything(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop(), mill()), shop1, shop2, mill1, mill2)
		sas, before, routes := w.sas(), w.charon.Commands(), w.allRoutes()
		w.stop()
		w.silent("stopping", before)
		w.pass(10 * time.Minute)
		// Several times, because what matters is also who of the agent's goroutines is first.
		for range 10 {
			w.start()
			w.ready()
			w.stop()
		}
		w.start()
		w.ready()
		w.up(shop1, shop2, mill1, mill2)
		w.pass(10 * time.Minute)
		if writes := w.kernel.TakeWrites(); len(writes) > 0 {
			t.Errorf("a restart writes: %q", writes)
		}
		if diff := cmp.Diff(sas, w.sas()); diff != "" {
			t.Errorf("SAs (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(routes, w.allRoutes(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Errorf("routes (-before +after):\n%s", diff)
		}
		for _, c := range w.changes(before) {
			if verb, _, _ := strings.Cut(c, " "); verb != "load-conn" && verb != "load-shared" {
				t.Errorf("a restart tells charon %q", c)
			}
		}
	})
}

func TestAdoptedNumbersWin(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		// An earlier agent numbered differently: mill has what shop would get, shop something else.
		pools := plan.NewIDs()
		table, err := pools.Table.Get("shop")
		if err != nil {
			t.Fatal(err)
		}
		ifID, err := pools.IfID.Get(shop1)
		if err != nil {
			t.Fatal(err)
		}
		w.earlier("bgwv700000", 700000, "shop", map[string]uint32{shop1: 0x0b000777, shop2: 0x0b000778})
		w.earlier(fmt.Sprintf("bgwv%d", table), table, "mill", map[string]uint32{mill1: ifID, mill2: ifID + 1})
		w.write(manifests(shop(), mill()))
		w.start()
		w.ready()
		w.up(shop1, shop2, mill1, mill2)
		made := w.kernel.TakeWrites()
		if got := w.gateway("shop").GetTable(); got != 700000 {
			t.Errorf("shop's table is %d", got)
		}
		if got := w.gateway("mill").GetTable(); got != table {
			t.Errorf("mill's table is %d, not %d", got, table)
		}
		for name, want := range map[string]uint32{shop1: 0x0b000777, shop2: 0x0b000778, mill1: ifID, mill2: ifID + 1} {
			if got := w.tunnel(name).GetIfId(); got != want {
				t.Errorf("%s has if_id %#x, not %#x", name, got, want)
			}
		}
		for _, line := range made {
			if strings.HasPrefix(line, "add xfrm") || strings.HasPrefix(line, "add vrf") || strings.HasSuffix(line, ": delete") {
				t.Errorf("an adopted device was made anew: %s", line)
			}
		}
	})
}

func TestWhatNobodyWantsIsSweptAndForeignObjectsStay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.startWith(manifests(shop()), shop1, shop2)
		table := w.gateway("shop").GetTable()
		device := w.device(shop1)
		foreign := netlink.Route{Table: table, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Metric: 7, Protocol: 4, Type: netlink.Unreachable}
		outside := w.kernel.Outside()
		eth0, err := outside.Link("eth0")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			outside.AddXfrm("bgwxdead", 0x99, eth0.Index, 1400),
			errors.Join(outside.ReplaceRoutes([]netlink.Route{foreign})...),
			errors.Join(outside.ReplaceNexthops([]netlink.Nexthop{{ID: 77, Protocol: 4, Link: eth0.Index}})...),
		); err != nil {
			t.Fatal(err)
		}
		w.foreignConnection("office")
		w.stop()
		w.write("")
		w.start()
		w.ready()
		w.pass(time.Minute)

		links, err := outside.Links()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, l := range links {
			names = append(names, l.Name)
			if l.Master != 0 {
				t.Errorf("%s is still enslaved", l.Name)
			}
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{"bgwxdead", "eth0", "lo", "vpc0", "vpc1"}, names); diff != "" {
			t.Errorf("devices (-want +got):\n%s", diff)
		}
		if _, err := outside.Link(device); err == nil {
			t.Errorf("%s stays", device)
		}
		if got := w.allRoutes(); len(got) != 0 {
			t.Errorf("routes stay: %v", got)
		}
		kept, err := outside.Routes(table, 4)
		if err != nil || len(kept) != 1 {
			t.Errorf("foreign routes: %v, %v", kept, err)
		}
		objects, err := outside.Nexthops(4)
		if err != nil || len(objects) != 1 {
			t.Errorf("foreign nexthops: %v, %v", objects, err)
		}
		if objects, err := outside.Nexthops(route.Protocol); err != nil || len(objects) != 0 {
			t.Errorf("nexthops stay: %v, %v", objects, err)
		}
		if diff := cmp.Diff([]string{"office"}, w.charon.Conns()); diff != "" {
			t.Errorf("charon's connections (-want +got):\n%s", diff)
		}
		if len(w.charon.Secrets()) != 0 {
			t.Error("secrets stay in charon")
		}
		if ikes, _ := w.charon.SAs("bgw-" + shop1); ikes != 0 {
			t.Error("SAs stay")
		}
		w.rest()
		before := w.charon.Commands()
		w.pass(time.Hour)
		w.silent("afterwards", before)
	})
}

func TestWhatCharonHasFromBeforeIsSweptWhenItIsBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.charon.Kill()
		w.write(manifests(shop()))
		w.start()
		w.ready()
		w.charon.Start()
		w.charon.Adopt(1, func(int) string { return "bgw-yesterday" }, 5)
		w.up(shop1, shop2)
		w.until("swept", func() bool { ikes, _ := w.charon.SAs("bgw-yesterday"); return ikes == 0 })
	})
}

// allRoutes are our routes of all tables.
func (w *world) allRoutes() []netlink.Route {
	w.t.Helper()
	routes, err := w.kernel.Outside().Routes(0, route.Protocol)
	if err != nil {
		w.t.Fatal(err)
	}
	return routes
}

// earlier makes what another agent with other numbers would have left of a gateway.
func (w *world) earlier(vrf string, table uint32, gateway string, tunnels map[string]uint32) {
	w.t.Helper()
	k := w.kernel.Outside()
	index := func(name string) int {
		l, err := k.Link(name)
		if err != nil {
			w.t.Fatal(err)
		}
		return l.Index
	}
	must := func(errs ...error) {
		w.t.Helper()
		if err := errors.Join(errs...); err != nil {
			w.t.Fatal(err)
		}
	}
	must(k.AddVRF(vrf, table))
	must(k.SetAlias(index(vrf), "bordergw:gateway/"+gateway), k.SetUp(index(vrf), true))
	for tunnel, id := range tunnels {
		name := fmt.Sprintf("bgwx%08x", id)
		must(k.AddXfrm(name, id, index("eth0"), 1400))
		must(k.SetAlias(index(name), "bordergw:tunnel/"+tunnel), k.SetMaster(index(name), index(vrf)), k.SetUp(index(name), true))
	}
}

// foreignConnection loads a connection that is not ours into charon.
func (w *world) foreignConnection(name string) {
	w.t.Helper()
	conn, err := w.charon.Dial(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	m := new(vici.Message).Set("version", "2").SetList("local_addrs", "198.51.100.1").SetList("remote_addrs", "203.0.113.99").
		SetSection("children", new(vici.Message).SetSection("net", new(vici.Message).SetList("esp_proposals", "aes128-sha256")))
	frame, err := vici.Encode(vici.Packet{Type: vici.CmdRequest, Name: "load-conn", Message: new(vici.Message).SetSection(name, m)})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Write(frame); err != nil {
		w.t.Fatal(err)
	}
	reply, err := vici.ReadPacket(conn)
	if err != nil || reply.Message.Get("success") != "yes" {
		w.t.Fatalf("load-conn %s: %v, %v", name, reply, err)
	}
}
