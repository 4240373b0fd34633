//go:build lab

package link_test

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// real is a driver on this machine's kernel, in a namespace with an underlay eth0 and an attachment vpc0.
type real struct {
	*link.Driver
	t       *testing.T
	kernel  *netlinktest.Counter
	outside *netlink.Handle
}

func newReal(t *testing.T) *real {
	netlinktest.Namespace(t)
	for _, name := range []string{"eth0", "vpc0"} {
		ip(t, "link", "add", name, "type", "veth", "peer", name+"p")
		ip(t, "link", "set", name, "up")
		ip(t, "link", "set", name+"p", "up")
	}
	ip(t, "address", "add", "198.51.100.1/24", "dev", "eth0")
	ip(t, "address", "add", vpc4.String(), "dev", "vpc0")
	ip(t, "address", "add", vpc6.String(), "dev", "vpc0", "nodad")
	open := func() *netlink.Handle {
		h, err := netlink.Open()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	r := &real{t: t, kernel: &netlinktest.Counter{Kernel: open()}, outside: open()}
	r.Driver = r.driver()
	return r
}

func (r *real) driver() *link.Driver {
	return link.New(r.kernel, link.ProcSys, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// check applies, compares the kernel with what is wanted, and returns how many messages were sent.
func (r *real) check(what string, d *link.Driver, want link.Gateway) int {
	r.t.Helper()
	res, err := d.Apply(r.t.Context(), want)
	if err != nil || len(res.Errors) > 0 {
		r.t.Errorf("%s: Apply: %v, %v", what, err, res.Errors)
	}
	sent := r.kernel.Take()
	links, err := r.outside.Links()
	if err != nil {
		r.t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	got := map[string]device{}
	for _, l := range links {
		if !slices.Contains([]string{"vrf", "xfrm"}, l.Kind) && l.Name != "vpc0" {
			continue
		}
		d := device{
			Alias: l.Alias, Master: names[l.Master], IfID: l.IfID, Table: l.Table, MTU: l.MTU, Up: l.Up, Underlay: names[l.Underlay],
		}
		if l.Kind == "vrf" {
			d.MTU = 65575 // differs between kernels
		}
		if d.Kind = l.Kind; l.Kind == "veth" {
			d.Kind = ""
		}
		addresses, err := r.outside.Addresses(l.Index)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, a := range addresses {
			if !a.Prefix.Addr().IsLinkLocalUnicast() || a.Prefix.Addr().Is4() {
				d.Addresses = append(d.Addresses, a.Prefix)
			}
		}
		slices.SortFunc(d.Addresses, netip.Prefix.Compare)
		got[l.Name] = d
	}
	expect := expected(want)
	delete(expect, "eth0")
	if diff := cmp.Diff(expect, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("%s: kernel (-want +got):\n%s", what, diff)
	}
	guards, err := r.outside.Routes(want.Table, link.GuardProtocol)
	if err != nil || want.VRF != "" && len(guards) != 2 {
		r.t.Errorf("%s: guard routes %v, %v", what, guards, err)
	}
	return sent
}

func (r *real) index(name string) int {
	r.t.Helper()
	l, err := r.outside.Link(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return l.Index
}

// A gateway's life on a kernel that has VRFs and XFRM interfaces.
func TestLabLife(t *testing.T) {
	r := newReal(t)
	if problems := r.EnsureSysctls(t.Context()); len(problems) > 0 {
		t.Errorf("sysctls: %+v", problems)
	}
	first := r.check("first", r.Driver, shop())
	t.Logf("first round: %d messages", first)
	if n := r.check("again", r.Driver, shop()); n != 0 {
		t.Errorf("second round: %d messages", n)
	}
	r.Invalidate("")
	if n := r.check("looked at anew", r.Driver, shop()); n != 0 {
		t.Errorf("round that looks at everything: %d messages", n)
	}
	before := r.index("bgw1")
	second := r.driver()
	if n := r.check("adopted", second, shop()); n != 0 || r.index("bgw1") != before {
		t.Errorf("adoption: %d messages", n)
	}
	changed := shop()
	changed.Interfaces[0].MTU, changed.Interfaces[1].Address = 1300, netip.MustParsePrefix("fd99::1/127")
	if r.check("changed", r.Driver, changed); r.index("bgw1") != before {
		t.Error("recreated for another MTU")
	}
	changed.Interfaces[0].IfID = 77
	r.check("another if_id", r.Driver, changed)
	if r.index("bgw1") == before {
		t.Error("not recreated for another if_id")
	}
	for _, break1 := range []func() error{
		func() error { return r.outside.SetUp(r.index("bgw2"), false) },
		func() error { return r.outside.SetMaster(r.index("bgw2"), 0) },
		func() error { return r.outside.DeleteLink(r.index("bgw1")) },
		func() error { return r.outside.SetMaster(r.index("vpc0"), 0) },
		func() error { return r.outside.DeleteLink(r.index("bgwv1")) },
	} {
		if err := break1(); err != nil {
			t.Fatal(err)
		}
		r.Invalidate("")
		r.check("repaired", r.Driver, changed)
	}
	small := changed
	small.Members, small.Interfaces = nil, small.Interfaces[:1]
	r.check("smaller", r.Driver, small)
	if err := r.Remove(t.Context(), "shop"); err != nil {
		t.Error(err)
	}
	r.check("removed", r.driver(), link.Gateway{Name: "none", VRF: "bgwv9", Table: 100009})
	if guards, err := r.outside.Routes(100001, link.GuardProtocol); err != nil || len(guards) > 0 {
		t.Errorf("guard routes left: %v, %v", guards, err)
	}
}

// What the driver does itself leads to no hint; what another program does leads to one.
func TestLabWatch(t *testing.T) {
	r := newReal(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hints := make(chan dataplane.Hint, 1024)
	finished := make(chan struct{})
	subscribed := make(chan struct{})
	go func() {
		defer close(finished)
		defer cancel()
		<-subscribed
		// Sysctls belong to the thread's namespace, so rounds that change devices stay on the test's own thread (below).
		if err := r.outside.SetMTU(r.index("bgw1"), 1333); err != nil {
			t.Error(err)
		}
		if h := <-hints; h.Object != "shop-1" {
			t.Errorf("first hint: %+v", h)
		}
	}()
	first := true
	r.check("before watching", r.Driver, shop())
	err := r.Watch(ctx, func(h dataplane.Hint) {
		if !first {
			hints <- h
			return
		}
		first = false
		changed := shop()
		changed.Interfaces[0].MTU, changed.Interfaces[1].IfID = 1300, 99
		r.check("changed while watching", r.Driver, changed)
		close(subscribed)
	})
	<-finished
	if err != nil {
		t.Errorf("Watch: %v", err)
	}
}
