package apiv1

import (
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Defaults of the fields that a manifest may leave out.
const (
	DefaultBorderASN     = 65000
	DefaultIKEVersion    = 2
	DefaultIKELifetime   = 28800 * time.Second
	DefaultESPLifetime   = 3600 * time.Second
	DefaultDPDInterval   = 10 * time.Second
	DefaultDPDTimeout    = 30 * time.Second
	DefaultProbeInterval = time.Second
	DefaultProbeFailures = 3
	DefaultBGPKeepalive  = 10 * time.Second
	DefaultBGPHold       = 30 * time.Second
	DefaultMaxPrefixes   = 300
	DefaultBFDInterval   = 300 * time.Millisecond
	DefaultBFDMultiplier = 3
	DefaultReplayWindow  = 1024
)

// DefaultInsidePool is where a controller takes inside prefixes from unless told otherwise (RFC 3927 addresses: they never leave
// the link, which a tunnel is).
func DefaultInsidePool() netip.Prefix { return netip.MustParsePrefix("169.254.0.0/16") }

// DefaultIKEProposals returns what an IKE version offers, most wanted first. IKEv1 has no combined-mode ciphers.
func DefaultIKEProposals(version uint32) []string {
	classic := []string{"aes256-sha256-modp2048", "aes128-sha256-modp2048"}
	if version == 1 {
		return classic
	}
	return append([]string{"aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256"}, classic...)
}

// DefaultESPProposals returns what ESP offers, most wanted first. OfferedESPProposals adds the forms without a group that
// OPTIONAL perfect forward secrecy allows.
func DefaultESPProposals() []string {
	return []string{"aes256gcm16-ecp384", "aes128gcm16-ecp256", "aes256-sha256-modp2048"}
}

// SetDefaults fills every field that was left out, in all objects. It is idempotent. Inside addresses and keys have no default:
// a controller allocates and generates them.
func (s *Set) SetDefaults() {
	for _, g := range s.BorderGateways {
		DefaultBorderGateway(g)
	}
	for _, c := range s.CustomerGateways {
		c.Spec = orNew(c.Spec)
	}
	for _, c := range s.Connections {
		c.Spec = orNew(c.Spec)
	}
	for _, t := range s.Tunnels {
		DefaultTunnel(t)
	}
}

// DefaultBorderGateway fills the fields of one BorderGateway that were left out.
func DefaultBorderGateway(g *BorderGateway) {
	g.Spec = orNew(g.Spec)
	setIfZero(&g.Spec.Asn, DefaultBorderASN)
}

// DefaultTunnel fills the fields of one VPNTunnel that were left out.
func DefaultTunnel(t *VPNTunnel) {
	t.Spec = orNew(t.Spec)
	s := t.Spec
	setIfZero(&s.LocalId, s.CloudAddress)
	setIfZero(&s.RemoteId, s.CustomerAddress)
	setIfZero(&s.AdminState, AdminStateUp)
	setIfZero(&s.Initiation, InitiationAlways)
	if s.ReplayWindow == nil {
		s.ReplayWindow = proto.Uint32(DefaultReplayWindow)
	}
	s.Ike, s.Esp, s.Dpd, s.Probe, s.Bgp = orNew(s.Ike), orNew(s.Esp), orNew(s.Dpd), orNew(s.Probe), orNew(s.Bgp)
	defaultIKE(s.Ike)

	if len(s.Esp.Proposals) == 0 {
		s.Esp.Proposals = DefaultESPProposals()
	}
	setIfZero(&s.Esp.Pfs, PFSRequired)
	setDuration(&s.Esp.Lifetime, DefaultESPLifetime)

	if s.Dpd.Enabled == nil {
		s.Dpd.Enabled = proto.Bool(true)
	}
	setDuration(&s.Dpd.Interval, DefaultDPDInterval)
	setDuration(&s.Dpd.Timeout, DefaultDPDTimeout)

	setIfZero(&s.Probe.Mode, ProbeModeAuto)
	setDuration(&s.Probe.Interval, DefaultProbeInterval)
	setIfZero(&s.Probe.Failures, DefaultProbeFailures)

	setDuration(&s.Bgp.Keepalive, DefaultBGPKeepalive)
	setDuration(&s.Bgp.Hold, DefaultBGPHold)
	setIfZero(&s.Bgp.MaxPrefixes, DefaultMaxPrefixes)
	s.Bgp.Bfd = orNew(s.Bgp.Bfd)
	setDuration(&s.Bgp.Bfd.Interval, DefaultBFDInterval)
	setIfZero(&s.Bgp.Bfd.Multiplier, DefaultBFDMultiplier)
}

func defaultIKE(ike *IKE) {
	setIfZero(&ike.Version, DefaultIKEVersion)
	if ike.Version == 1 {
		setIfZero(&ike.Mode, IKEModeMain)
	}
	if len(ike.Proposals) == 0 {
		ike.Proposals = DefaultIKEProposals(ike.Version)
	}
	setIfZero(&ike.PostQuantum, PostQuantumAuto)
	setDuration(&ike.Lifetime, DefaultIKELifetime)
}

func setIfZero[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func setDuration(field **durationpb.Duration, value time.Duration) {
	if *field == nil {
		*field = durationpb.New(value)
	}
}

func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}
