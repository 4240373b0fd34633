package plan

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Serves returns the names, sorted, of the BorderGateways that the host serves: those of which a connection names a cloud address of
// the host.
func Serves(set *apiv1.Set, host Host) []string {
	var out []string
	for _, name := range apiv1.Names(set.BorderGateways) {
		if serves(set, host, name) {
			out = append(out, name)
		}
	}
	return out
}

func serves(set *apiv1.Set, host Host, gateway string) bool {
	for _, c := range set.ConnectionsOf(gateway) {
		for _, text := range c.GetSpec().GetCloudAddresses() {
			if addr, err := netip.ParseAddr(text); err == nil && host.Owns(addr) {
				return true
			}
		}
	}
	return false
}

// Build resolves one BorderGateway of an admitted, defaulted set for the host. An error means that the set was not admitted or that a
// number pool is full; it names the object.
func Build(set *apiv1.Set, host Host, ids IDs, name string, maxBGPRoutes int) (*Gateway, error) {
	res, ok := set.BorderGateways[name]
	if !ok {
		return nil, fmt.Errorf("BorderGateway/%s: does not exist", name)
	}
	table, err := ids.Table.Get(name)
	if err != nil {
		return nil, fmt.Errorf("BorderGateway/%s: routing table: %w", name, err)
	}
	g := &Gateway{
		Name: name, VRF: fmt.Sprintf("bgwv%d", table), Table: table, ASN: res.GetSpec().GetAsn(),
		RouterID: routerID(host), AllowTransit: res.GetSpec().GetAllowTransit(), MaxBGPRoutes: maxBGPRoutes, host: host, ids: ids,
	}
	for _, a := range res.GetSpec().GetAttachments() {
		attachment, err := buildAttachment(set, name, a)
		if err != nil {
			return nil, fmt.Errorf("BorderGateway/%s: attachment %s: %w", name, a.GetName(), err)
		}
		g.Attachments = append(g.Attachments, attachment)
	}
	for i, s := range res.GetSpec().GetStaticRoutes() {
		prefix, err := netip.ParsePrefix(s.GetPrefix())
		if err != nil {
			return nil, fmt.Errorf("BorderGateway/%s: spec.staticRoutes[%d].prefix: %w", name, i, err)
		}
		g.Static = append(g.Static, Static{Prefix: prefix, Connection: s.GetConnection(), Attachment: s.GetAttachment()})
	}
	var served []*apiv1.VPNTunnel
	for _, t := range set.TunnelsOfGateway(name) {
		cloud, err := netip.ParseAddr(t.GetSpec().GetCloudAddress())
		if err != nil {
			return nil, fmt.Errorf("VPNTunnel/%s: spec.cloudAddress: %w", t.GetName(), err)
		}
		if !host.Owns(cloud) {
			continue
		}
		tunnel, err := buildTunnel(set, host, ids, t)
		if err != nil {
			return nil, fmt.Errorf("VPNTunnel/%s: %w", t.GetName(), err)
		}
		g.Tunnels = append(g.Tunnels, tunnel)
		served = append(served, t)
	}
	g.IPv4, g.IPv6 = apiv1.Families(res, served)
	return g, nil
}

func buildAttachment(set *apiv1.Set, gateway string, a *apiv1.Attachment) (Attachment, error) {
	out := Attachment{Name: a.GetName(), Interface: a.GetInterface(), PeerASN: a.GetPeer().GetAsn(),
		PeerPassword: set.PeerPassword(gateway, a.GetName())}
	for i, text := range a.GetPrefixes() {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return Attachment{}, fmt.Errorf("prefixes[%d]: %w", i, err)
		}
		out.Prefixes = append(out.Prefixes, prefix)
	}
	var err error
	if text := a.GetPeer().GetAddress(); text != "" {
		if out.Peer, err = netip.ParseAddr(text); err != nil {
			return Attachment{}, fmt.Errorf("peer.address: %w", err)
		}
	}
	out.NextHop = out.Peer
	if text := a.GetNextHop(); text != "" {
		if out.NextHop, err = netip.ParseAddr(text); err != nil {
			return Attachment{}, fmt.Errorf("nextHop: %w", err)
		}
	}
	return out, nil
}

func buildTunnel(set *apiv1.Set, host Host, ids IDs, t *apiv1.VPNTunnel) (Tunnel, error) {
	spec := t.GetSpec()
	connection, _, customer := set.Parents(t)
	out := Tunnel{
		Name: t.GetName(), Connection: spec.GetConnection(), Spec: spec,
		AdminUp:     spec.GetAdminState() == apiv1.AdminStateUp,
		BGP:         connection.GetSpec().GetRouting() == apiv1.RoutingBGP,
		CustomerASN: customer.GetSpec().GetAsn(),
		PSK:         set.PSK(t.GetName()), BGPPassword: set.BGPPassword(t.GetName()),
	}
	if host.Local != nil {
		out.Local = host.Local(t.GetName())
		out.AdminUp = out.AdminUp && !apiv1.LocallyDown(out.Local)
	}
	var err error
	if out.Cloud, err = netip.ParseAddr(spec.GetCloudAddress()); err != nil {
		return Tunnel{}, fmt.Errorf("spec.cloudAddress: %w", err)
	}
	if out.Customer, err = netip.ParseAddr(spec.GetCustomerAddress()); err != nil {
		return Tunnel{}, fmt.Errorf("spec.customerAddress: %w", err)
	}
	if out.Inside, err = netip.ParsePrefix(spec.GetInside().GetCloud()); err != nil {
		return Tunnel{}, fmt.Errorf("spec.inside.cloud: %w", err)
	}
	if out.Peer, err = parseAddrOrPrefix(spec.GetInside().GetCustomer()); err != nil {
		return Tunnel{}, fmt.Errorf("spec.inside.customer: %w", err)
	}
	if out.IfID, err = ids.IfID.Get(out.Name); err != nil {
		return Tunnel{}, fmt.Errorf("XFRM interface id: %w", err)
	}
	out.Interface = fmt.Sprintf("bgwx%08x", out.IfID)
	return out, nil
}

// parseAddrOrPrefix takes the address with or without a prefix length: people write both.
func parseAddrOrPrefix(text string) (netip.Addr, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr(), nil
	}
	return netip.ParseAddr(text)
}

// routerID is the host's first IPv4 cloud address: unique among the hosts that a customer or a VPC router has sessions with. A host
// that owns only IPv6 addresses gets one derived from the first, in 240.0.0.0/4, which no interface has (RFC 6286 asks for nothing more
// than uniqueness within the AS).
func routerID(host Host) netip.Addr {
	for _, a := range host.Addresses {
		if a.Is4() {
			return a
		}
	}
	h := fnv.New32a()
	for _, a := range host.Addresses {
		h.Write(a.AsSlice()) // hash.Hash never returns an error
	}
	n := h.Sum32()
	return netip.AddrFrom4([4]byte{240 | byte(n>>24)&0x0f, byte(n >> 16), byte(n >> 8), byte(n) | 1})
}
