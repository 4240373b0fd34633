package probe

import (
	"fmt"
	"net/netip"
	"time"
)

// Mode is a tunnel's probe.mode.
type Mode string

const (
	// Auto counts lost echoes only after the peer has answered once since the target was armed.
	Auto Mode = "AUTO"
	// On counts lost echoes from the start.
	On Mode = "ON"
	// Off sends nothing.
	Off Mode = "OFF"
)

// Values of State.State.
const (
	// StateOff: mode OFF, or no such target.
	StateOff = "OFF"
	// StateWaiting: no answer since the target was armed.
	StateWaiting = "WAITING"
	// StatePassing: the peer answers.
	StatePassing = "PASSING"
	// StateFailing: Failures echoes in a row were lost, and RecoverAnswers answers have not come since.
	StateFailing = "FAILING"
)

const (
	// MinInterval is the shortest interval that Apply accepts.
	MinInterval = 100 * time.Millisecond
	// RecoverAnswers is how many answers end FAILING; two losses in a row start the count anew.
	RecoverAnswers = 3
)

// Target is one tunnel to probe.
type Target struct {
	// Tunnel is the VPNTunnel's name.
	Tunnel string
	// Device is the interface that echoes leave by and that answers must arrive on: the tunnel's XFRM interface. It may be
	// missing and may be recreated at any time; meanwhile echoes are lost.
	Device string
	// Local is the inside cloud address, Peer the inside customer address, of one family.
	Local, Peer netip.Addr
	Mode        Mode
	// Interval is the time between two echoes, and the longest that an answer may take; MinInterval at least.
	Interval time.Duration
	// Failures is how many lost echoes in a row make the target FAILING; 1 at least.
	Failures int
}

// validate names the first field that is wrong. A target that is OFF needs no more than a name.
func (t Target) validate() error {
	if t.Tunnel == "" {
		return fmt.Errorf("tunnel: empty name")
	}
	switch t.Mode {
	case Off:
		return nil
	case Auto, On:
	default:
		return fmt.Errorf("mode: %q is none of AUTO, ON, OFF", t.Mode)
	}
	switch {
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
	case t.Interval < MinInterval:
		return fmt.Errorf("interval: %v is less than %v", t.Interval, MinInterval)
	case t.Failures < 1:
		return fmt.Errorf("failures: %d is less than 1", t.Failures)
	}
	return nil
}

// maxDeviceName is IFNAMSIZ without its terminator.
const maxDeviceName = 15

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// State is what is known of one target.
type State struct {
	// State is one of the State constants.
	State string
	// Since is when State.State got its value, or was confirmed by arming.
	Since time.Time
	// RTT is the round-trip time of the newest answered echo; 0 before the first answer since the target was armed.
	RTT time.Duration
	// Sent counts echoes, those that the kernel refused to send included; Lost counts those of them not answered in time,
	// in every state; one in flight when its target is armed anew is never counted as lost. Both
	// survive Reset, changes of the target and OFF, and start anew when the target is removed. Events have those since it was last put on.
	Sent, Lost uint64
}

// Event reports that a tunnel's State.State changed or that its target was armed anew.
type Event struct {
	Tunnel string
	State  State
}

// Result is what Apply left running.
type Result struct {
	// Installed are the desired tunnels whose targets are now as desired, sorted; a target that is OFF is one of them.
	Installed []string
	// Errors holds why the others are not, by tunnel name. What was running for such a tunnel goes on unchanged.
	Errors map[string]error
}
