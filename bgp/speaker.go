package bgp

import (
	"net/netip"
	"time"

	"github.com/bordergw/bordergw/internal/secret"
)

// Port is the TCP port of BGP (RFC 4271 §8.2.1).
const Port = 179

// Kind says on which side of the gateway a neighbor is. It decides what is accepted from it and announced to it.
type Kind int

const (
	// Customer is the far end of a tunnel: always eBGP, between the tunnel's two inside addresses.
	Customer Kind = iota + 1
	// Fabric is the router on the VPC's side of an attachment: eBGP or iBGP.
	Fabric
)

// String returns "customer" or "fabric".
func (k Kind) String() string {
	switch k {
	case Customer:
		return "customer"
	case Fabric:
		return "fabric"
	}
	return "unknown"
}

// Speaker is the whole desired BGP configuration of one BorderGateway on one host.
type Speaker struct {
	// Gateway is the BorderGateway's name and the speaker's identity.
	Gateway string
	// ASN is the border's AS number, 2 or 4 bytes.
	ASN uint32
	// RouterID is the BGP identifier: any IPv4 address other than 0.0.0.0, unique among the speakers that a neighbor talks to.
	RouterID netip.Addr
	// Device is the VRF device that sockets are bound to. Empty means no binding, which only tests use.
	Device string
	// ListenAddresses are where sessions are accepted. Empty means 0.0.0.0 and, where the kernel has IPv6, ::. With a Device that
	// is this VRF only, whatever tunnels come later.
	ListenAddresses []netip.Addr
	// Port is listened on; zero means 179. Only tests choose another one.
	Port uint16
	// Forwarding says that the kernel still forwards for the speaker of an earlier process. Neighbors with a RestartTime that are added
	// in the first minutes are told so, and nothing is announced to them until all have sent their routes, or for 20 seconds.
	Forwarding bool
	// Neighbors wanted now. One whose tunnel is not up is left out, so that its session ends at once and starts afresh.
	Neighbors []Neighbor
	// Announcements are all that neighbors are told. What one neighbor has announced is not passed on to another unless it is
	// among them.
	Announcements []Announcement
}

// Neighbor is one session.
type Neighbor struct {
	// Name identifies the neighbor in its speaker: "tunnel/<name>" or "attachment/<name>".
	Name string
	Kind Kind
	// Address of the peer; no two neighbors of one speaker share it. LocalAddress is our end of the session; a Fabric neighbor may
	// leave it out, and the kernel chooses the address of the interface that leads to the peer.
	Address, LocalAddress netip.Addr
	// PeerASN differs from the speaker's ASN, except that a Fabric neighbor may have the same one: that session is iBGP.
	PeerASN uint32
	// Port is dialed; zero means 179. Only tests choose another one.
	Port uint16
	// Keepalive and Hold are rounded down to whole seconds; zero means 30s and 90s. Hold is at least 3s (RFC 4271 §4.2) and at
	// least the keepalive interval.
	Keepalive, Hold time.Duration
	// Password is the TCP MD5 signature key (RFC 2385); unset means none.
	Password secret.Secret
	// RestartTime is how long the neighbor is asked to keep our routes when the connection is lost without a word (RFC 4724), whole
	// seconds up to 4095s; zero asks for nothing. When a host dies, traffic goes on toward it for up to this time unless something else
	// notices, so it should be little longer than an agent's restart takes. The other way round is always on: the routes of a neighbor
	// that asks for it are kept for as long as it asks.
	RestartTime time.Duration
	// Restarts is changed to end the session and start it afresh, as when something else than BGP has found that the peer is gone.
	Restarts uint64
	// MaxPrefixes is the most prefixes per address family the neighbor may announce, refused ones included. One more and the
	// session is closed, and retried after a back-off. Zero means no limit.
	MaxPrefixes uint32
	// MED, when set, is sent with every route announced to this neighbor.
	MED *uint32
	// Prepend is how many more times than usual our ASN stands in the AS_PATH announced to this neighbor; 0 to 255. It has no
	// meaning on an iBGP session.
	Prepend int
	// Mute announces nothing to this neighbor, and takes back what was announced. What it announces is still accepted.
	Mute bool
	// IPv4 and IPv6 are the address families of the routes exchanged. At least one is set. Over a session of the other family our
	// next hop is, for IPv4 routes, our IPv6 address (RFC 8950); for IPv6 routes to a Customer a link-local address, which is enough in
	// a tunnel, and to a Fabric neighbor the IPv4-mapped address, which BIRD and FRR do not take. What the peer's next hop looks like does
	// not matter to us.
	IPv4, IPv6 bool
	// Accept holds, for a Fabric neighbor, the prefixes it may announce; more specific ones are included, and nothing else is
	// accepted. A Customer may announce anything that Refuse and the built-in guards allow.
	Accept []netip.Prefix
	// Refuse holds prefixes never accepted from this neighbor, nor any more specific one.
	Refuse []Guard
	// Protect holds addresses that no accepted prefix contains, but for a default route.
	Protect []netip.Addr
}

// Announcement is a route that the speaker originates toward all neighbors of one kind. The same prefix may go to both kinds, but
// with one AS_PATH only.
type Announcement struct {
	Prefix netip.Prefix
	To     Kind
	// ASPath is the way beyond the speaker: that of the learned path when the route is a learned one, empty when it begins here. It
	// is sent as one sequence, behind our own ASN on eBGP sessions and as it is on iBGP ones. A neighbor whose ASN is in it does not
	// get the route, which would be its own.
	ASPath []uint32
}

// Result is what an Apply could not do.
type Result struct {
	// Errors by neighbor name, and by prefix for announcements. What has no entry is as desired, which for a neighbor does not
	// mean that its session is up.
	Errors map[string]error
}
