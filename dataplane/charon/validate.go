package charon

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode"
)

var (
	validName     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	validProposal = regexp.MustCompile(`^[a-z0-9_]+(-[a-z0-9_]+)*$`)
)

const (
	// What api/v1 admits: a manifest must not pass there and fail here. Lives this short are for trying devices out.
	minLifetime = 10 * time.Second
	// charon parses volumes in a buffer of 16 bytes.
	maxVolume = 999_999_999_999_999
	// The kernel's bitmap has room for this many packets (XFRMA_REPLAY_ESN_MAX).
	maxReplayWindow = 4096
)

// Validate checks everything about t that charon would refuse or, worse, take for something else. Errors name the field.
func (t Tunnel) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, fmt.Errorf(field+": "+format, args...)) }
	if !validName.MatchString(t.Name) {
		bad("name", "%q is not a resource name", t.Name)
	}
	checkAddresses(t, bad)
	checkID("local id", t.LocalID, bad)
	checkID("remote id", t.RemoteID, bad)
	if !t.PSK.IsSet() {
		bad("psk", "is not set")
	}
	if t.IfID == 0 {
		bad("if_id", "is 0, which is no XFRM interface")
	}
	if t.Version != 1 && t.Version != 2 {
		bad("version", "%d is neither 1 nor 2", t.Version)
	}
	if t.Aggressive && t.Version != 1 {
		bad("aggressive", "exists in IKEv1 only")
	}
	checkProposals("ike proposals", t.IKEProposals, bad)
	checkProposals("esp proposals", t.ESPProposals, bad)
	if t.IKELifetime < minLifetime {
		bad("ike lifetime", "%v is less than %v", t.IKELifetime, minLifetime)
	}
	if t.ESPLifetime < minLifetime {
		bad("esp lifetime", "%v is less than %v", t.ESPLifetime, minLifetime)
	}
	if t.LifetimeBytes > maxVolume || t.LifetimePackets > maxVolume {
		bad("esp lifetime", "a volume above %d cannot be configured", uint64(maxVolume))
	}
	checkSelectors("local ts", t.LocalTS, bad)
	checkSelectors("remote ts", t.RemoteTS, bad)
	if t.DPDInterval < 0 || t.DPDInterval > 0 && t.DPDInterval < time.Second {
		bad("dpd interval", "%v is less than a second", t.DPDInterval)
	}
	if t.DPDTimeout < 0 || t.DPDTimeout > MaxDPDTimeout {
		bad("dpd timeout", "%v is not between 0 and %v", t.DPDTimeout, MaxDPDTimeout)
	}
	if t.ReplayWindow > maxReplayWindow {
		bad("replay window", "%d is more than the kernel's %d packets", t.ReplayWindow, maxReplayWindow)
	}
	return errors.Join(errs...)
}

func checkAddresses(t Tunnel, bad func(field, format string, args ...any)) {
	for _, a := range []struct {
		field string
		addr  netip.Addr
	}{{"local", t.Local}, {"remote", t.Remote}} {
		if !a.addr.IsValid() || a.addr.IsUnspecified() || a.addr.IsMulticast() || a.addr.Zone() != "" || a.addr.Is4In6() {
			bad(a.field, "%v is no address of a host", a.addr)
		}
	}
	if t.Local.Is4() != t.Remote.Is4() {
		bad("remote", "%v is not of the family of local address %v", t.Remote, t.Local)
	}
}

// checkID keeps out what charon reads as "any identity": a key with such an owner would match everybody.
func checkID(field, id string, bad func(field, format string, args ...any)) {
	switch {
	case id == "" || len(id) > 255:
		bad(field, "has %d bytes, must have 1 to 255", len(id))
	case strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		bad(field, "%q has unprintable characters", id)
	case strings.Contains(id, "%any") || strings.Contains(id, "*") || id == "0.0.0.0" || id == "::" || strings.HasPrefix(id, "%"):
		bad(field, "%q matches more than one identity", id)
	case strings.HasPrefix(id, "fqdn:^") || strings.HasPrefix(id, "email:^") || strings.HasPrefix(id, "asn1dn:^"):
		bad(field, "%q is a pattern", id)
	case strings.HasPrefix(id, "ipv4:") || strings.HasPrefix(id, "ipv6:"):
		bad(field, "%q: charon takes the text behind the prefix for the raw identity; give the plain address", id)
	}
}

func checkProposals(field string, proposals []string, bad func(field, format string, args ...any)) {
	if len(proposals) == 0 {
		bad(field, "are empty")
	}
	for _, p := range proposals {
		if !validProposal.MatchString(p) {
			bad(field, "%q is not a proposal", p)
		}
	}
}

func checkSelectors(field string, ts []netip.Prefix, bad func(field, format string, args ...any)) {
	if len(ts) == 0 {
		bad(field, "is empty")
	}
	for _, p := range ts {
		if !p.IsValid() || p != p.Masked() {
			bad(field, "%v is no network prefix", p)
		}
	}
}
