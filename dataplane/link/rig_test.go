package link_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	vpc4 = netip.MustParsePrefix("10.0.0.1/24")
	vpc6 = netip.MustParsePrefix("fd00::1/64")
)

// rig is a driver on a kernel with an underlay eth0 and an attachment vpc0, being watched.
type rig struct {
	*link.Driver
	t      *testing.T
	kernel *netlinktest.Kernel
	hints  chan dataplane.Hint
}

func newDriver(k *netlinktest.Kernel) *link.Driver {
	return link.New(k, k.SysctlRoot(), slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func newRig(t *testing.T) *rig {
	t.Helper()
	k := netlinktest.New(t)
	k.AddDevice("eth0", netip.MustParsePrefix("198.51.100.1/24"))
	k.AddDevice("vpc0", vpc4, vpc6)
	r := &rig{Driver: newDriver(k), t: t, kernel: k, hints: make(chan dataplane.Hint, 1<<16)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Watch(ctx, func(h dataplane.Hint) { r.hints <- h }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	if h := <-r.hints; h.Kind != dataplane.Resync || h.Gateway != "" {
		t.Fatalf("first hint: %+v", h)
	}
	return r
}

func shop() link.Gateway {
	return link.Gateway{
		Name: "shop", VRF: "bgwv1", Table: 100001, Members: []string{"vpc0"},
		Interfaces: []link.Interface{
			{Tunnel: "shop-1", Name: "bgw1", IfID: 11, Underlay: "eth0", Address: netip.MustParsePrefix("169.254.10.1/30"), MTU: 1400, Up: true},
			{Tunnel: "shop-2", Name: "bgw2", IfID: 12, Underlay: "eth0", Address: netip.MustParsePrefix("fd99::1/126"), MTU: 1380, Up: true},
		},
	}
}

// device is what the tests compare of a device.
type device struct {
	Kind, Alias, Master, Underlay string
	IfID, Table                   uint32
	MTU                           int
	Up                            bool
	Addresses                     []netip.Prefix
}

// devices returns all devices but lo, without their indexes.
func (r *rig) devices() map[string]device {
	r.t.Helper()
	k := r.kernel.Outside()
	links, err := k.Links()
	if err != nil {
		r.t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	found := make(map[string]device)
	for _, l := range links {
		if l.Name == "lo" {
			continue
		}
		d := device{
			Kind: l.Kind, Alias: l.Alias, Master: names[l.Master], Underlay: names[l.Underlay],
			IfID: l.IfID, Table: l.Table, MTU: l.MTU, Up: l.Up,
		}
		addresses, err := k.Addresses(l.Index)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, a := range addresses {
			d.Addresses = append(d.Addresses, a.Prefix)
		}
		slices.SortFunc(d.Addresses, netip.Prefix.Compare)
		found[l.Name] = d
	}
	return found
}

// expected is what devices should return for a gateway, beside the machine's own devices.
func expected(want link.Gateway) map[string]device {
	all := map[string]device{
		"eth0": {MTU: 1500, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
		"vpc0": {MTU: 1500, Up: true, Addresses: []netip.Prefix{vpc4, vpc6}},
	}
	if want.VRF != "" {
		all[want.VRF] = device{Kind: "vrf", Alias: "bordergw:gateway/" + want.Name, Table: want.Table, MTU: 65575, Up: true}
	}
	for _, m := range want.Members {
		d := all[m]
		d.Master = want.VRF
		all[m] = d
	}
	for _, i := range want.Interfaces {
		all[i.Name] = device{
			Kind: "xfrm", Alias: "bordergw:tunnel/" + i.Tunnel, Master: want.VRF, Underlay: i.Underlay, IfID: i.IfID,
			MTU: i.MTU, Up: i.Up, Addresses: []netip.Prefix{i.Address},
		}
	}
	return all
}

func (r *rig) difference(want link.Gateway) string {
	r.t.Helper()
	d := cmp.Diff(expected(want), r.devices(), cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty())
	guards, err := r.kernel.Outside().Routes(0, link.GuardProtocol)
	if err != nil {
		r.t.Fatal(err)
	}
	wantGuards := 0
	if want.VRF != "" {
		wantGuards = 2
	}
	if len(guards) != wantGuards {
		d += "guard routes: " + cmp.Diff(wantGuards, len(guards))
	}
	for _, g := range guards {
		if g.Table != want.Table || g.Type != netlink.Unreachable || g.Prefix.Bits() != 0 {
			d += "guard route of another table or type"
		}
	}
	return d
}

// apply applies and wants everything to succeed; it returns the writes.
func (r *rig) apply(want link.Gateway) []string {
	r.t.Helper()
	res, err := r.Apply(r.t.Context(), want)
	if err != nil || len(res.Errors) > 0 {
		r.t.Fatalf("Apply: %v, %v", err, res.Errors)
	}
	return r.kernel.TakeWrites()
}

// check applies and compares the kernel with what is wanted.
func (r *rig) check(want link.Gateway) []string {
	r.t.Helper()
	w := r.apply(want)
	if d := r.difference(want); d != "" {
		r.t.Errorf("kernel (-want +got):\n%s", d)
	}
	return w
}

// converge applies until nothing fails and the kernel is as wanted. Between attempts it does what the periodic resync does.
func (r *rig) converge(want link.Gateway) {
	r.t.Helper()
	for range 5 {
		res, err := r.Apply(r.t.Context(), want)
		if err == nil && len(res.Errors) == 0 && r.difference(want) == "" {
			r.kernel.TakeWrites()
			r.Invalidate("")
			// A fault may have waited for this look at everything.
			if res, err := r.Apply(r.t.Context(), want); err == nil && len(res.Errors) == 0 {
				if w := r.kernel.TakeWrites(); len(w) > 0 {
					r.t.Errorf("writes although nothing differs: %q", w)
				}
				return
			}
		}
		r.Invalidate("")
	}
	r.t.Fatalf("did not converge (-want +got):\n%s", r.difference(want))
}

// await waits for a hint about an object.
func (r *rig) await(object string) dataplane.Hint {
	r.t.Helper()
	for {
		select {
		case h := <-r.hints:
			if h.Object == object {
				return h
			}
		case <-r.t.Context().Done():
			r.t.Fatalf("no hint about %s", object)
		}
	}
}

// must is for what another program does and the fake kernel has no reason to refuse.
func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) index(name string) int {
	r.t.Helper()
	l, err := r.kernel.Link(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return l.Index
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
