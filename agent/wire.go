package agent

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/dataplane/firewall"
)

// wire is the encrypted traffic of all tunnels as it was last read. Rounds and readers of the view cause no reading.
type wire struct {
	read func(context.Context) (map[firewall.Endpoints]firewall.Traffic, error)
	log  *slog.Logger
	last atomic.Pointer[map[firewall.Endpoints]firewall.Traffic]
}

// refresh reads the counters. When that fails the last ones stay.
func (w *wire) refresh(ctx context.Context) {
	counted, err := w.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("encrypted traffic cannot be read", "error", err)
		}
		return
	}
	w.last.Store(&counted)
}

// of is the tunnel's traffic; nil when it is not measured, as of tunnels that have both outer addresses in common.
func (w *wire) of(t *plan.Tunnel) *firewall.Traffic {
	last := w.last.Load()
	if last == nil {
		return nil
	}
	traffic, ok := (*last)[firewall.Endpoints{Local: t.Cloud, Remote: t.Customer}]
	if !ok {
		return nil
	}
	return &traffic
}
