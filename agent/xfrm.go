package agent

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/bordergw/bordergw/dataplane/link"
)

// xfrm is what the kernel counts of IPsec packets that it dropped, as it was last read: by tunnel, and for the whole host.
type xfrm struct {
	tunnels func(ctx context.Context, wanted map[uint32]bool) (map[uint32]link.Errors, error)
	// host may be nil.
	host func() (map[string]uint64, error)
	log  *slog.Logger

	byIfID atomic.Pointer[map[uint32]link.Errors]
	ofHost atomic.Pointer[map[string]uint64]
}

// refresh reads the counters; wanted are the if_ids of all tunnels. What cannot be read stays as it was.
func (x *xfrm) refresh(ctx context.Context, wanted map[uint32]bool) {
	if errors, err := x.tunnels(ctx, wanted); err == nil {
		x.byIfID.Store(&errors)
	} else if ctx.Err() == nil {
		x.log.Warn("dropped packets of tunnels cannot be read", "error", err)
	}
	if x.host == nil {
		return
	}
	if errors, err := x.host(); err == nil {
		x.ofHost.Store(&errors)
	} else {
		x.log.Warn("dropped IPsec packets cannot be read", "error", err)
	}
}

// of is what a tunnel lost; nil while nobody counted it.
func (x *xfrm) of(ifID uint32) *link.Errors {
	last := x.byIfID.Load()
	if last == nil {
		return nil
	}
	errors, ok := (*last)[ifID]
	if !ok {
		return nil
	}
	return &errors
}

// ofAll is what the host lost. It is shared and must not be changed.
func (x *xfrm) ofAll() map[string]uint64 {
	if last := x.ofHost.Load(); last != nil {
		return *last
	}
	return nil
}

// ifIDs are those of all tunnels that are served.
func (a *Agent) ifIDs() map[uint32]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := map[uint32]bool{}
	for _, w := range a.workers {
		if g := w.wanted().plan; g != nil {
			for i := range g.Tunnels {
				ids[g.Tunnels[i].IfID] = true
			}
		}
	}
	return ids
}
