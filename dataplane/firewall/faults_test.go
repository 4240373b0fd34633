package firewall

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/bordergw/bordergw/dataplane"
)

// watched runs a driver's Watch and returns its hints.
func watched(t *testing.T, d *Driver, k *fake) <-chan dataplane.Hint {
	t.Helper()
	hints := make(chan dataplane.Hint, 64)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	subscribed := make(chan struct{})
	var once sync.Once
	d.kernel = &announcing{fake: k, subscribed: func() { once.Do(func() { close(subscribed) }) }}
	go func() { done <- d.Watch(ctx, func(h dataplane.Hint) { hints <- h }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	<-subscribed
	return hints
}

type announcing struct {
	*fake
	subscribed func()
}

func (a *announcing) watch(ctx context.Context, ready, changed func()) error {
	return a.fake.watch(ctx, func() { ready(); a.subscribed() }, changed)
}

func TestFlushedRulesetIsReportedAndRepaired(t *testing.T) {
	for _, fault := range []string{"", eventsOverflow} {
		t.Run("fault "+fault, func(t *testing.T) {
			k := newFake()
			d := newDriver(k, quiet())
			hints := watched(t, d, k)
			apply(t, d, shop())
			k.outside(func() {}) // of another table
			k.mu.Lock()
			k.faults = map[string]bool{fault: fault != ""}
			k.mu.Unlock()
			k.flush()
			if h := <-hints; h.Kind != dataplane.Resync {
				t.Errorf("hint %+v", h)
			}
			apply(t, d, shop())
			if k.passes("bgw1", "bgw3") {
				t.Error("not repaired")
			}
			k.outside(func() { delete(k.table.content.guarded, "bgw1") })
			<-hints
			apply(t, d, shop())
			if k.passes("bgw1", "bgw3") {
				t.Error("removed element not repaired")
			}
		})
	}
}

// Every fault before every step of a gateway's life; Invalidate is the periodic resync.
func TestLifeUnderFaults(t *testing.T) {
	converge := func(t *testing.T, d *Driver, k *fake, want func(content), do func() error) {
		t.Helper()
		c := newContent()
		want(c)
		for range 3 {
			err := do()
			d.Invalidate()
			if err != nil {
				continue
			}
			if k.table.content.equal(c) || c.empty() && !k.present {
				return
			}
		}
		t.Fatalf("did not converge: have %+v, want %+v", k.table.content, c)
	}
	bigger := shop()
	bigger.Tunnels = append(bigger.Tunnels, Tunnel{Interface: "bgw4", Connection: "office"})
	for _, fault := range []string{
		loadFails, replaceFails, replaceUnconfirmed, updateFails, updateUnconfirmed, eventLost, eventsOverflow,
	} {
		for at := range 2 {
			t.Run(fmt.Sprintf("%s before step %d", fault, at), func(t *testing.T) {
				k := newFake()
				d := newDriver(k, quiet())
				watched(t, d, k)
				for i, step := range []func(){
					func() {
						converge(t, d, k, func(c content) { c.add(shop()) }, func() error { return d.Apply(t.Context(), shop()) })
					},
					func() {
						converge(t, d, k, func(c content) { c.add(bigger) }, func() error { return d.Apply(t.Context(), bigger) })
					},
					func() {
						k.flush()
						converge(t, d, k, func(c content) { c.add(bigger) }, func() error { return d.Apply(t.Context(), bigger) })
					},
					func() {
						converge(t, d, k, func(content) {}, func() error { return d.Remove(t.Context(), "shop") })
					},
				} {
					if i == at {
						k.mu.Lock()
						k.faults[fault] = true
						k.mu.Unlock()
					}
					step()
				}
				k.mu.Lock()
				defer k.mu.Unlock()
				if len(k.faults) > 0 {
					t.Errorf("never happened: %v", k.faults)
				}
			})
		}
	}
}
