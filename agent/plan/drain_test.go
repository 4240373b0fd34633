package plan

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/bgp"
)

// changed is a host on which an operator has changed tunnels: "shop-idc-1" → "DRAINING ANNOUNCED_WORSE".
func changed(h Host, local map[string]string) Host {
	h.Local = func(tunnel string) *apiv1.LocalChange {
		text, ok := local[tunnel]
		if !ok {
			return nil
		}
		c := &apiv1.LocalChange{}
		_, _ = fmt.Sscan(text, &c.State, &c.Stage)
		return c
	}
	return h
}

func TestDrainMovesTraffic(t *testing.T) {
	const worse, withdrawn = "DRAINING ANNOUNCED_WORSE", "DRAINING WITHDRAWN"
	both := up("shop-idc-1", "shop-idc-2")
	fromBoth := with(both, learned("172.17.0.0/16", "shop-idc-1", "shop-idc-2"))
	toFabric := []string{"10.0.0.0/16 customer", "10.9.0.0/16 customer", "172.16.0.0/16 fabric"}
	for _, test := range []struct {
		name  string
		local map[string]string
		run   Running
		// routes over connections, and what neighbors are told.
		routes    map[string]string
		announced []string
		neighbors map[string]string
		watched   int
	}{
		{
			name: "nothing changed", run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-1,shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-1,shop-idc-2"},
			announced: append(slices.Clone(toFabric), "172.17.0.0/16 fabric [65010]"),
			neighbors: map[string]string{"tunnel/shop-idc-1": "prepend 2 med 50", "tunnel/shop-idc-2": "prepend 0", "attachment/vpc-a": "prepend 0"},
		},
		{
			name: "the others carry what leaves, the customer hears of a longer way", local: map[string]string{"shop-idc-1": worse}, run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-2"},
			announced: append(slices.Clone(toFabric), "172.17.0.0/16 fabric [65010]"),
			neighbors: map[string]string{"tunnel/shop-idc-1": "prepend 10 worst", "tunnel/shop-idc-2": "prepend 0", "attachment/vpc-a": "prepend 0"},
			watched:   1,
		},
		{
			name: "then of none", local: map[string]string{"shop-idc-1": withdrawn}, run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-2"},
			announced: append(slices.Clone(toFabric), "172.17.0.0/16 fabric [65010]"),
			neighbors: map[string]string{"tunnel/shop-idc-1": "prepend 10 worst mute", "tunnel/shop-idc-2": "prepend 0", "attachment/vpc-a": "prepend 0"},
			watched:   1,
		},
		{
			name: "what only the drained tunnel reaches is still forwarded, yet no longer announced", local: map[string]string{"shop-idc-1": withdrawn},
			run:       with(both, learned("172.17.0.0/16", "shop-idc-1")),
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-1"},
			announced: toFabric,
			neighbors: map[string]string{"tunnel/shop-idc-1": "prepend 10 worst mute", "tunnel/shop-idc-2": "prepend 0", "attachment/vpc-a": "prepend 0"},
			watched:   1,
		},
		{
			name: "a whole host: the VPC hears of a longer way first", local: map[string]string{"shop-idc-1": worse, "shop-idc-2": worse}, run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-1,shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-1,shop-idc-2"},
			announced: append(slices.Clone(toFabric), "172.17.0.0/16 fabric [65010]"),
			neighbors: map[string]string{"tunnel/shop-idc-1": "prepend 10 worst", "tunnel/shop-idc-2": "prepend 8 worst", "attachment/vpc-a": "prepend 8 worst"},
			watched:   2,
		},
		{
			name: "and then of none, while packets that still come are forwarded", local: map[string]string{"shop-idc-1": withdrawn, "shop-idc-2": "DRAINING TIMED_OUT"}, run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-1,shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-1,shop-idc-2"},
			announced: toFabric[:2],
			neighbors: map[string]string{"tunnel/shop-idc-1": "prepend 10 worst mute", "tunnel/shop-idc-2": "prepend 8 worst mute", "attachment/vpc-a": "prepend 8 worst"},
			watched:   2,
		},
		{
			name: "drained is down", local: map[string]string{"shop-idc-1": "DRAINED"}, run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-2"},
			announced: append(slices.Clone(toFabric), "172.17.0.0/16 fabric [65010]"),
			neighbors: map[string]string{"tunnel/shop-idc-2": "prepend 0", "attachment/vpc-a": "prepend 0"},
		},
		{
			name: "disabled is down", local: map[string]string{"shop-idc-1": "DISABLED"}, run: fromBoth,
			routes:    map[string]string{"172.16.0.0/16": "CONNECTION STATIC shop-idc-2", "172.17.0.0/16": "CONNECTION BGP shop-idc-2"},
			announced: append(slices.Clone(toFabric), "172.17.0.0/16 fabric [65010]"),
			neighbors: map[string]string{"tunnel/shop-idc-2": "prepend 0", "attachment/vpc-a": "prepend 0"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := build(t, load(t, shop), changed(host("198.51.100.1", "198.51.100.2"), test.local), "shop-prod").For(test.run)
			if err != nil {
				t.Fatal(err)
			}
			got := installed(p.Routing)
			delete(got, "10.0.0.0/16")
			delete(got, "10.9.0.0/16")
			if diff := cmp.Diff(test.routes, got); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.announced, announced(p.Speaker)); diff != "" {
				t.Errorf("announced (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.neighbors, told(p.Speaker)); diff != "" {
				t.Errorf("neighbors (-want +got):\n%s", diff)
			}
			if _, bad, err := bgp.Check(p.Speaker); err != nil || len(bad) > 0 {
				t.Errorf("the speaker is not good: %v, %v", bad, err)
			}
			watched := 0
			for _, f := range p.Firewall.Tunnels {
				if f.Watched {
					watched++
				}
			}
			if watched != test.watched {
				t.Errorf("%d tunnels are watched, not %d", watched, test.watched)
			}
			for _, c := range p.Charon {
				if want := !apiv1.LocallyDown(changed(Host{}, test.local).Local(c.Name)); c.Up != want {
					t.Errorf("%s: charon keeps it up: %v", c.Name, c.Up)
				}
			}
		})
	}
}

// told is how good neighbors are told that the ways over them are.
func told(s bgp.Speaker) map[string]string {
	out := map[string]string{}
	for _, n := range s.Neighbors {
		text := fmt.Sprintf("prepend %d", n.Prepend)
		switch {
		case n.MED != nil && *n.MED == math.MaxUint32:
			text += " worst"
		case n.MED != nil:
			text += fmt.Sprintf(" med %d", *n.MED)
		}
		if n.Mute {
			text += " mute"
		}
		out[n.Name] = text
	}
	return out
}

// TestDrainTouchesNoRoute: what leaves changes its tunnel by one group and no route.
func TestDrainTouchesNoRoute(t *testing.T) {
	set, ids := load(t, shop), NewIDs()
	run := with(up("shop-idc-1", "shop-idc-2"), learned("172.17.0.0/16", "shop-idc-1", "shop-idc-2"))
	routing := func(local map[string]string) Routing {
		g, err := Build(set, changed(host("198.51.100.1", "198.51.100.2"), local), ids, "shop-prod", 300)
		if err != nil {
			t.Fatal(err)
		}
		r, err := g.Routing(run)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := routing(nil)
	for _, local := range []string{"DRAINING ANNOUNCED_WORSE", "DRAINING WITHDRAWN", "DRAINED"} {
		if after := routing(map[string]string{"shop-idc-1": local}); !slices.Equal(before.Desired.Routes, after.Desired.Routes) {
			t.Errorf("%s: routes %v, before %v", local, after.Desired.Routes, before.Desired.Routes)
		}
	}
}
