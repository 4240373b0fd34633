package charon

import (
	"net/netip"
	"time"

	"github.com/bordergw/bordergw/internal/secret"
)

// Prefix marks every connection, child and secret in charon that belongs to bordergw.
const Prefix = "bgw-"

// MaxDPDTimeout is the longest DPDTimeout: charon's own patience, for all tunnels together, is longer (configs/strongswan.conf).
const MaxDPDTimeout = 2 * time.Minute

// Tunnel is the desired configuration of one VPN tunnel.
type Tunnel struct {
	// Name of the resource. Connection, child and secret are called Prefix+Name.
	Name string
	// Local and Remote are the literal outer addresses, of one family.
	Local, Remote netip.Addr
	// LocalID and RemoteID are IKE identities in charon's notation: an address, an FQDN, or "keyid:…". RemoteID is the only owner
	// of the key (charon accepts a key whose owners hold either identity), so it must not be shared between customers.
	LocalID, RemoteID string
	PSK               secret.Secret
	// IfID is the id of the tunnel's XFRM interface; never 0.
	IfID uint32
	// Version of IKE: 1 or 2.
	Version int
	// Aggressive selects IKEv1's aggressive mode.
	Aggressive bool
	// IKEProposals and ESPProposals are in order of preference. Those with key exchanges that charon cannot do are left out: additional
	// ones (RFC 9370) before 6.0, ML-KEM where no plugin brings it. It is asked at each connect; where nothing is left the tunnel has
	// an error.
	IKEProposals, ESPProposals []string
	// IKELifetime and ESPLifetime are hard ends; a new SA is negotiated before.
	IKELifetime, ESPLifetime time.Duration
	// LifetimeBytes and LifetimePackets end a CHILD_SA by volume; 0 means no limit.
	LifetimeBytes, LifetimePackets uint64
	// LocalTS and RemoteTS are the traffic selectors. IKEv1 can negotiate only one: the first is used.
	LocalTS, RemoteTS []netip.Prefix
	// DPDInterval is the idle time after which the peer is asked for a sign of life; 0 turns that off.
	DPDInterval time.Duration
	// DPDTimeout is how long nothing may be heard of the peer, neither IKE nor ESP, before its IKE_SA is closed. Nothing while DPDInterval
	// is 0, and not more than MaxDPDTimeout.
	DPDTimeout time.Duration
	// ReplayWindow in packets; 0 turns replay protection off.
	ReplayWindow uint32
	// Up is the admin state. False: not in charon, SAs terminated.
	Up bool
	// Initiate: keep the tunnel up. False: only wait for the peer.
	Initiate bool
}
