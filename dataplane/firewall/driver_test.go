package firewall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func apply(t *testing.T, d *Driver, g Gateway) {
	t.Helper()
	if err := d.Apply(t.Context(), g); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

func shop() Gateway {
	return Gateway{Name: "shop", Tunnels: []Tunnel{
		{Interface: "bgw1", Connection: "idc", MSS4: 1360, MSS6: 1340},
		{Interface: "bgw2", Connection: "idc", MSS4: 1360},
		{Interface: "bgw3", Connection: "office", MSS4: 1300},
	}}
}

func open() Gateway {
	return Gateway{Name: "open", AllowTransit: true, Tunnels: []Tunnel{
		{Interface: "bgw7", Connection: "a"}, {Interface: "bgw8", Connection: "b"},
	}}
}

func TestWhoMayPass(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, shop())
	apply(t, d, open())
	for _, tt := range []struct {
		in, out string
		want    bool
	}{
		{"bgw1", "bgw2", true},
		{"bgw1", "bgw1", true},
		{"bgw1", "bgw3", false},
		{"bgw3", "bgw2", false},
		{"bgw7", "bgw8", true},
		{"bgw7", "bgw1", false},
		{"bgw1", "bgw7", false},
		{"vpc0", "bgw1", true},
		{"bgw3", "vpc0", true},
		{"eth0", "eth1", true},
	} {
		if got := k.passes(tt.in, tt.out); got != tt.want {
			t.Errorf("from %s to %s: passes %v, want %v", tt.in, tt.out, got, tt.want)
		}
	}
	if got := k.table.content.mss4; !maps.Equal(got, map[string]uint16{"bgw1": 1360, "bgw2": 1360, "bgw3": 1300}) {
		t.Errorf("mss4: %v", got)
	}
	if got := k.table.content.mss6; !maps.Equal(got, map[string]uint16{"bgw1": 1340}) {
		t.Errorf("mss6: %v", got)
	}
}

func TestNothingIsSentTwice(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, shop())
	apply(t, d, shop())
	if n := k.takeReplaced(); n != 1 {
		t.Errorf("replaced %d times, want once", n)
	}
	d.Invalidate()
	apply(t, d, shop())
	apply(t, newDriver(k, quiet()), shop()) // a new process
	if n := k.takeReplaced(); n != 0 {
		t.Errorf("replaced %d times although the table was right", n)
	}
	changed := shop()
	changed.AllowTransit = true
	apply(t, d, changed)
	if n := k.takeReplaced(); n != 1 {
		t.Errorf("replaced %d times, want once", n)
	}
}

// While a new process applies its gateways one after the other, no connection is open to another.
func TestRestartKeepsGuarding(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, shop())
	other := Gateway{Name: "other", Tunnels: []Tunnel{{Interface: "bgw5", Connection: "x"}, {Interface: "bgw6", Connection: "y", MSS4: 900}}}
	apply(t, d, other)
	gone := Gateway{Name: "gone", Tunnels: []Tunnel{{Interface: "bgw9", Connection: "z"}}}
	apply(t, d, gone)

	second := newDriver(k, quiet())
	changed := shop()
	changed.Tunnels[0].MSS4 = 1000
	apply(t, second, changed)
	if k.passes("bgw5", "bgw6") || k.table.content.mss4["bgw6"] != 900 {
		t.Error("a gateway not applied yet has lost its guard")
	}
	if k.table.content.mss4["bgw1"] != 1000 {
		t.Error("the applied gateway is not as wanted")
	}
	apply(t, second, other)
	if err := second.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.table.content.tunnels["bgw9"] || !k.table.content.tunnels["bgw5"] {
		t.Errorf("after sweep: %v", k.table.content.tunnels)
	}
}

func TestSweepWithoutGatewaysRemovesTheTable(t *testing.T) {
	k := newFake()
	apply(t, newDriver(k, quiet()), shop())
	if err := newDriver(k, quiet()).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.present {
		t.Error("table left")
	}
}

func TestRemove(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, shop())
	apply(t, d, open())
	for range 2 {
		if err := d.Remove(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
	}
	if k.table.content.tunnels["bgw1"] || !k.table.content.tunnels["bgw7"] {
		t.Errorf("tunnels left: %v", k.table.content.tunnels)
	}
	if err := d.Remove(t.Context(), "open"); err != nil {
		t.Fatal(err)
	}
	if k.present {
		t.Error("table left without gateways")
	}
}

func TestBadTunnelsDoNotBlockOthers(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, open())
	g := shop()
	g.Tunnels = append(g.Tunnels,
		Tunnel{Interface: "", Connection: "c"}, Tunnel{Interface: "bgw4567890123456", Connection: "c"}, Tunnel{Interface: "bgw4"},
		Tunnel{Interface: "bgw1", Connection: "office"}, Tunnel{Interface: "bgw7", Connection: "c"},
	)
	err := d.Apply(t.Context(), g)
	for _, text := range []string{
		`interface ""`, "bgw4567890123456", "bgw4: connection missing", "bgw1 used twice", "bgw7 belongs to gateway open",
	} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v, want one with %q", err, text)
		}
	}
	if len(k.table.content.tunnels) != 5 {
		t.Errorf("tunnels: %v", k.table.content.tunnels)
	}
	if err := d.Apply(t.Context(), Gateway{}); err == nil {
		t.Error("a gateway without name was accepted")
	}
}

func TestDroppedGoesOn(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	read := func(want uint64) {
		t.Helper()
		if c, err := d.Dropped(t.Context()); err != nil || c.Packets != want {
			t.Errorf("dropped %+v, %v; want %d packets", c, err, want)
		}
	}
	read(0)
	apply(t, d, shop())
	k.table.dropped = Counters{Packets: 7, Bytes: 700}
	read(7)
	k.table.dropped = Counters{Packets: 9, Bytes: 900}
	apply(t, d, open())
	if k.table.dropped.Packets != 9 {
		t.Errorf("the new table starts at %d packets, want 9", k.table.dropped.Packets)
	}
	k.flush()
	read(9)
	d.Invalidate()
	apply(t, d, open())
	read(9)
}

func TestRandomWalk(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	k := newFake()
	d := newDriver(k, quiet())
	all := make(map[string]Gateway)
	for range 500 {
		name := fmt.Sprintf("g%d", rnd.IntN(4))
		if rnd.IntN(5) == 0 {
			delete(all, name)
			if err := d.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		} else {
			g := Gateway{Name: name, AllowTransit: rnd.IntN(3) == 0}
			for i := range rnd.IntN(5) {
				g.Tunnels = append(g.Tunnels, Tunnel{
					Interface: fmt.Sprintf("%s-%d", name, i), Connection: fmt.Sprintf("c%d", rnd.IntN(2)), MSS4: uint16(rnd.IntN(2) * 1000),
				})
			}
			all[name] = g
			apply(t, d, g)
		}
		if rnd.IntN(10) == 0 {
			k.flush()
			d.Invalidate()
			continue
		}
		want := newContent()
		for _, g := range all {
			want.add(g)
		}
		if !k.present && want.empty() {
			continue
		}
		if d.valid && !k.table.content.equal(want) {
			t.Fatalf("have %+v, want %+v", k.table.content, want)
		}
	}
}

func TestCancelledContextsDoNothing(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Dropped(ctx)
	for _, err := range []error{err, d.Apply(ctx, shop()), d.Remove(ctx, "shop"), d.Sweep(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
	if k.present {
		t.Error("table made")
	}
}
