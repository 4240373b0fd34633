package diagnose

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Outcome is what a line of charon's log means for the tunnel it is about.
type Outcome int

const (
	// Nothing: the line reports progress, or adds to what later lines mean.
	Nothing Outcome = iota
	// Failed: the negotiation of an IKE_SA or a CHILD_SA failed for Failure's reason.
	Failed
	// Unanswered: charon gave up retransmitting. The peer is unreachable if the IKE_SA was being set up, else it is dead.
	Unanswered
	// Closed: the peer deleted the IKE_SA or a CHILD_SA. After a rekeying that is the usual end of the replaced one.
	Closed
)

// Failure is a reason of this package with an explanation for people.
type Failure struct {
	Reason  string
	Message string
}

// Conversation gathers what charon logs about one IKE_SA, so that a failure can be explained with what was said before it. The zero
// value is ready for the first line. Lines that charon logs before it knows which connection the peer means have no name; the addresses
// tell whose they are.
type Conversation struct {
	// Local and Remote are the outer addresses, as far as they were seen.
	Local, Remote netip.Addr
	// PeerStarted is true when the peer initiated this IKE_SA.
	PeerStarted bool
	// Failed is true after a line with the outcome Failed.
	Failed bool
	// IKEOffer and ESPOffer are the proposals of our end, as configured: a peer that refuses them all does not say what it would take.
	IKEOffer, ESPOffer []string

	// answer: the message that was parsed last is a response. A DELETE in it answers ours (RFC 7296 §1.4.1).
	answer     bool
	peerID     string
	received   string
	configured string
}

var (
	initiating = regexp.MustCompile(`^(\S+) is initiating an? (?:Main Mode |Aggressive Mode )?IKE_SA`)
	lookingFor = regexp.MustCompile(`^looking for (?:.* )?peer configs matching (\S+?)(?:\[.*?\])?\.\.\.(\S+?)\[(.*)\]$`)
	noConfig   = regexp.MustCompile(`^no IKE config found for (\S+)\.\.\.(\S+), sending`)
	idMismatch = regexp.MustCompile(`^IDir '(.*)' does not match to '(.*)'$`)
	notify     = regexp.MustCompile(`^received ([A-Z_0-9]+) (?:notify error|error notify|notify, no CHILD_SA built)`)
	peerDelete = regexp.MustCompile(`^received DELETE for (?:IKE_SA|ESP CHILD_SA) `)
	givingUp   = regexp.MustCompile(`^(?:giving up after \d+ retransmits|DPD check timed out)`)
)

// Observe takes the next line. The texts are strongSwan's, unchanged from 5.9.8 to 6.0.6; lines that are not known say Nothing.
func (c *Conversation) Observe(line string) (Outcome, Failure) {
	c.learn(line)
	f, ok := c.failure(line)
	if ok {
		c.Failed = true
		return Failed, f
	}
	switch {
	case givingUp.MatchString(line):
		return Unanswered, Failure{Reason: PeerUnreachable, Message: "the peer does not answer: " + line}
	case peerDelete.MatchString(line) && !c.answer:
		return Closed, Failure{Reason: ClosedByPeer, Message: "the peer closed the tunnel: " + line}
	}
	return Nothing, Failure{}
}

func (c *Conversation) learn(line string) {
	if strings.HasPrefix(line, "parsed ") {
		c.answer = strings.Contains(line, " response ")
	}
	if m := initiating.FindStringSubmatch(line); m != nil {
		c.PeerStarted = true
		c.Remote = address(m[1], c.Remote)
	}
	if m := lookingFor.FindStringSubmatch(line); m != nil {
		c.PeerStarted = true
		c.Local, c.Remote, c.peerID = address(m[1], c.Local), address(m[2], c.Remote), m[3]
	}
	if m := noConfig.FindStringSubmatch(line); m != nil {
		c.PeerStarted = true
		c.Local, c.Remote = address(m[1], c.Local), address(m[2], c.Remote)
	}
	if rest, ok := strings.CutPrefix(line, "received proposals: "); ok {
		c.received = rest
	}
	if rest, ok := strings.CutPrefix(line, "configured proposals: "); ok {
		c.configured = rest
	}
}

func address(s string, otherwise netip.Addr) netip.Addr {
	if a, err := netip.ParseAddr(s); err == nil {
		return a
	}
	return otherwise
}

func (c *Conversation) failure(line string) (Failure, bool) {
	if m := notify.FindStringSubmatch(line); m != nil {
		return c.notified(m[1], line), true
	}
	if m := idMismatch.FindStringSubmatch(line); m != nil {
		return Failure{AuthenticationFailed, fmt.Sprintf("the peer identified itself as '%s', expected is '%s'", m[1], m[2])}, true
	}
	for _, p := range phrases() {
		if strings.HasPrefix(line, p.prefix) && strings.HasSuffix(line, p.suffix) {
			return Failure{p.reason, c.explain(p, line)}, true
		}
	}
	return Failure{}, false
}

// phrase is a line by which charon reports a failure that it found itself.
type phrase struct {
	prefix, suffix string
	reason         string
	// text goes in front of the line; about says which of the gathered facts explain it.
	text  string
	about facts
}

type facts int

const (
	none facts = iota
	ikeProposals
	childProposals
	identity
)

// phrases returns what charon says when something fails. An array: one is made for every line of the log.
func phrases() [22]phrase {
	return [...]phrase{
		{"received proposals unacceptable", "", NoProposalChosen, "no common IKE proposal", ikeProposals},
		{"no proposal found", "", NoProposalChosen, "no common IKE proposal", ikeProposals},
		{"no acceptable proposal found", "", NoProposalChosen, "no common ESP proposal", childProposals},
		{"no matching proposal found, sending ", "", NoProposalChosen, "no common ESP proposal", childProposals},
		{"no matching proposal found", "proposal found", NoProposalChosen, "no common ESP proposal", childProposals},
		{"no IKE config found for ", "", NoProposalChosen, "the peer uses an IKE version, mode or address that the tunnel does not have", none},
		{"tried ", "but MAC mismatched", AuthenticationFailed, "the pre-shared keys differ", none},
		{"no shared key found for ", "", AuthenticationFailed, "no pre-shared key for these identities", none},
		{"calculated HASH does not match HASH payload", "", AuthenticationFailed, "the pre-shared keys differ", none},
		// IKEv1 main mode encrypts with a key derived from the pre-shared one: with another one the peer's message cannot be read.
		{"invalid ID_V1 payload length, decryption failed?", "", AuthenticationFailed, "the pre-shared keys probably differ", none},
		{"invalid HASH_V1 payload length, decryption failed?", "", AuthenticationFailed, "the pre-shared keys probably differ", none},
		{"no matching peer config found", "", AuthenticationFailed, "no tunnel has the identities the peer used", identity},
		{"constraint check failed: identity ", " required", AuthenticationFailed, "the peer has another identity than the tunnel's", identity},
		{"received IDr ", "", AuthenticationFailed, "the peer expects another identity of us", none},
		{"no alternative config found", "", AuthenticationFailed, "no tunnel has the identities the peer used", identity},
		{"no peer config found", "", AuthenticationFailed, "no tunnel has the identities the peer used", identity},
		{"traffic selectors ", " unacceptable", TrafficSelectorsUnacceptable, "no common traffic selectors", none},
		{"no acceptable traffic selectors found", "", TrafficSelectorsUnacceptable, "no common traffic selectors", none},
		{"peer selected invalid traffic selectors", "", TrafficSelectorsUnacceptable, "no common traffic selectors", none},
		{"no matching CHILD_SA config found for ", "", TrafficSelectorsUnacceptable, "no common traffic selectors", none},
		{"unable to install ", " in kernel", ChildSAFailed, "the kernel refused the SA or its policies", none},
		{"failed to establish CHILD_SA, keeping IKE_SA", "", ChildSAFailed, "the peers agree on the IKE_SA but not on the CHILD_SA", none},
	}
}

func (c *Conversation) explain(p phrase, line string) string {
	var b strings.Builder
	b.WriteString(p.text)
	switch p.about {
	case ikeProposals, childProposals:
		want := "IKE:"
		if p.about == childProposals {
			want = "ESP:"
		}
		// What was gathered may belong to the other kind of SA.
		if strings.HasPrefix(c.received, want) && strings.HasPrefix(c.configured, want) {
			fmt.Fprintf(&b, "; the peer offers %s; configured is %s", c.received, c.configured)
		}
	case identity:
		if c.peerID != "" {
			fmt.Fprintf(&b, "; the peer identified itself as '%s'", c.peerID)
		}
	}
	return b.String() + ": " + line
}

// notified explains an error the peer sent (RFC 7296 §3.10.1, RFC 2408 §3.14.1).
func (c *Conversation) notified(name, line string) Failure {
	child := strings.HasSuffix(line, "no CHILD_SA built")
	switch name {
	case "AUTHENTICATION_FAILED":
		// The initiator asks for the remote identity (IDr), so a responder of another name refuses before it tells its own.
		return Failure{AuthenticationFailed, "the peer refused our identity or key, or does not have the remoteId we asked for: " + line}
	case "INVALID_HASH_INFORMATION", "PAYLOAD_MALFORMED":
		return Failure{AuthenticationFailed, "the pre-shared keys probably differ: " + line}
	case "NO_PROPOSAL_CHOSEN":
		if child {
			return Failure{NoProposalChosen, "the peer accepts none of our ESP proposals" + offer(c.ESPOffer) + ": " + line}
		}
		return Failure{NoProposalChosen, "the peer accepts none of our proposals" + offer(c.IKEOffer) + ", or has no configuration for us: " + line}
	case "INVALID_KE_PAYLOAD":
		return Failure{NoProposalChosen, "the peer accepts none of our key exchange groups: " + line}
	case "TS_UNACCEPTABLE", "INVALID_ID_INFORMATION":
		// IKEv1 refuses selectors as client identities (RFC 2409 §5.5).
		return Failure{TrafficSelectorsUnacceptable, "the peer refused our traffic selectors: " + line}
	}
	if child {
		return Failure{ChildSAFailed, "the peer refused the CHILD_SA: " + line}
	}
	return Failure{ChildSAFailed, "the peer reported an error: " + line}
}

func offer(proposals []string) string {
	if len(proposals) == 0 {
		return ""
	}
	return " (" + strings.Join(proposals, ", ") + ")"
}
