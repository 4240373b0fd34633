package apiv1

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxProposalLength bounds the text of one proposal; the longest sensible one is about a third of it.
const maxProposalLength = 256

// Proposal is one proposal in strongSwan's notation, taken apart. Each list holds words as written, in order.
type Proposal struct {
	Encryption, Integrity, PRF []string
	// KeyExchange holds groups; "none" in it makes perfect forward secrecy optional (ESP only).
	KeyExchange []string
	// Additional holds the additional key exchanges of RFC 9370 by their number, 1 to 7; "none" makes one optional.
	Additional map[int][]string
	ESN        []string
	// AEAD is true for combined-mode ciphers (RFC 5282); a proposal has these or classic ones, never both.
	AEAD bool
	// Weak lists the words that should not be used any more.
	Weak []string
}

// HasGroup says whether a key exchange takes place: a group is named and is not "none".
func (p Proposal) HasGroup() bool {
	return slices.ContainsFunc(p.KeyExchange, func(w string) bool { return w != "none" })
}

// ParseIKEProposal reads an IKE proposal for an IKE version (1 or 2): an encryption algorithm, an integrity algorithm unless the
// cipher is a combined-mode one, a PRF (taken from the integrity algorithm when none is named) and a group. The error names the
// word and what is wrong with it; it does not repeat the whole text.
func ParseIKEProposal(text string, version uint32) (Proposal, error) {
	p, err := parseProposal(text)
	if err != nil {
		return Proposal{}, err
	}
	switch {
	case !p.HasGroup():
		return Proposal{}, errors.New("has no Diffie-Hellman group")
	case slices.Contains(p.KeyExchange, "none"):
		return Proposal{}, errors.New("none is for ESP only: IKE needs a group")
	case len(p.ESN) > 0:
		return Proposal{}, fmt.Errorf("%s is for ESP only", p.ESN[0])
	case !p.AEAD && len(p.Integrity) == 0:
		return Proposal{}, errors.New("has no integrity algorithm")
	case len(p.PRF) == 0 && len(p.Integrity) == 0:
		return Proposal{}, errors.New("has no pseudo-random function: add one such as prfsha256")
	}
	return p, p.checkVersion(version, "IKE")
}

// ParseESPProposal reads an ESP proposal for an IKE version (1 or 2): an encryption algorithm, an integrity algorithm unless the
// cipher is a combined-mode one, and optionally groups (perfect forward secrecy) and esn or noesn.
func ParseESPProposal(text string, version uint32) (Proposal, error) {
	p, err := parseProposal(text)
	if err != nil {
		return Proposal{}, err
	}
	switch {
	case len(p.PRF) > 0:
		return Proposal{}, fmt.Errorf("%s is for IKE only", p.PRF[0])
	case !p.AEAD && len(p.Integrity) == 0:
		return Proposal{}, errors.New("has no integrity algorithm")
	case len(p.Additional) > 0 && !p.HasGroup():
		return Proposal{}, errors.New("has an additional key exchange but no Diffie-Hellman group")
	}
	return p, p.checkVersion(version, "ESP")
}

// checkVersion holds what IKEv1 cannot express (RFC 2409): charon would drop it silently.
func (p Proposal) checkVersion(version uint32, protocol string) error {
	if version != 1 {
		return nil
	}
	if len(p.Additional) > 0 {
		return errors.New("additional key exchanges need IKEv2")
	}
	if protocol == "IKE" && p.AEAD {
		return fmt.Errorf("%s: combined-mode ciphers need IKEv2", p.Encryption[0])
	}
	for _, words := range [][]string{p.Encryption, p.Integrity, p.PRF, p.KeyExchange} {
		if len(words) > 1 {
			return fmt.Errorf("%s and %s are of one kind: IKEv1 keeps one of each, write one proposal per combination", words[0], words[1])
		}
	}
	return nil
}

func parseProposal(text string) (Proposal, error) {
	var p Proposal
	if text == "" {
		return p, errors.New("is empty")
	}
	if len(text) > maxProposalLength {
		return p, fmt.Errorf("is longer than %d characters", maxProposalLength)
	}
	seen := map[string]bool{}
	classic := false
	for word := range strings.SplitSeq(text, "-") {
		if seen[word] {
			return p, fmt.Errorf("%q is there twice", word)
		}
		seen[word] = true
		if n, method, ok := cutAdditional(word); ok {
			if err := p.addAdditional(n, method, word); err != nil {
				return p, err
			}
			continue
		}
		if word == "none" {
			p.KeyExchange = append(p.KeyExchange, word)
			continue
		}
		a, ok := lookupAlgorithm(word)
		if !ok {
			if why := refusedAlgorithm(word); why != "" {
				return p, fmt.Errorf("%s %s", word, why)
			}
			return p, fmt.Errorf("%q is not an algorithm", word)
		}
		p.add(word, a)
		classic = classic || a.kind == kindEncryption
	}
	if len(p.Encryption) == 0 {
		return p, errors.New("has no encryption algorithm")
	}
	if classic && p.AEAD {
		return p, errors.New("mixes classic and combined-mode ciphers: write two proposals")
	}
	return p, nil
}

func (p *Proposal) add(word string, a algorithm) {
	switch a.kind {
	case kindEncryption:
		p.Encryption = append(p.Encryption, word)
	case kindAEAD:
		p.Encryption = append(p.Encryption, word)
		p.AEAD = true
	case kindIntegrity:
		p.Integrity = append(p.Integrity, word)
	case kindPRF:
		p.PRF = append(p.PRF, word)
	case kindKeyExchange:
		p.KeyExchange = append(p.KeyExchange, word)
	case kindESN:
		p.ESN = append(p.ESN, word)
	}
	if a.weak {
		p.Weak = append(p.Weak, word)
	}
}

// cutAdditional takes "ke1_mlkem768" apart.
func cutAdditional(word string) (int, string, bool) {
	if len(word) < 5 || word[:2] != "ke" || word[3] != '_' || word[2] < '1' || word[2] > '7' {
		return 0, "", false
	}
	return int(word[2] - '0'), word[4:], true
}

func (p *Proposal) addAdditional(n int, method, word string) error {
	a, ok := lookupAlgorithm(method)
	if ok = ok && a.kind == kindKeyExchange; !ok && !isMLKEM(method) && method != "none" {
		return fmt.Errorf("%q is not an additional key exchange", word)
	}
	if a.weak {
		p.Weak = append(p.Weak, word)
	}
	if p.Additional == nil {
		p.Additional = map[int][]string{}
	}
	p.Additional[n] = append(p.Additional[n], method)
	return nil
}
