package link_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/dataplane"
	"github.com/bordergw/bordergw/dataplane/link"
	"github.com/bordergw/bordergw/dataplane/netlink"
)

// lookups notes which devices a driver looks at.
type lookups struct {
	netlink.Kernel
	mu    sync.Mutex
	names []string
}

func (l *lookups) Link(name string) (netlink.Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.names, name) {
		l.names = append(l.names, name)
	}
	return l.Kernel.Link(name)
}

func (l *lookups) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := l.names
	l.names = nil
	slices.Sort(names)
	return names
}

// What is as desired and has not been heard of is not looked at when something else of the gateway changes.
func TestOnlyWhatMayDifferIsLookedAt(t *testing.T) {
	tests := []struct {
		name   string
		change func(r *rig, g *link.Gateway)
		about  string // the object of the hint that the change brings
		looks  []string
	}{
		{"nothing", func(*rig, *link.Gateway) {}, "", nil},
		{"one tunnel's MTU", func(_ *rig, g *link.Gateway) { g.Interfaces[0].MTU = 1300 }, "", []string{"bgw1", "eth0"}},
		{"one tunnel more", func(_ *rig, g *link.Gateway) {
			more := g.Interfaces[0]
			more.Tunnel, more.Name, more.IfID = "shop-3", "bgw3", 13
			more.Address = more.Address.Masked()
			g.Interfaces = append(g.Interfaces, more)
		}, "", []string{"bgw3", "eth0"}},
		{"one tunnel less", func(_ *rig, g *link.Gateway) { g.Interfaces = g.Interfaces[:1] }, "", []string{"bgw2", "eth0"}},
		{"somebody sets a tunnel's MTU", func(r *rig, _ *link.Gateway) { r.must(r.kernel.Outside().SetMTU(r.index("bgw2"), 1200)) }, "shop-2", []string{"bgw2", "eth0"}},
		{"somebody deletes a tunnel", func(r *rig, _ *link.Gateway) { r.must(r.kernel.Outside().DeleteLink(r.index("bgw2"))) }, "shop-2", []string{"bgw2", "eth0"}},
		{"somebody releases a member", func(r *rig, _ *link.Gateway) { r.must(r.kernel.Outside().SetMaster(r.index("vpc0"), 0)) }, "vpc0", []string{"eth0", "vpc0"}},
		{"somebody deletes the VRF", func(r *rig, _ *link.Gateway) { r.must(r.kernel.Outside().DeleteLink(r.index("bgwv1"))) }, "bgwv1",
			[]string{"bgw1", "bgw2", "bgwv1", "eth0", "vpc0"}},
		{"invalidated", func(r *rig, _ *link.Gateway) { r.Invalidate("shop") }, "", []string{"bgw1", "bgw2", "bgwv1", "eth0", "vpc0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, kernel := newLookedAt(t)
			want := shop()
			r.check(want)
			r.apply(want)
			tt.change(r, &want)
			if tt.about != "" {
				r.await(tt.about)
			}
			// What was looked at to judge an event is not counted.
			kernel.take()
			r.apply(want)
			if d := cmp.Diff(tt.looks, kernel.take(), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("looked at (-want +got):\n%s", d)
			}
			if d := r.difference(want); d != "" {
				t.Errorf("kernel (-want +got):\n%s", d)
			}
		})
	}
}

// An underlay of the same name may be another device: no event tells, so tunnels are held against it.
func TestTunnelsFollowTheirUnderlay(t *testing.T) {
	r, _ := newLookedAt(t)
	want := shop()
	r.check(want)
	r.must(r.kernel.Outside().DeleteLink(r.index("eth0")))
	r.kernel.AddDevice("eth0", expected(link.Gateway{})["eth0"].Addresses...)
	want.Interfaces[0].MTU = 1300
	r.converge(want)
}

func newLookedAt(t *testing.T) (*rig, *lookups) {
	t.Helper()
	r := newRig(t)
	kernel := &lookups{Kernel: r.kernel}
	r.Driver = link.New(kernel, r.kernel.SysctlRoot(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done, hints := make(chan error, 1), make(chan dataplane.Hint, 1<<16)
	go func() { done <- r.Watch(ctx, func(h dataplane.Hint) { hints <- h }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	if h := <-hints; h.Kind != dataplane.Resync {
		t.Fatalf("first hint: %+v", h)
	}
	r.hints = hints
	return r, kernel
}
