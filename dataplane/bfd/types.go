package bfd

import (
	"fmt"
	"net/netip"
	"time"
)

// Values of State.State and State.Peer.
const (
	// StateOff: no such session.
	StateOff = "OFF"
	// StateAdminDown: the end in question wants no session.
	StateAdminDown = "ADMIN_DOWN"
	StateDown      = "DOWN"
	StateInit      = "INIT"
	StateUp        = "UP"
)

// MinInterval is the shortest interval that Apply accepts: below it a garbage collector's pause counts as the peer's.
const MinInterval = 50 * time.Millisecond

// Target is one session.
type Target struct {
	// Tunnel is the VPNTunnel's name.
	Tunnel string
	// Device is the tunnel's XFRM interface. It may be missing and may be recreated at any time.
	Device string
	// Local and Peer are the inside addresses, of one family.
	Local, Peer netip.Addr
	// Interval is both how often we want to send and how often the peer may send, MinInterval at least, in whole microseconds;
	// Multiplier is after how many missing packets the peer takes us for gone, 1 at least. Changing either interrupts nothing.
	Interval   time.Duration
	Multiplier uint8
}

func (t Target) validate() error {
	switch {
	case t.Tunnel == "":
		return fmt.Errorf("tunnel: empty name")
	case t.Device == "" || len(t.Device) > maxDeviceName:
		return fmt.Errorf("device: %q has not between 1 and %d characters", t.Device, maxDeviceName)
	case !unicast(t.Local):
		return fmt.Errorf("local: %v is not a unicast address", t.Local)
	case !unicast(t.Peer):
		return fmt.Errorf("peer: %v is not a unicast address", t.Peer)
	case t.Local.Is4() != t.Peer.Is4():
		return fmt.Errorf("peer: %v is not of the family of local %v", t.Peer, t.Local)
	case t.Local == t.Peer:
		return fmt.Errorf("peer: %v is the local address too", t.Peer)
	case t.Interval < MinInterval || t.Interval > maxInterval:
		return fmt.Errorf("interval: %v is not between %v and %v", t.Interval, MinInterval, maxInterval)
	case t.Multiplier < 1:
		return fmt.Errorf("multiplier: 0")
	}
	return nil
}

const (
	// maxDeviceName is IFNAMSIZ without its terminator.
	maxDeviceName = 15
	// maxInterval keeps detection times below the 71 minutes that 32 bits of microseconds can say.
	maxInterval = time.Minute
)

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}

// State is what is known of one session.
type State struct {
	// State is ours, Peer what the peer last said of its own; DOWN when nothing was heard for the detection time.
	State, Peer string
	// Since is when State got its value.
	Since time.Time
	// Heard is when the last good packet came; zero for never.
	Heard time.Time
	// Armed says that the session has been UP since the peer last sent AdminDown. A session that is armed and not UP says that the
	// tunnel carries nothing.
	Armed bool
	// Downs counts how often an armed session ended.
	Downs uint64
	// Diagnostic is why the session is not UP, in words; the peer's reason where the peer has ended it. Empty when there is none.
	Diagnostic string
	// Detection is after how much silence the peer counts as gone; 0 before it was heard. Interval is the time between our packets.
	Detection, Interval time.Duration
}

// Dead says that the session tells of a tunnel that carries nothing.
func (s State) Dead() bool { return s.Armed && s.State != StateUp }

// Event reports that a session's State, or what the peer says of it, changed.
type Event struct {
	Tunnel string
	State  State
}

// Result is what Apply left running.
type Result struct {
	// Errors holds why targets were not taken, by tunnel name. What was running for such a tunnel goes on unchanged.
	Errors map[string]error
}
