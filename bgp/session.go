package bgp

import (
	"net/netip"
	"time"
)

// State is a state of the BGP finite state machine (RFC 4271 §8.2.2).
type State string

// The states of a session. Routes are exchanged in Established only.
const (
	Idle        State = "IDLE"
	Connect     State = "CONNECT"
	Active      State = "ACTIVE"
	OpenSent    State = "OPENSENT"
	OpenConfirm State = "OPENCONFIRM"
	Established State = "ESTABLISHED"
)

// Session is what is true of one neighbor now.
type Session struct {
	// Neighbor is the neighbor's name.
	Neighbor string
	Kind     Kind
	State    State
	// Since is when the session became established or, while it is not, when it was last lost or first wanted.
	Since time.Time
	// Message says for people why the session is not established: why the last one ended, when the next attempt follows a prefix
	// limit. Empty when there is nothing to say.
	Message string
	// NextTry is when a session that the peer's number of prefixes has ended is begun again; zero otherwise. Exceeded counts how often
	// that has happened since the neighbor is wanted.
	NextTry  time.Time
	Exceeded uint64
	// LocalAddress and PeerAddress are the configured ends.
	LocalAddress, PeerAddress netip.Addr
	LocalASN, PeerASN         uint32
	// PeerRouterID is what the peer said in its OPEN; invalid before the first session.
	PeerRouterID netip.Addr
	// Received counts prefixes the peer announces, Accepted those that policy let in, and Announced those we announce to it.
	Received, Accepted, Announced uint32
	// EORReceived says that the peer has sent all it had to say at the start (RFC 4724 §2) for every family in use. It is only
	// ever true when the peer speaks graceful restart.
	EORReceived bool
}

// Event is a hint that something changed: [SessionChanged] or [RoutesChanged]. Sessions and Routes of the driver have the facts.
type Event interface {
	// EventGateway is the gateway the event is about.
	EventGateway() string
}

// SessionChanged reports that a session's state or message changed.
type SessionChanged struct{ Gateway, Neighbor string }

// RoutesChanged reports that the learned routes of a gateway changed. Changes within some milliseconds share one event.
type RoutesChanged struct{ Gateway string }

// EventGateway implements [Event].
func (e SessionChanged) EventGateway() string { return e.Gateway }

// EventGateway implements [Event].
func (e RoutesChanged) EventGateway() string { return e.Gateway }
