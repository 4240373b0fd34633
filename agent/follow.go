package agent

import (
	"context"
	"time"

	"github.com/bordergw/bordergw/agent/local"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// logInterval is how often a log that is followed is looked at.
const logInterval = 250 * time.Millisecond

// WatchEvents calls send with the last events and, with follow, with what happens until ctx ends or send fails.
func (a *Agent) WatchEvents(ctx context.Context, req *apiv1.WatchHostEventsRequest, send func(*apiv1.HostEvent) error) error {
	return a.ring.Watch(ctx, int(req.GetLast()), req.GetFollow(), send)
}

// WatchLog calls send with a tunnel's negotiation log and, with follow, with what is added until ctx ends, the tunnel leaves the host, or
// send fails.
func (a *Agent) WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error {
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	for seen := uint64(0); ; {
		fresh, count, ok := a.tracker.LogAfter(req.GetTunnel(), seen)
		if !ok {
			return &local.Error{Kind: local.Unknown, Message: "tunnel " + req.GetTunnel() + " is not on this host"}
		}
		for _, e := range fresh {
			if req.GetSince() != nil && e.GetTime().AsTime().Before(req.GetSince().AsTime()) {
				continue
			}
			if err := send(e); err != nil {
				return err
			}
		}
		seen = count
		if !req.GetFollow() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
