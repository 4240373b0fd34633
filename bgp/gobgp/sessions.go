package gobgp

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/bordergw/bordergw/bgp"
)

// waiting is the message of a session that nothing more precise is known of.
const waiting = "waiting for the peer"

// peerEvent takes in a change of a session's state. It returns the neighbor's name when something changed, and whether the peer
// has announced more prefixes than it may.
func (v *view) peerEvent(epoch int, e *apiutil.WatchEventMessage_PeerEvent) (neighbor string, tooMany bool) {
	state := e.Peer.State
	next := sessionState(state.SessionState)
	if next == "" || e.Type != apiutil.PEER_EVENT_STATE {
		return "", false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[state.NeighborAddress]
	if s == nil || epoch != v.epoch {
		return "", false
	}
	tooMany = next != bgp.Established && state.AdminState == api.PeerState_ADMIN_STATE_PFX_CT
	before := s.Session
	v.stale = true
	if (next == bgp.Established) != (s.State == bgp.Established) {
		s.Since = v.now()
	}
	if next != s.State {
		s.entered = v.now()
	}
	s.State = next
	if next == bgp.Established {
		s.Message, s.PeerRouterID = "", state.RouterID
		if before.State != bgp.Established {
			s.number++
		}
		s.ended, s.resent = map[gobgpbgp.Family]bool{}, false
		s.families = negotiated(s.families, state.RemoteCap)
	} else {
		s.EORReceived = false
		s.Received, s.Accepted, s.Announced = 0, 0, 0
		if m := reason(state); m != "" {
			s.Message = m
		}
	}
	if before == s.Session && !tooMany {
		return "", false
	}
	return s.Neighbor, tooMany
}

func sessionState(s gobgpbgp.FSMState) bgp.State {
	switch s {
	case gobgpbgp.BGP_FSM_IDLE:
		return bgp.Idle
	case gobgpbgp.BGP_FSM_CONNECT:
		return bgp.Connect
	case gobgpbgp.BGP_FSM_ACTIVE:
		return bgp.Active
	case gobgpbgp.BGP_FSM_OPENSENT:
		return bgp.OpenSent
	case gobgpbgp.BGP_FSM_OPENCONFIRM:
		return bgp.OpenConfirm
	case gobgpbgp.BGP_FSM_ESTABLISHED:
		return bgp.Established
	}
	return ""
}

// reason says for people why a session ended; empty for what is no end.
func reason(s apiutil.PeerState) string {
	switch s.DisconnectReason {
	case api.PeerState_DISCONNECT_REASON_HOLD_TIMER_EXPIRED:
		return "nothing heard from the peer for the hold time"
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_SENT:
		return "closed by us: " + strings.TrimPrefix(s.DisconnectMessage, "notification-sent ")
	case api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED:
		return "closed by the peer: " + strings.TrimPrefix(s.DisconnectMessage, "notification-received ")
	case api.PeerState_DISCONNECT_REASON_HARD_RESET:
		return "closed by the peer: hard reset"
	case api.PeerState_DISCONNECT_REASON_READ_FAILED, api.PeerState_DISCONNECT_REASON_WRITE_FAILED:
		return "connection lost"
	case api.PeerState_DISCONNECT_REASON_GRACEFUL_RESTART:
		return "connection lost, routes are kept while the peer restarts"
	case api.PeerState_DISCONNECT_REASON_RESTART_TIMER_EXPIRED:
		return "the peer has not come back within its restart time"
	case api.PeerState_DISCONNECT_REASON_INVALID_MSG:
		return "the peer sent an invalid message"
	case api.PeerState_DISCONNECT_REASON_BAD_PEER_AS:
		return "the peer's AS number is not the configured one"
	}
	return ""
}

// negotiated returns the families that the peer speaks too. A peer without the capability speaks IPv4 (RFC 4760 §8).
func negotiated(configured []gobgpbgp.Family, caps []gobgpbgp.ParameterCapabilityInterface) []gobgpbgp.Family {
	remote := map[gobgpbgp.Family]bool{}
	for _, c := range caps {
		if mp, ok := c.(*gobgpbgp.CapMultiProtocol); ok {
			remote[mp.CapValue] = true
		}
	}
	if len(remote) == 0 {
		remote[gobgpbgp.RF_IPv4_UC] = true
	}
	var l []gobgpbgp.Family
	for _, f := range configured {
		if remote[f] {
			l = append(l, f)
		}
	}
	return l
}

// endOfRIB takes in an End-of-RIB marker and returns the neighbor's name when it was the last one missing, and whether routes are gone with it:
// those that were kept while the peer restarted and that it has not announced again (RFC 4724 §4.2).
func (v *view) endOfRIB(epoch int, p *apiutil.Path) (neighbor string, dropped bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[p.PeerAddress]
	if s == nil || epoch != v.epoch || s.State != bgp.Established || s.EORReceived {
		return "", false
	}
	s.ended[p.Family] = true
	for _, f := range s.families {
		if !s.ended[f] {
			return "", false
		}
	}
	s.EORReceived = true
	return s.Neighbor, v.dropBefore(s.PeerAddress, s.number)
}

// waiting says that no connection with a neighbor has been made.
func (v *view) waiting(addr netip.Addr) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[addr]
	return s != nil && (s.State == bgp.Idle || s.State == bgp.Active)
}

// hanging returns the neighbors whose session has been in OPENCONFIRM for longer than the hold time. GoBGP has no timer there before a
// session has been established once, and when two of its kind connect to each other at the same moment, each may wait for ever on
// the connection that the other has given up.
func (v *view) hanging() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for _, s := range v.sessions {
		if s.State == bgp.OpenConfirm && v.now().Sub(s.entered) > s.hold {
			names = append(names, s.Neighbor)
		}
	}
	return names
}

// unsettled returns the neighbors, once for each session, whose session has been established for some time.
func (v *view) unsettled(after time.Duration) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for _, s := range v.sessions {
		if s.State == bgp.Established && !s.resent && v.now().Sub(s.entered) >= after {
			s.resent = true
			names = append(names, s.Neighbor)
		}
	}
	return names
}

// note records what went wrong with a session that is not established. It returns the neighbor's name when that is news.
func (v *view) note(addr netip.Addr, message string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[addr]
	if s == nil || s.State == bgp.Established || s.Message == message {
		return ""
	}
	s.Message = message
	return s.Neighbor
}

// counts records the prefix counters that GoBGP reports.
func (v *view) counts(addr netip.Addr, received, announced uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sessions[addr]; s != nil && s.State == bgp.Established {
		s.Received, s.Announced = received, announced
	}
}

// recount has the counters read again.
func (v *view) recount() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stale = true
}

// takeStale says whether counters may have changed since it was last asked.
func (v *view) takeStale() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.stale
	v.stale = false
	return was
}

// snapshotSessions returns the sessions sorted by neighbor.
func (v *view) snapshotSessions() []bgp.Session {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := make([]bgp.Session, 0, len(v.sessions))
	for addr, s := range v.sessions {
		out := s.Session
		out.Accepted = v.rib.accepted(addr)
		if out.State != bgp.Established && out.Message == "" {
			out.Message = waiting
		}
		l = append(l, out)
	}
	slices.SortFunc(l, func(a, b bgp.Session) int { return cmp.Compare(a.Neighbor, b.Neighbor) })
	return l
}
