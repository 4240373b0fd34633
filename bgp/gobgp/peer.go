package gobgp

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgpbgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/bordergw/bordergw/bgp"
)

const (
	defaultHold = 90 * time.Second // RFC 4271 §10

	// connectRetry is the time in seconds between two attempts to connect. The peer is at the end of a tunnel that is up.
	connectRetry = 2
	// idleAfterReset is how many seconds a session rests after we reset it.
	idleAfterReset = 1
	// deferral bounds, in seconds, how long after a restart nothing is announced while some neighbor's routes are still missing:
	// GoBGP waits for every neighbor with graceful restart, those that are down too.
	deferral = 20
	// internetControl is the TOS byte of class selector 6 (RFC 4594 §3.1): routing survives when a link is full.
	internetControl = 0xc0
	// ownLoops lets own-AS loops through to the view, which refuses them: GoBGP skips such an UPDATE, and the route that it replaces
	// would stay. It is the most that GoBGP can be told.
	ownLoops = 255
	// maxPassword is TCP_MD5SIG_MAXKEYLEN (linux/tcp.h).
	maxPassword = 80
)

// peer returns the GoBGP configuration of a neighbor. restarting sets the R and F bits of graceful restart: the forwarding state
// of an earlier process is still in place (RFC 4724 §3).
func peer(s bgp.Speaker, n bgp.Neighbor, restarting bool) (*api.Peer, error) {
	password := n.Password.Reveal()
	if len(password) > maxPassword {
		return nil, fmt.Errorf("password: longer than %d bytes", maxPassword)
	}
	hold := seconds(n.Hold)
	if hold == 0 {
		hold = seconds(defaultHold)
	}
	keepalive := seconds(n.Keepalive)
	if keepalive == 0 {
		keepalive = hold / 3
	}
	p := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: n.Address.String(),
			PeerAsn:         n.PeerASN,
			LocalAsn:        s.ASN,
			AuthPassword:    password,
			AllowOwnAsn:     ownLoops,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry:           connectRetry,
			IdleHoldTimeAfterReset: idleAfterReset,
			HoldTime:               hold,
			KeepaliveInterval:      keepalive,
		}},
		Transport: &api.Transport{
			LocalAddress:  localAddress(n),
			RemotePort:    uint32(n.Port),
			BindInterface: s.Device,
			IpTos:         internetControl,
		},
	}
	// Helper for every neighbor (RFC 4724 §4.2). Without a restart time of our own no family is listed: then nobody keeps our routes.
	p.GracefulRestart = &api.GracefulRestart{
		Enabled:         true,
		HelperOnly:      n.RestartTime == 0,
		RestartTime:     uint32(seconds(n.RestartTime)),
		DeferralTime:    deferral,
		LocalRestarting: restarting && n.RestartTime > 0,
	}
	for _, f := range []struct {
		wanted bool
		afi    api.Family_Afi
	}{{n.IPv4, api.Family_AFI_IP}, {n.IPv6, api.Family_AFI_IP6}} {
		if !f.wanted {
			continue
		}
		family := &api.Family{Afi: f.afi, Safi: api.Family_SAFI_UNICAST}
		p.AfiSafis = append(p.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: family, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
			PrefixLimits:      &api.PrefixLimit{Family: family, MaxPrefixes: n.MaxPrefixes},
		})
	}
	return p, nil
}

func seconds(d time.Duration) uint64 { return uint64(d / time.Second) }

// localPath is a route that we originate. The unspecified next hop becomes our end of each session.
func localPath(p netip.Prefix, o bgp.Originated) (*apiutil.Path, error) {
	nlri, err := gobgpbgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("prefix %v: %w", p, err)
	}
	path := &apiutil.Path{Family: gobgpbgp.RF_IPv4_UC, Nlri: nlri, Age: time.Now().Unix()}
	unspecified := netip.IPv4Unspecified()
	if p.Addr().Is6() {
		path.Family, unspecified = gobgpbgp.RF_IPv6_UC, netip.IPv6Unspecified()
	}
	next, err := gobgpbgp.NewPathAttributeNextHop(unspecified)
	if err != nil {
		return nil, fmt.Errorf("prefix %v: %w", p, err)
	}
	path.Attrs = []gobgpbgp.PathAttributeInterface{
		gobgpbgp.NewPathAttributeOrigin(gobgpbgp.BGP_ORIGIN_ATTR_TYPE_IGP),
		next,
		gobgpbgp.NewPathAttributeLocalPref(prefLocal + uint32(o.To)),
	}
	if len(o.ASPath) > 0 {
		path.Attrs = append(path.Attrs, asPath(o.ASPath))
	}
	return path, nil
}

// asPath is a sequence of ASNs as segments of at most 255, the most that a segment's length octet can say (RFC 4271 §4.3).
func asPath(asns []uint32) *gobgpbgp.PathAttributeAsPath {
	var segments []gobgpbgp.AsPathParamInterface
	for part := range slices.Chunk(asns, math.MaxUint8) {
		segments = append(segments, gobgpbgp.NewAs4PathParam(gobgpbgp.BGP_ASPATH_ATTR_TYPE_SEQ, part))
	}
	return gobgpbgp.NewPathAttributeAsPath(segments)
}

// localAddress is our end of the session; empty leaves the choice to the kernel's routing in the VRF.
func localAddress(n bgp.Neighbor) string {
	if !n.LocalAddress.IsValid() {
		return ""
	}
	return n.LocalAddress.String()
}
