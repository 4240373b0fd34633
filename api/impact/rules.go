package impact

import (
	"slices"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// scene is where a field changes: what its impact may depend on.
type scene struct {
	// tunnel is the changed tunnel as it is to become, nil for other objects.
	tunnel *apiv1.VPNTunnel
	// bgp says that the object's sessions exist: routing is BGP before or after.
	bgp bool
}

// rule is the impact of a changed field, and what is to be said about it.
type rule func(scene) (impact, message string)

func fixed(impact string) rule { return func(scene) (string, string) { return impact, "" } }

func noted(impact, message string) rule {
	return func(scene) (string, string) { return impact, message }
}

// renegotiated: new SAs are negotiated beside the old ones, unless only the peer may begin: then the old ones are closed.
func renegotiated(s scene) (string, string) {
	if s.tunnel.GetSpec().GetInitiation() == apiv1.InitiationRespond {
		return apiv1.ImpactTunnel, "the SAs are closed and the customer has to begin anew"
	}
	return apiv1.ImpactRekey, ""
}

// newKey: a new negotiation proves the new key at once, where we may begin; meanwhile both keys are good.
func newKey(s scene) (string, string) {
	if s.tunnel.GetSpec().GetInitiation() == apiv1.InitiationRespond {
		return apiv1.ImpactNone, "the SAs stay; the customer begins with the new key when it has it"
	}
	return apiv1.ImpactRekey, ""
}

// session: the BGP session over the tunnel starts anew; without one nothing happens.
func session(s scene) (string, string) {
	if s.bgp {
		return apiv1.ImpactTunnel, "the BGP session starts anew"
	}
	return apiv1.ImpactNone, ""
}

func sessions(s scene) (string, string) {
	if s.bgp {
		return apiv1.ImpactConnection, "all BGP sessions start anew"
	}
	return apiv1.ImpactNone, ""
}

const (
	ofVPC    = "the session with the VPC's router starts anew"
	twoEnds  = "the customer's device has to change at the same time"
	ofRouter = "the tunnel's address, its probe and its BGP session change"
)

// impacts says what the change of a field may do, at most. Elements of lists that have a name or a prefix are written with empty
// brackets. Every field of the four specs is here.
func impacts() map[string]rule {
	none := fixed(apiv1.ImpactNone)
	return map[string]rule{
		"VPNTunnel/spec.connection":          fixed(apiv1.ImpactTunnel),
		"VPNTunnel/spec.cloudAddress":        fixed(apiv1.ImpactTunnel),
		"VPNTunnel/spec.customerAddress":     fixed(apiv1.ImpactTunnel),
		"VPNTunnel/spec.localId":             renegotiated,
		"VPNTunnel/spec.remoteId":            renegotiated,
		"VPNTunnel/spec.inside.cloud":        noted(apiv1.ImpactTunnel, ofRouter),
		"VPNTunnel/spec.inside.customer":     noted(apiv1.ImpactTunnel, ofRouter),
		"VPNTunnel/spec.adminState":          fixed(apiv1.ImpactTunnel),
		"VPNTunnel/spec.initiation":          none,
		"VPNTunnel/spec.psk":                 newKey,
		"VPNTunnel/spec.ike.version":         noted(apiv1.ImpactTunnel, twoEnds),
		"VPNTunnel/spec.ike.mode":            noted(apiv1.ImpactTunnel, twoEnds),
		"VPNTunnel/spec.ike.proposals":       renegotiated,
		"VPNTunnel/spec.ike.postQuantum":     renegotiated,
		"VPNTunnel/spec.ike.lifetime":        renegotiated,
		"VPNTunnel/spec.esp.proposals":       renegotiated,
		"VPNTunnel/spec.esp.pfs":             renegotiated,
		"VPNTunnel/spec.esp.lifetime":        renegotiated,
		"VPNTunnel/spec.esp.lifetimeBytes":   renegotiated,
		"VPNTunnel/spec.esp.lifetimePackets": renegotiated,
		"VPNTunnel/spec.dpd.enabled":         renegotiated,
		"VPNTunnel/spec.dpd.interval":        renegotiated,
		"VPNTunnel/spec.dpd.timeout":         none,
		"VPNTunnel/spec.probe.mode":          none,
		"VPNTunnel/spec.probe.interval":      none,
		"VPNTunnel/spec.probe.failures":      none,
		"VPNTunnel/spec.bgp.keepalive":       session,
		"VPNTunnel/spec.bgp.hold":            session,
		"VPNTunnel/spec.bgp.password":        session,
		"VPNTunnel/spec.bgp.bfd.enabled":     session,
		"VPNTunnel/spec.bgp.bfd.interval":    none, // the BFD session goes on (RFC 5880 §6.8.3)
		"VPNTunnel/spec.bgp.bfd.multiplier":  none,
		"VPNTunnel/spec.bgp.maxPrefixes":     none,
		"VPNTunnel/spec.bgp.med":             none,
		"VPNTunnel/spec.bgp.prepend":         none,
		"VPNTunnel/spec.mtu":                 none,
		"VPNTunnel/spec.mss":                 none,
		"VPNTunnel/spec.replayWindow":        renegotiated,
		"VPNTunnel/spec.description":         none,

		"VPNConnection/spec.description":     none,
		"VPNConnection/spec.borderGateway":   fixed(apiv1.ImpactConnection),
		"VPNConnection/spec.customerGateway": fixed(apiv1.ImpactConnection),
		"VPNConnection/spec.routing":         noted(apiv1.ImpactConnection, "all BGP sessions begin or end; SAs and static routes stay"),
		"VPNConnection/spec.cloudAddresses":  none,

		"CustomerGateway/spec.asn":         sessions,
		"CustomerGateway/spec.addresses":   none,
		"CustomerGateway/spec.description": none,

		"BorderGateway/spec.asn":                         noted(apiv1.ImpactConnection, "all BGP sessions of the gateway start anew"),
		"BorderGateway/spec.attachments[]":               none,
		"BorderGateway/spec.attachments[].interface":     noted(apiv1.ImpactConnection, "traffic of the VPC enters by another interface"),
		"BorderGateway/spec.attachments[].prefixes":      none,
		"BorderGateway/spec.attachments[].nextHop":       none,
		"BorderGateway/spec.attachments[].peer.address":  noted(apiv1.ImpactConnection, ofVPC),
		"BorderGateway/spec.attachments[].peer.asn":      noted(apiv1.ImpactConnection, ofVPC),
		"BorderGateway/spec.attachments[].peer.password": noted(apiv1.ImpactConnection, ofVPC),
		"BorderGateway/spec.staticRoutes[]":              none,
		"BorderGateway/spec.staticRoutes[].connection":   none,
		"BorderGateway/spec.staticRoutes[].attachment":   none,
		"BorderGateway/spec.allowTransit":                none,
		"BorderGateway/spec.description":                 none,
	}
}

// pattern is a path as impacts has it: "spec.attachments[vpc-a].prefixes" → "spec.attachments[].prefixes".
func pattern(path string) string {
	var b strings.Builder
	depth := 0
	for _, r := range path {
		switch r {
		case '[':
			depth++
			if depth == 1 {
				b.WriteString("[]")
			}
		case ']':
			depth--
		default:
			if depth == 0 {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// worse returns the greater of two impacts.
func worse(a, b string) string {
	all := apiv1.Impacts()
	return all[max(slices.Index(all, a), slices.Index(all, b), 0)]
}
