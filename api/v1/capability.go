package apiv1

import (
	"fmt"
	"net/netip"
)

// Capability is what is known of something that depends on versions and builds.
type Capability int

const (
	// CapabilityUnknown: nobody was asked.
	CapabilityUnknown Capability = iota
	CapabilityPresent
	CapabilityAbsent
)

// String returns the word of HostCapabilities.
func (c Capability) String() string {
	switch c {
	case CapabilityPresent:
		return "PRESENT"
	case CapabilityAbsent:
		return "ABSENT"
	}
	return "UNKNOWN"
}

// ParseCapability reads a word of HostCapabilities; what it does not know is CapabilityUnknown.
func ParseCapability(word string) Capability {
	for _, c := range []Capability{CapabilityPresent, CapabilityAbsent} {
		if c.String() == word {
			return c
		}
	}
	return CapabilityUnknown
}

// noMLKEM says that a tunnel's charon cannot do the hybrid key exchange, as a sentence; empty when it can or when nobody knows.
func (c *checker) noMLKEM(t *VPNTunnel) string {
	const why = "charon has no ML-KEM (it needs strongSwan 6.0 with the plugin ml, or 6.0.2 with OpenSSL 3.5)"
	if c.opts.Owns == nil && c.opts.HostMLKEM != nil {
		addr, err := netip.ParseAddr(t.GetSpec().GetCloudAddress())
		if err != nil || c.opts.HostMLKEM(addr) != CapabilityAbsent {
			return ""
		}
		return fmt.Sprintf("cannot work on host %s: its %s", c.opts.Host(addr), why)
	}
	if c.opts.MLKEM != CapabilityAbsent || !c.ownedHere(t) {
		return ""
	}
	return "cannot work here: " + why
}
