package charon

import (
	"regexp"
	"strings"
)

// aliveExchange is what charon logs of a message that only asks whether the other end is there, or answers that: IKEv2's INFORMATIONAL
// without payloads (RFC 7296 §2.4) and IKEv1's notifications (RFC 3706).
var aliveExchange = regexp.MustCompile(`^(parsed|generating) (?:INFORMATIONAL (?:request|response) \d+ \[ \]|INFORMATIONAL_V1 request \d+ \[ HASH N\(DPD(?:_ACK)?\) \])$`)

// chatter leaves out of an IKE_SA's log what is said every few seconds while all is well: in minutes it would push everything else out of
// the tunnel's negotiation log. Retransmissions are told. The zero value is ready for the first line.
type chatter struct {
	// received is a line about a packet of which is not known yet what is in it.
	received string
	// answering: the next packet that is sent is an aliveExchange.
	answering bool
}

// tell returns the lines to be told now that charon has logged another one, none or several.
func (c *chatter) tell(line string) []string {
	switch {
	case strings.HasPrefix(line, "received packet: "):
		before := c.received
		c.received = line
		if before == "" {
			return nil
		}
		return []string{before}
	case line == "sending DPD request":
		return nil
	case c.answering && strings.HasPrefix(line, "sending packet: "):
		c.answering = false
		return nil
	}
	if m := aliveExchange.FindStringSubmatch(line); m != nil {
		if m[1] == "generating" {
			c.answering = true
		} else {
			c.received = ""
		}
		return nil
	}
	lines := []string{line}
	if c.received != "" {
		lines = []string{c.received, line}
		c.received = ""
	}
	return lines
}
