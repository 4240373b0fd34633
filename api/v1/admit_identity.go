package apiv1

import (
	"net/netip"
	"strings"
)

// identified is one tunnel as charon tells it from others.
type identified struct {
	name                    string
	local, remote, customer string
	version                 uint32
	cloud                   string
}

// identities holds what keeps the tunnels of one charon apart. charon tries every key whose owners match either identity, so two
// keys behind one remote identity are told apart only by literal, different customer addresses; and for IKEv1 it picks the
// connection by the two outer addresses, before it has seen an identity.
func (c *checker) identities() {
	byHost := map[string][]identified{}
	for _, name := range Names(c.set.Tunnels) {
		spec := c.set.Tunnels[name].GetSpec()
		cloud, problem := parseAddr(spec.GetCloudAddress())
		if problem != "" {
			continue
		}
		t := identified{
			name: name, local: canonicalID(spec.GetLocalId()), remote: canonicalID(spec.GetRemoteId()),
			customer: spec.GetCustomerAddress(), cloud: spec.GetCloudAddress(), version: spec.GetIke().GetVersion(),
		}
		host := c.hostKey(cloud)
		for _, other := range byHost[host] {
			if c.collide(host, t, other) {
				break
			}
		}
		byHost[host] = append(byHost[host], t)
	}
}

// collide reports the first rule that two tunnels of one host break together.
func (c *checker) collide(host string, t, other identified) bool {
	s := c.at(KindVPNTunnel, t.name)
	a, b := c.set.PSK(t.name), c.set.PSK(other.name)
	switch {
	case t.local == other.local && t.remote == other.remote:
		s.fail("spec.remoteId", "localId %s and remoteId %s are already those of VPNTunnel %q on %s", t.local, t.remote, other.name, host)
	case t.remote == other.remote && t.customer == other.customer && a.IsSet() && b.IsSet() && !a.Equal(b):
		s.fail("spec.remoteId", "VPNTunnel %q on %s has remoteId %s and customerAddress %s too, but another key: give both the same key, or each its own remoteId",
			other.name, host, t.remote, t.customer)
	case t.cloud == other.cloud && t.customer == other.customer && (t.version == 1 || other.version == 1):
		s.fail("spec.ike.version", "VPNTunnel %q joins the same two addresses: IKEv1 cannot tell the two apart", other.name)
	default:
		return false
	}
	return true
}

// CanonicalID returns an identity in the form in which charon compares it: addresses and host names have several spellings.
func CanonicalID(text string) string { return canonicalID(text) }

// canonicalID returns an identity as charon compares it.
func canonicalID(text string) string {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.String()
	}
	if strings.HasPrefix(text, "keyid:") {
		return text
	}
	return strings.ToLower(text)
}
