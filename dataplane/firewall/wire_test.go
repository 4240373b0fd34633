package firewall

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func between(local, remote string) Endpoints {
	return Endpoints{netip.MustParseAddr(local), netip.MustParseAddr(remote)}
}

var (
	idc    = between("192.0.2.1", "198.51.100.1")
	office = between("192.0.2.1", "198.51.100.2")
	six    = between("2001:db8::1", "2001:db8::2")
)

func tunnelBetween(device string, e Endpoints) Tunnel {
	return Tunnel{Interface: device, Connection: "c", Local: e.Local, Remote: e.Remote}
}

func measured() Gateway {
	return Gateway{Name: "shop", Tunnels: []Tunnel{tunnelBetween("bgw1", idc), tunnelBetween("bgw2", six)}}
}

func traffic(packets, in, out uint64) Traffic {
	return Traffic{In: Counters{packets, in}, Out: Counters{packets, out}}
}

func expectWire(t *testing.T, d *Driver, want map[Endpoints]Traffic) {
	t.Helper()
	got, err := d.Wire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("wire (-want +got):\n%s", diff)
	}
}

// Whatever happens to the table, totals go on.
func TestWireTotals(t *testing.T) {
	added := measured()
	added.Tunnels = append(added.Tunnels, tunnelBetween("bgw3", office))
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, d *Driver, k *fake)
		// read says whether the totals are read before.
		read bool
	}{
		{name: "another tunnel comes", do: func(t *testing.T, d *Driver, _ *fake) { apply(t, d, added) }},
		{name: "another gateway comes and goes", do: func(t *testing.T, d *Driver, _ *fake) {
			apply(t, d, open())
			if err := d.Remove(t.Context(), "open"); err != nil {
				t.Error(err)
			}
		}},
		{name: "the table is replaced", do: func(t *testing.T, d *Driver, k *fake) {
			k.outside(func() { k.table.mark = "other rules" })
			d.Invalidate()
			apply(t, d, measured())
		}},
		{name: "an update fails and the table is replaced", do: func(t *testing.T, d *Driver, k *fake) {
			k.faults[updateFails] = true
			apply(t, d, added)
		}},
		{name: "a replacement's acknowledgement is lost", read: true, do: func(t *testing.T, d *Driver, k *fake) {
			k.faults[updateFails], k.faults[replaceUnconfirmed] = true, true
			if err := d.Apply(t.Context(), added); err == nil {
				t.Error("no error")
			}
			apply(t, d, added)
		}},
		{name: "another program flushes the ruleset", read: true, do: func(t *testing.T, d *Driver, k *fake) {
			k.flush()
			expectWire(t, d, map[Endpoints]Traffic{idc: traffic(2, 200, 2000), six: traffic(1, 7, 8)})
			d.Invalidate()
			apply(t, d, measured())
		}},
		{name: "another program removes an element", read: true, do: func(t *testing.T, d *Driver, k *fake) {
			k.outside(func() {
				delete(k.table.content.wire, flow{idc, true})
				delete(k.wires, flow{idc, true})
			})
			d.Invalidate()
			apply(t, d, measured())
		}},
		{name: "another program resets the counters", read: true, do: func(_ *testing.T, _ *Driver, k *fake) {
			k.outside(func() { clear(k.wires) })
		}},
		{name: "another tunnel has the same addresses for a while", read: true, do: func(t *testing.T, d *Driver, k *fake) {
			shared := Gateway{Name: "twin", Tunnels: []Tunnel{tunnelBetween("bgw9", idc)}}
			apply(t, d, shared)
			k.count(idc, 1, 1)
			expectWire(t, d, map[Endpoints]Traffic{six: traffic(1, 7, 8)})
			if err := d.Remove(t.Context(), "twin"); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newFake()
			d := newDriver(k, quiet())
			expectWire(t, d, map[Endpoints]Traffic{})
			apply(t, d, measured())
			k.count(idc, 100, 1000)
			k.count(idc, 100, 1000)
			k.count(six, 7, 8)
			before := map[Endpoints]Traffic{idc: traffic(2, 200, 2000), six: traffic(1, 7, 8)}
			if tt.read {
				expectWire(t, d, before)
			}
			tt.do(t, d, k)
			k.count(idc, 100, 1000)
			want := map[Endpoints]Traffic{idc: traffic(3, 300, 3000), six: traffic(1, 7, 8)}
			if k.table.content.wire[flow{office, false}] {
				want[office] = Traffic{}
			}
			expectWire(t, d, want)
		})
	}
}

// A new process goes on with what the kernel has.
func TestWireAfterARestart(t *testing.T) {
	k := newFake()
	apply(t, newDriver(k, quiet()), measured())
	k.count(idc, 100, 1000)
	k.takeReplaced()
	d := newDriver(k, quiet())
	apply(t, d, open()) // not yet the gateway whose tunnels these are
	k.count(idc, 100, 1000)
	apply(t, d, measured())
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectWire(t, d, map[Endpoints]Traffic{idc: traffic(2, 200, 2000), six: {}})
}

// A tunnel that is gone takes its total along; one that comes back is another one.
func TestWireOfAnotherTunnel(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, open())
	apply(t, d, measured())
	k.count(idc, 100, 1000)
	expectWire(t, d, map[Endpoints]Traffic{idc: traffic(1, 100, 1000), six: {}})
	if err := d.Remove(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	expectWire(t, d, map[Endpoints]Traffic{})
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(d.meters) > 0 || len(k.table.content.wire) > 0 {
		t.Errorf("left: %v, %v", d.meters, k.table.content.wire)
	}
	apply(t, d, measured())
	expectWire(t, d, map[Endpoints]Traffic{idc: {}, six: {}})
}

func TestWhichTunnelsAreMeasured(t *testing.T) {
	mapped := Endpoints{idc.Local, netip.MustParseAddr("::ffff:198.51.100.7")}
	for _, tt := range []struct {
		name string
		have Endpoints
		want map[Endpoints]Traffic
	}{
		{"no addresses", Endpoints{}, map[Endpoints]Traffic{}},
		{"no remote address", Endpoints{Local: idc.Local}, map[Endpoints]Traffic{}},
		{"two families", Endpoints{idc.Local, six.Remote}, map[Endpoints]Traffic{}},
		{"an IPv4 address in IPv6's notation", mapped, map[Endpoints]Traffic{between("192.0.2.1", "198.51.100.7"): {}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver(newFake(), quiet())
			apply(t, d, Gateway{Name: "g", Tunnels: []Tunnel{tunnelBetween("bgw1", tt.have)}})
			expectWire(t, d, tt.want)
		})
	}
}

func TestWireWhenItCannotBeRead(t *testing.T) {
	k := newFake()
	d := newDriver(k, quiet())
	apply(t, d, measured())
	k.faults[wireFails] = true
	if got, err := d.Wire(t.Context()); err == nil {
		t.Errorf("got %v and no error", got)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := d.Wire(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	// Counting is not worth a stop.
	k.outside(func() { k.table.mark = "other rules" })
	k.faults[wireFails] = true
	d.Invalidate()
	apply(t, d, measured())
	expectWire(t, d, map[Endpoints]Traffic{idc: {}, six: {}})
}
