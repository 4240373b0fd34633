// Package diagnose finds out why a tunnel is down from what charon says: lines of its log, and alert events where charon has them.
package diagnose

// Reasons for which a tunnel is down, as the tunnel's status shows them.
const (
	AuthenticationFailed         = "AUTHENTICATION_FAILED"
	NoProposalChosen             = "NO_PROPOSAL_CHOSEN"
	PeerUnreachable              = "PEER_UNREACHABLE"
	TrafficSelectorsUnacceptable = "TRAFFIC_SELECTORS_UNACCEPTABLE"
	DPDTimeout                   = "DPD_TIMEOUT"
	ClosedByPeer                 = "CLOSED_BY_PEER"
	WaitingForPeer               = "WAITING_FOR_PEER"
	CharonUnavailable            = "CHARON_UNAVAILABLE"
	// CharonRefused: charon did not take the tunnel's configuration.
	CharonRefused = "CHARON_REFUSED"
	// ChildSAFailed: the IKE_SA is established, the CHILD_SA was refused for another reason than those above.
	ChildSAFailed = "CHILD_SA_FAILED"
)
