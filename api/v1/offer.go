package apiv1

import (
	"slices"
	"strings"
)

// hybrid is the additional key exchange that post_quantum adds (RFC 9370, FIPS 203).
const hybrid = "-ke1_mlkem768"

// OfferedIKEProposals returns the proposals that are wanted for IKE, most wanted first, after defaults: post_quantum AUTO puts the hybrid
// form of every sound proposal before the classical ones, REQUIRED leaves only hybrid forms. A charon without ML-KEM must not be given
// those that need it.
func OfferedIKEProposals(ike *IKE) []string {
	return withHybrids(ike.GetProposals(), ike, ParseIKEProposal)
}

// OfferedESPProposals returns the proposals that are wanted for the CHILD_SA, most wanted first, after defaults. Hybrid forms
// follow ike.post_quantum as in OfferedIKEProposals; with pfs OPTIONAL each is also offered without a group, last.
func OfferedESPProposals(esp *ESP, ike *IKE) []string {
	out := withHybrids(esp.GetProposals(), ike, ParseESPProposal)
	if esp.GetPfs() != PFSOptional {
		return out
	}
	for _, text := range esp.GetProposals() {
		if plain := withoutGroup(text); !slices.Contains(out, plain) {
			out = append(out, plain)
		}
	}
	return out
}

func withHybrids(proposals []string, ike *IKE, parse func(string, uint32) (Proposal, error)) []string {
	required := ike.GetPostQuantum() == PostQuantumRequired
	if ike.GetVersion() == 1 || ike.GetPostQuantum() == PostQuantumOff {
		return slices.Clone(proposals)
	}
	var first, rest []string
	for _, text := range proposals {
		p, err := parse(text, ike.GetVersion())
		switch {
		case err != nil || !p.HasGroup() || len(p.Additional) > 0:
			rest = append(rest, text)
		case required:
			first = append(first, text+hybrid)
		default:
			if len(p.Weak) == 0 {
				first = append(first, text+hybrid)
			}
			rest = append(rest, text)
		}
	}
	return append(first, rest...)
}

// withoutGroup takes all key exchanges out of an ESP proposal.
func withoutGroup(text string) string {
	var kept []string
	for word := range strings.SplitSeq(text, "-") {
		_, _, additional := cutAdditional(word)
		a, known := lookupAlgorithm(word)
		if !additional && word != "none" && !(known && a.kind == kindKeyExchange) {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, "-")
}
