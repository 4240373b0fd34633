package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/bgp"
)

const (
	// staleTime is how long learned routes that an earlier agent left in the kernel are kept while sessions come back.
	staleTime = 90 * time.Second
	// settleTime is how long an established session that sends no End-of-RIB marker is given to send its routes.
	settleTime = 5 * time.Second
)

// learned is what the speaker has learned, and while its sessions come back after a start of the agent also what the kernel still had
// from before: the peers' routes did not stop being right because we were away (RFC 4724 §4.1 does the same).
func (w *worker) learned(g *plan.Gateway, sessions map[string]*bgp.Session) []bgp.Learned {
	live := w.drivers.BGP.Routes(g.Name)
	if len(w.stale) == 0 {
		return live
	}
	if !w.now().Before(w.staleEnd) || w.settled(g, sessions) {
		w.stale = nil
		return live
	}
	return withLeftBehind(live, w.stale)
}

// withLeftBehind adds to the live routes those stale ones for whose prefix there is no live one. The result is sorted by prefix.
func withLeftBehind(live, stale []bgp.Learned) []bgp.Learned {
	fresh := map[netip.Prefix]bool{}
	for _, l := range live {
		fresh[l.Prefix] = true
	}
	out := slices.Clone(live)
	for _, l := range stale {
		if !fresh[l.Prefix] {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b bgp.Learned) int { return bgp.ComparePrefixes(a.Prefix, b.Prefix) })
	return out
}

// settled says that every session that should be there has told all it had to say.
func (w *worker) settled(g *plan.Gateway, sessions map[string]*bgp.Session) bool {
	done := func(name string) bool {
		s, ok := sessions[name]
		return ok && s.State == bgp.Established && (s.EORReceived || w.now().Sub(s.Since) > settleTime)
	}
	for i := range g.Tunnels {
		if t := &g.Tunnels[i]; t.BGP && t.AdminUp && !done(plan.TunnelNeighbor(t.Name)) {
			return false
		}
	}
	for i := range g.Attachments {
		if a := &g.Attachments[i]; a.Peer.IsValid() && !done(plan.AttachmentNeighbor(a.Name)) {
			return false
		}
	}
	return true
}

// untilStaleEnds shortens the time to the next round while left-over routes wait for their end.
func (w *worker) untilStaleEnds(next time.Duration) time.Duration {
	if len(w.stale) == 0 {
		return next
	}
	return max(min(next, settleTime, w.staleEnd.Sub(w.now())), time.Millisecond)
}
