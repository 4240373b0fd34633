package apiv1

import (
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	minLifetime = 10 * time.Second
	maxLifetime = 7 * day
	// A smaller limit would make rekeying the main work of a fast link.
	minLifetimeBytes   = 1 << 20
	minLifetimePackets = 1000
)

func (c *checker) ike(s scope, t *VPNTunnel) {
	ike := t.GetSpec().GetIke()
	version := ike.GetVersion()
	if version != 1 && version != 2 {
		s.fail("spec.ike.version", "must be 1 or 2, not %d", version)
	}
	if version == 1 {
		s.word("spec.ike.mode", ike.GetMode(), IKEModeMain, IKEModeAggressive)
	} else if ike.GetMode() != "" {
		s.fail("spec.ike.mode", "is for IKEv1 only: leave it out with ike.version %d", version)
	}
	if ike.GetMode() == IKEModeAggressive {
		s.warn("spec.ike.mode", "AGGRESSIVE lets anybody who asks guess the key offline: use a long random one")
	}
	s.word("spec.ike.postQuantum", ike.GetPostQuantum(), PostQuantumAuto, PostQuantumRequired, PostQuantumOff)
	if ike.GetPostQuantum() == PostQuantumRequired {
		switch {
		case version == 1:
			s.fail("spec.ike.postQuantum", "REQUIRED needs IKEv2")
		case c.noMLKEM(t) != "":
			s.fail("spec.ike.postQuantum", "REQUIRED %s", c.noMLKEM(t))
		}
	}
	s.duration("spec.ike.lifetime", ike.GetLifetime(), minLifetime, maxLifetime, time.Second)
	c.proposals(s, "spec.ike.proposals", t, ike.GetProposals(), ParseIKEProposal)
}

func (c *checker) esp(s scope, spec *VPNTunnelSpec) {
	esp := spec.GetEsp()
	s.word("spec.esp.pfs", esp.GetPfs(), PFSRequired, PFSOptional)
	s.duration("spec.esp.lifetime", esp.GetLifetime(), minLifetime, maxLifetime, time.Second)
	if n := esp.GetLifetimeBytes(); n != 0 && n < minLifetimeBytes {
		s.fail("spec.esp.lifetimeBytes", "must be 0 (no limit) or at least %d, not %d", minLifetimeBytes, n)
	}
	if n := esp.GetLifetimePackets(); n != 0 && n < minLifetimePackets {
		s.fail("spec.esp.lifetimePackets", "must be 0 (no limit) or at least %d, not %d", minLifetimePackets, n)
	}
	c.proposals(s, "spec.esp.proposals", &VPNTunnel{Spec: spec}, esp.GetProposals(), func(text string, version uint32) (Proposal, error) {
		p, err := ParseESPProposal(text, version)
		if err != nil || esp.GetPfs() != PFSRequired {
			return p, err
		}
		if !p.HasGroup() || slices.Contains(p.KeyExchange, "none") {
			return p, errors.New("allows no group although esp.pfs is REQUIRED: name a group, or set esp.pfs: OPTIONAL")
		}
		return p, nil
	})
}

// proposals checks one list: each parses, none is there twice, weak ones are warned about, and charon can do what they name.
func (c *checker) proposals(s scope, path string, t *VPNTunnel, list []string, parse func(string, uint32) (Proposal, error)) {
	seen := map[string]string{}
	if len(list) > 16 {
		s.fail(path, "are too many: at most 16, there are %d", len(list))
	}
	for i, text := range list {
		field := index(path, i)
		p, err := parse(text, t.GetSpec().GetIke().GetVersion())
		if err != nil {
			s.fail(field, "%.*q: %s", maxProposalLength, text, err)
			continue
		}
		onceKey(s, seen, text, field)
		if len(p.Weak) > 0 {
			s.warn(field, "%q is weak (%s): use it only for a device that can do no better", text, strings.Join(p.Weak, ", "))
		}
		if hasMLKEM(p) && c.noMLKEM(t) != "" {
			s.fail(field, "%q %s", text, c.noMLKEM(t))
		}
	}
}

// NeedsMLKEM says whether a tunnel, after defaults, cannot work or not work as written where charon has no ML-KEM: it requires the
// hybrid key exchange or names it in a proposal.
func NeedsMLKEM(spec *VPNTunnelSpec) bool {
	ike := spec.GetIke()
	if ike.GetPostQuantum() == PostQuantumRequired {
		return true
	}
	names := func(list []string, parse func(string, uint32) (Proposal, error)) bool {
		return slices.ContainsFunc(list, func(text string) bool {
			p, err := parse(text, ike.GetVersion())
			return err == nil && hasMLKEM(p)
		})
	}
	return names(ike.GetProposals(), ParseIKEProposal) || names(spec.GetEsp().GetProposals(), ParseESPProposal)
}

func hasMLKEM(p Proposal) bool {
	for _, methods := range p.Additional {
		for _, m := range methods {
			if isMLKEM(m) {
				return true
			}
		}
	}
	return false
}
