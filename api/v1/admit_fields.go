package apiv1

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
)

// maxText bounds descriptions, in characters.
const maxText = 256

// name checks an object's or attachment's name.
func (s scope) name(field, name string) {
	if !validName(name) {
		s.fail(field, "must be 1 to 63 small letters, digits and inner hyphens")
	}
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

func (s scope) description(text string) {
	if utf8.RuneCountInString(text) > maxText || strings.ContainsFunc(text, unicode.IsControl) {
		s.fail("spec.description", "must be at most %d characters without control characters", maxText)
	}
}

// addr parses a unicast address in its canonical form. False after a finding.
func (s scope) addr(field, text string) (netip.Addr, bool) {
	a, problem := parseAddr(text)
	if problem != "" {
		s.fail(field, "%s", problem)
		return netip.Addr{}, false
	}
	return a, true
}

func parseAddr(text string) (netip.Addr, string) {
	if text == "" {
		return netip.Addr{}, "is required"
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil && strings.Contains(text, "/"):
		return netip.Addr{}, fmt.Sprintf("must be an address without prefix length, not %q", text)
	case err != nil:
		return netip.Addr{}, fmt.Sprintf("must be an IPv4 or IPv6 address, not %q", text)
	case a.Zone() != "":
		return netip.Addr{}, fmt.Sprintf("must have no zone: %s", text)
	case a.Is4In6():
		return netip.Addr{}, fmt.Sprintf("must be written as IPv4: %s", a.Unmap())
	case a.String() != text:
		return netip.Addr{}, fmt.Sprintf("must be written in canonical form: %s", a)
	case !unicast(a):
		return netip.Addr{}, fmt.Sprintf("must be a unicast address, not %s", a)
	}
	return a, ""
}

func unicast(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// outerAddr parses an address that packets on the wire between cloud and customer carry.
func (s scope) outerAddr(field, text string) (netip.Addr, bool) {
	a, problem := ParseOuterAddr(text)
	if problem != "" {
		s.fail(field, "%s", problem)
		return netip.Addr{}, false
	}
	return a, true
}

// ParseOuterAddr parses an address that packets on the wire between cloud and customer carry: unicast, not link-local, in
// canonical form. The second result tells what is wrong, in the words of a Finding, and is empty when nothing is.
func ParseOuterAddr(text string) (netip.Addr, string) {
	a, problem := parseAddr(text)
	if problem == "" && a.IsLinkLocalUnicast() {
		return netip.Addr{}, fmt.Sprintf("must not be a link-local address: %s", a)
	}
	return a, problem
}

// prefix parses a prefix whose host bits are zero, in its canonical form. False after a finding.
func (s scope) prefix(field, text string) (netip.Prefix, bool) {
	if text == "" {
		s.fail(field, "is required")
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		s.fail(field, "must be a prefix such as 10.0.0.0/16, not %q", text)
	case p.Addr().Is4In6():
		s.fail(field, "must be written as IPv4, not %s", text)
	case p != p.Masked():
		s.fail(field, "has bits set behind the prefix length: the prefix is %s", p.Masked())
	case p.String() != text:
		s.fail(field, "must be written in canonical form: %s", p)
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() && p.Addr().Is6():
		s.fail(field, "must be a unicast prefix that can be routed, not %s", p)
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// asn checks an AS number that is not zero.
func (s scope) asn(field string, asn uint32) {
	switch asn {
	case 23456:
		s.fail(field, "23456 is reserved (AS_TRANS, RFC 6793)")
	case 65535, 4294967295:
		s.fail(field, "%d is reserved (RFC 7300)", asn)
	}
}

// interfaceName checks the name of a host's device. The prefix bgw marks devices that the agent makes and sweeps.
func (s scope) interfaceName(field, name string) bool {
	switch {
	case name == "":
		s.fail(field, "is required")
	case len(name) > 15 || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || r == '/' || r == ':' || r == '%'
	}):
		s.fail(field, "must be the name of a network interface (at most 15 characters), not %q", name)
	case name == "lo":
		s.fail(field, "must not be the loopback interface")
	case strings.HasPrefix(name, "bgw"):
		s.fail(field, "must not begin with bgw: such interfaces are the agent's own")
	default:
		return true
	}
	return false
}

// duration checks that a duration lies between two bounds, both allowed, and is a multiple of step.
func (s scope) duration(field string, d *durationpb.Duration, low, high, step time.Duration) {
	v := d.AsDuration()
	switch {
	case !d.IsValid() || v < low || v > high:
		s.fail(field, "must be between %s and %s, not %s", short(low), short(high), short(v))
	case v%step != 0:
		s.fail(field, "must be a multiple of %s, not %s", short(step), short(v))
	}
}

var zeroUnits = regexp.MustCompile(`([hm])0[ms](0s)?$`)

// short prints a duration as people write it: 8h, not 8h0m0s.
func short(d time.Duration) string { return zeroUnits.ReplaceAllString(d.String(), "$1") }

// identity checks an IKE identity and returns the form in which charon compares it: an address, an FQDN (case does not matter),
// or "keyid:" with text. False after a finding.
func (s scope) identity(field, text string) (string, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		_, ok := s.addr(field, text)
		return a.String(), ok
	}
	if key, ok := strings.CutPrefix(text, "keyid:"); ok {
		if key == "" || len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			s.fail(field, "keyid: must be followed by 1 to 255 printable characters without blanks")
			return "", false
		}
		return text, true
	}
	if !fqdn(text) {
		s.fail(field, "must be an address, a host name or keyid:TEXT, not %q", text)
		return "", false
	}
	return strings.ToLower(text), true
}

func fqdn(text string) bool {
	labels := strings.Split(text, ".")
	bad := func(label string) bool {
		return label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool {
				return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
			})
	}
	// A last label of digits only would be taken for an address somewhere.
	last := labels[len(labels)-1]
	return len(text) <= 253 && !slices.ContainsFunc(labels, bad) && strings.Trim(last, "0123456789") != ""
}
