package apiv1

import "google.golang.org/protobuf/proto"

// LocalChange.state.
const (
	LocalDisabled = "DISABLED"
	LocalDraining = "DRAINING"
	LocalDrained  = "DRAINED"
)

// LocalChange.stage and DrainProgress.stage, in the order in which a tunnel passes them.
const (
	// DrainNote is no stage: something the operator should know.
	DrainNote = "NOTE"
	// DrainAnnouncedWorse: other tunnels carry what leaves, and neighbors are told a longer way.
	DrainAnnouncedWorse = "ANNOUNCED_WORSE"
	// DrainWithdrawn: neighbors are told no way. What still arrives is forwarded.
	DrainWithdrawn = "WITHDRAWN"
	// DrainQuiet: nothing was forwarded for a while.
	DrainQuiet = "QUIET"
	// DrainDown: the tunnel is down.
	DrainDown = "DOWN"
	// DrainTimedOut: packets still came at the deadline. The tunnel stays up and withdrawn.
	DrainTimedOut = "TIMED_OUT"
	// DrainAborted: an operator ended the drain.
	DrainAborted = "ABORTED"
)

// ChangeRequest.action.
const (
	ActionDisable = "DISABLE"
	ActionEnable  = "ENABLE"
	ActionAbort   = "ABORT"
)

// LocallyDown says that an operator took the tunnel down on its host; nil means no change.
func LocallyDown(c *LocalChange) bool {
	return c.GetState() == LocalDisabled || c.GetState() == LocalDrained
}

// WithDown returns the Set with adminState DOWN for those tunnels; everything else is shared with s.
func (s *Set) WithDown(down func(tunnel string) bool) *Set {
	out := *s
	out.Tunnels = make(map[string]*VPNTunnel, len(s.Tunnels))
	for name, t := range s.Tunnels {
		if down(name) && t.GetSpec().GetAdminState() != AdminStateDown {
			t = proto.CloneOf(t)
			t.Spec.AdminState = AdminStateDown
		}
		out.Tunnels[name] = t
	}
	return &out
}
