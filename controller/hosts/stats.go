package hosts

import "sync/atomic"

// stats count since the controller started.
type stats struct{ begun, snapshots, refused, unsealable atomic.Uint64 }

// Stats is what a server has done since the controller started.
type Stats struct {
	// Sessions now, and those that have begun.
	Sessions, Begun uint64
	// Snapshots sent, those that an agent refused as a whole, and secrets that could not be sealed for a host.
	Snapshots, Refused, Unsealable uint64
}

// Stats returns the figures as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Sessions: uint64(len(s.sessions)), Begun: s.stats.begun.Load(), Snapshots: s.stats.snapshots.Load(),
		Refused: s.stats.refused.Load(), Unsealable: s.stats.unsealable.Load(),
	}
}
