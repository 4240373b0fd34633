package apiv1

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/bordergw/bordergw/internal/secret"
)

// Set is one complete desired state: every resource by name, and the resolved secrets beside them. The messages' SecretSource
// fields tell only where a secret came from (value is emptied once read). A Set that was handed on is read-only: take Clone to
// change it. The zero Set is empty and may be read; NewSet returns one to fill.
type Set struct {
	BorderGateways   map[string]*BorderGateway
	CustomerGateways map[string]*CustomerGateway
	Connections      map[string]*VPNConnection
	Tunnels          map[string]*VPNTunnel
	// HostOnly: tunnels of other hosts are left out, so that availability cannot be told from the Set.
	HostOnly bool

	// Behind a function because fmt and other walkers by reflection do not call a Secret's own formatter in unexported fields.
	hidden func() *secrets
}

type secrets struct {
	psk, bgp map[string]secret.Secret
	peer     map[peerKey]secret.Secret
}

type peerKey struct{ gateway, attachment string }

// NewSet returns an empty Set.
func NewSet() *Set {
	return &Set{
		BorderGateways:   map[string]*BorderGateway{},
		CustomerGateways: map[string]*CustomerGateway{},
		Connections:      map[string]*VPNConnection{},
		Tunnels:          map[string]*VPNTunnel{},
	}
}

// PSK returns a tunnel's pre-shared key; unset when this host does not need it.
func (s *Set) PSK(tunnel string) secret.Secret {
	return s.secrets().psk[tunnel]
}

// BGPPassword returns the TCP MD5 key of a tunnel's BGP session; unset when it has none.
func (s *Set) BGPPassword(tunnel string) secret.Secret {
	return s.secrets().bgp[tunnel]
}

// PeerPassword returns the TCP MD5 key of the session with an attachment's peer; unset when it has none.
func (s *Set) PeerPassword(gateway, attachment string) secret.Secret {
	return s.secrets().peer[peerKey{gateway, attachment}]
}

// SetPSK keeps a tunnel's pre-shared key.
func (s *Set) SetPSK(tunnel string, value secret.Secret) { s.hold().psk[tunnel] = value }

// SetBGPPassword keeps the TCP MD5 key of a tunnel's BGP session.
func (s *Set) SetBGPPassword(tunnel string, value secret.Secret) { s.hold().bgp[tunnel] = value }

// SetPeerPassword keeps the TCP MD5 key of the session with an attachment's peer.
func (s *Set) SetPeerPassword(gateway, attachment string, value secret.Secret) {
	s.hold().peer[peerKey{gateway, attachment}] = value
}

// secrets returns what is held, for reading.
func (s *Set) secrets() *secrets {
	if s.hidden == nil {
		return &secrets{}
	}
	return s.hidden()
}

func (s *Set) hold() *secrets {
	if s.hidden == nil {
		held := &secrets{psk: map[string]secret.Secret{}, bgp: map[string]secret.Secret{}, peer: map[peerKey]secret.Secret{}}
		s.hidden = func() *secrets { return held }
	}
	return s.hidden()
}

// TunnelsOf returns the tunnels of a connection, sorted by name.
func (s *Set) TunnelsOf(connection string) []*VPNTunnel {
	return pick(s.Tunnels, func(t *VPNTunnel) bool { return t.GetSpec().GetConnection() == connection })
}

// ConnectionsOf returns the connections of a BorderGateway, sorted by name.
func (s *Set) ConnectionsOf(gateway string) []*VPNConnection {
	return pick(s.Connections, func(c *VPNConnection) bool { return c.GetSpec().GetBorderGateway() == gateway })
}

// ConnectionsOfCustomer returns the connections of a CustomerGateway, sorted by name.
func (s *Set) ConnectionsOfCustomer(gateway string) []*VPNConnection {
	return pick(s.Connections, func(c *VPNConnection) bool { return c.GetSpec().GetCustomerGateway() == gateway })
}

// TunnelsOfGateway returns the tunnels of all connections of a BorderGateway, sorted by name.
func (s *Set) TunnelsOfGateway(gateway string) []*VPNTunnel {
	return pick(s.Tunnels, func(t *VPNTunnel) bool {
		c, ok := s.Connections[t.GetSpec().GetConnection()]
		return ok && c.GetSpec().GetBorderGateway() == gateway
	})
}

// ByConnection returns the tunnels of every connection that has any, sorted by name: TunnelsOf for all connections at once.
func (s *Set) ByConnection() map[string][]*VPNTunnel {
	out := map[string][]*VPNTunnel{}
	for _, name := range Names(s.Tunnels) {
		t := s.Tunnels[name]
		out[t.GetSpec().GetConnection()] = append(out[t.GetSpec().GetConnection()], t)
	}
	return out
}

// Parents returns the connection of a tunnel and that connection's two gateways; nil where a reference leads nowhere, which an
// admitted Set does not have.
func (s *Set) Parents(t *VPNTunnel) (*VPNConnection, *BorderGateway, *CustomerGateway) {
	c := s.Connections[t.GetSpec().GetConnection()]
	return c, s.BorderGateways[c.GetSpec().GetBorderGateway()], s.CustomerGateways[c.GetSpec().GetCustomerGateway()]
}

// Names returns the keys of one of a Set's maps, sorted.
func Names[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func pick[T any](m map[string]T, want func(T) bool) []T {
	var names []string
	for name, object := range m {
		if want(object) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var out []T
	for _, name := range names {
		out = append(out, m[name])
	}
	return out
}

// Clone returns a deep copy.
func (s *Set) Clone() *Set {
	out := &Set{
		BorderGateways: cloneAll(s.BorderGateways), CustomerGateways: cloneAll(s.CustomerGateways),
		Connections: cloneAll(s.Connections), Tunnels: cloneAll(s.Tunnels), HostOnly: s.HostOnly,
	}
	if s.hidden != nil {
		held := &secrets{psk: maps.Clone(s.secrets().psk), bgp: maps.Clone(s.secrets().bgp), peer: maps.Clone(s.secrets().peer)}
		out.hidden = func() *secrets { return held }
	}
	return out
}

func cloneAll[T proto.Message](m map[string]T) map[string]T {
	out := make(map[string]T, len(m))
	for name, msg := range m {
		out[name] = proto.CloneOf(msg)
	}
	return out
}

// Equal says whether two Sets want the same, secrets included.
func (s *Set) Equal(other *Set) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.HostOnly == other.HostOnly && equalAll(s.BorderGateways, other.BorderGateways) && equalAll(s.CustomerGateways, other.CustomerGateways) &&
		equalAll(s.Connections, other.Connections) && equalAll(s.Tunnels, other.Tunnels) && s.secrets().equal(other.secrets())
}

func equalAll[T proto.Message](a, b map[string]T) bool {
	return maps.EqualFunc(a, b, func(x, y T) bool { return proto.Equal(x, y) })
}

func (s *secrets) equal(other *secrets) bool {
	return maps.EqualFunc(s.psk, other.psk, secret.Secret.Equal) && maps.EqualFunc(s.bgp, other.bgp, secret.Secret.Equal) &&
		maps.EqualFunc(s.peer, other.peer, secret.Secret.Equal)
}
