package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/dataplane/link"
)

const (
	// orphanAge is how long something must have been an orphan, in every look, before it is removed. charon installs before it tells, and
	// forgets before it removes; both take moments.
	orphanAge = 15 * time.Second
	// orphanQuiet is how long charon must have been there: after its end its SAs carry packets on until others have replaced them.
	orphanQuiet = time.Minute
)

// orphans finds IPsec states and policies with if_ids of ours that charon does not have: a killed charon leaves them, and they stay for
// the rest of their lives, up to a day.
type orphans struct {
	list   func(ctx context.Context, ours func(uint32) bool) (link.IPsec, error)
	remove func(ctx context.Context, what link.IPsec) error
	known  func() (charon.Known, bool)
	// misled has a tunnel's CHILD_SA replaced.
	misled func(tunnel, why string)
	ours   func(ifID uint32) bool
	now    func() time.Time
	log    *slog.Logger

	// since is when each was first an orphan; of one connection to charon.
	since     map[orphan]time.Time
	connected time.Time

	removedSAs, removedPolicies atomic.Uint64
}

// orphan is what the kernel knows a state or a policy by.
type orphan struct {
	destination netip.Addr
	spi         uint32
	policy      link.Policy
}

// look compares the kernel with charon, whose SAs must have been listed just before.
func (o *orphans) look(ctx context.Context) {
	known, ok := o.known()
	now := o.now()
	if !ok || now.Sub(known.Since) < orphanQuiet || !known.Since.Equal(o.connected) {
		o.since, o.connected = nil, known.Since
		return
	}
	have, err := o.list(ctx, o.ours)
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn("orphaned SAs cannot be looked for", "error", err)
		}
		return
	}
	seen, due := map[orphan]time.Time{}, link.IPsec{}
	old := func(key orphan) bool {
		first, before := o.since[key]
		if !before {
			first = now
		}
		seen[key] = first
		return now.Sub(first) >= orphanAge
	}
	for _, sa := range have.SAs {
		if !known.SPIs[sa.SPI] && old(orphan{destination: sa.Destination, spi: sa.SPI}) {
			due.SAs = append(due.SAs, sa)
		}
	}
	for _, p := range have.Policies {
		tunnel, used := known.IfIDs[p.IfID]
		switch {
		case !used:
			if old(orphan{policy: p}) {
				due.Policies = append(due.Policies, p)
			}
		case p.Out && p.SPI != 0 && tunnel != "" && !known.SPIs[p.SPI]:
			// charon believes that the policy leads to an SA that it has.
			if old(orphan{policy: p}) {
				o.misled(tunnel, "the kernel's policy leads to an SA that is gone")
				delete(seen, orphan{policy: p})
			}
		}
	}
	o.since = seen
	if len(due.SAs)+len(due.Policies) == 0 {
		return
	}
	o.log.Info("removing IPsec states and policies that charon does not have", "states", len(due.SAs), "policies", len(due.Policies))
	if err := o.remove(ctx, due); err != nil {
		// The next look finds what is left, and counts no more than that.
		o.log.Warn("orphans not removed", "error", err)
		return
	}
	o.removedSAs.Add(uint64(len(due.SAs)))
	o.removedPolicies.Add(uint64(len(due.Policies)))
}
