package diagnose

// Alert says what an alert event of charon (6.0.3 and newer) means. The types are those of strongSwan's vici_query.c; types that say
// nothing about a tunnel, or nothing definite, give Nothing.
func Alert(kind string) (Outcome, Failure) {
	switch kind {
	case "local-auth-failed":
		return Failed, Failure{AuthenticationFailed, "the peer refused our identity or key"}
	case "peer-auth-failed", "authorization-failed":
		return Failed, Failure{AuthenticationFailed, "the peer's identity or key is not the tunnel's"}
	case "proposal-mismatch-ike":
		return Failed, Failure{NoProposalChosen, "no common IKE proposal"}
	case "proposal-mismatch-child":
		return Failed, Failure{NoProposalChosen, "no common ESP proposal"}
	case "ts-mismatch":
		return Failed, Failure{TrafficSelectorsUnacceptable, "no common traffic selectors"}
	case "install-child-sa-failed", "install-child-policy-failed":
		return Failed, Failure{ChildSAFailed, "the kernel refused the SA or its policies"}
	case "keep-on-child-sa-failure":
		return Failed, Failure{ChildSAFailed, "the peers agree on the IKE_SA but not on the CHILD_SA"}
	case "peer-init-unreachable", "retransmit-send-timeout":
		return Unanswered, Failure{PeerUnreachable, "the peer does not answer"}
	case "half-open-timeout":
		return Failed, Failure{PeerUnreachable, "the peer started a negotiation and did not finish it"}
	default:
		return Nothing, Failure{}
	}
}
