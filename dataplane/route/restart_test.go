package route_test

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
	"github.com/bordergw/bordergw/dataplane/route"
)

func TestRestart(t *testing.T) {
	r := newRig(t)
	r.apply(both())
	other := route.Desired{
		Gateway: "gone", Table: 1002, Nexthops: []route.Nexthop{{ID: c4, Interface: "tc"}},
		Groups: []route.Group{{ID: g6 + 1, Members: []uint32{c4}}},
		Routes: []route.Route{{Prefix: pfx("10.1.0.0/16"), Nexthop: g6 + 1}},
	}
	r.apply(other)

	second := route.New(r.kernel, slog.New(slog.NewTextHandler(io.Discard, nil)))
	found, err := second.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[uint32]int{table: 6, 1002: 1}, found.Routes); d != "" {
		t.Errorf("listed routes (-want +got):\n%s", d)
	}
	if d := cmp.Diff(append(both().Groups, other.Groups...), found.Groups); d != "" {
		t.Errorf("listed groups (-want +got):\n%s", d)
	}
	if i := slices.IndexFunc(found.Nexthops, func(n route.ExistingNexthop) bool { return n.ID == b6 }); i < 0 ||
		found.Nexthops[i].Interface != "tb" || !found.Nexthops[i].IPv6 {
		t.Errorf("listed nexthops: %+v", found.Nexthops)
	}

	r.kernel.TakeWrites()
	if _, err := second.Apply(t.Context(), both()); err != nil {
		t.Fatal(err)
	}
	wantWrites(t, r.kernel.TakeWrites())
	if err := second.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := r.difference(both()); d != "" {
		t.Errorf("after sweep (-want +got):\n%s", d)
	}
	if n := len(r.facts(1002).Routes); n != 0 {
		t.Errorf("%d routes of the forgotten gateway left", n)
	}
}

// After a restart an id may be wanted for a tunnel of another tenant: packets of the old owner must not go there.
func TestReusedIdsNeverMisroute(t *testing.T) {
	r := newRig(t)
	r.apply(both())
	second := route.New(r.kernel, slog.New(slog.NewTextHandler(io.Discard, nil)))
	other := route.Desired{
		Gateway: "other", Table: 1002,
		Nexthops: []route.Nexthop{{ID: a4, Interface: "tc"}},
		Groups:   []route.Group{{ID: g6, Members: []uint32{a4}}, {ID: g4, Members: []uint32{a4}}},
		Routes:   []route.Route{{Prefix: pfx("10.1.0.0/16"), Nexthop: g4}},
	}
	if res, err := second.Apply(t.Context(), other); err != nil || res.Failed() {
		t.Fatalf("Apply: %+v, %v", res, err)
	}
	f := r.facts(table)
	for prefix, rt := range f.Routes {
		for _, id := range append(f.Nexthops[rt.Nexthop].Group, rt.Nexthop) {
			if f.Nexthops[id].Link == r.device("tc").Index {
				t.Errorf("%s of gateway shop leads to a tunnel of gateway other", prefix)
			}
		}
	}
	if len(r.facts(1002).Routes) != 1 {
		t.Error("the new owner's route is missing")
	}
}

func TestExistingTellsWhereRoutesLead(t *testing.T) {
	r := newRig(t)
	r.apply(both())
	got, err := r.Existing(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	want := []route.ExistingRoute{
		{Prefix: pfx("10.1.0.0/16"), Interfaces: []string{"ta", "tb"}},
		{Prefix: pfx("10.2.0.0/16"), Interfaces: []string{"ta", "tb"}},
		{Prefix: pfx("10.3.0.0/16"), Interfaces: []string{"ta"}},
		{Prefix: pfx("10.4.0.0/16")},
		{Prefix: pfx("fd01::/64"), Interfaces: []string{"ta", "tb"}},
		{Prefix: pfx("fd02::/64")},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("existing routes (-want +got):\n%s", d)
	}
	if got, err := r.Existing(t.Context(), 4711); err != nil || len(got) > 0 {
		t.Errorf("unknown table: %v, %v", got, err)
	}
}

// Sweep must not take nexthops away from routes of a gateway that is wanted but could not be applied yet.
func TestSweepSparesWhatIsUsed(t *testing.T) {
	r := newRig(t)
	r.apply(both())
	second := route.New(r.kernel, slog.New(slog.NewTextHandler(io.Discard, nil)))
	r.kernel.Arm(netlinktest.InterruptDump)
	renumbered := both()
	renumbered.Nexthops, renumbered.Groups, renumbered.Routes = renumbered.Nexthops[:1], nil, nil
	if _, err := second.Apply(t.Context(), renumbered); !errors.Is(err, netlink.ErrInterrupted) {
		t.Fatalf("Apply: %v, want ErrInterrupted", err)
	}
	if err := second.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := r.difference(both()); d != "" {
		t.Errorf("after sweep (-want +got):\n%s", d)
	}
}
