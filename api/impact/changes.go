package impact

import (
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// Scope is what a comparison needs to know of the hosts.
type Scope struct {
	// Host returns the name of the host that has a cloud address; empty for addresses that are of no concern.
	Host func(cloud netip.Addr) string
	// Down says that a tunnel was taken down on its host, whatever its manifest says.
	Down func(tunnel string) bool
}

// Changes compares two admitted, defaulted sets and says of each difference what it may do at most on the hosts. Secrets are compared and
// never told. A tunnel that is down, by its manifest or on its host, is not disturbed by anything.
func Changes(old, new *apiv1.Set, scope Scope) []*apiv1.PlannedChange {
	c := comparison{old: old, new: new, scope: scope, rules: impacts()}
	compareKind(&c, apiv1.KindBorderGateway, old.BorderGateways, new.BorderGateways, (*apiv1.BorderGateway).GetSpec)
	compareKind(&c, apiv1.KindCustomerGateway, old.CustomerGateways, new.CustomerGateways, (*apiv1.CustomerGateway).GetSpec)
	compareKind(&c, apiv1.KindVPNConnection, old.Connections, new.Connections, (*apiv1.VPNConnection).GetSpec)
	compareKind(&c, apiv1.KindVPNTunnel, old.Tunnels, new.Tunnels, (*apiv1.VPNTunnel).GetSpec)
	return c.out
}

// Greatest is the greatest impact of all changes.
func Greatest(changes []*apiv1.PlannedChange) string {
	out := apiv1.ImpactNone
	for _, c := range changes {
		out = worse(out, c.GetImpact())
	}
	return out
}

type comparison struct {
	old, new *apiv1.Set
	scope    Scope
	rules    map[string]rule
	out      []*apiv1.PlannedChange
}

func compareKind[T any, S proto.Message](c *comparison, kind string, old, new map[string]T, spec func(T) S) {
	names := apiv1.Names(old)
	for name := range new {
		if _, ok := old[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		before, was := old[name]
		after, is := new[name]
		change := &apiv1.PlannedChange{Object: apiv1.ObjectName(kind, name), Action: apiv1.PlanChanged, Impact: apiv1.ImpactNone}
		switch {
		case !is:
			change.Action = apiv1.PlanRemoved
			if kind == apiv1.KindVPNTunnel && !c.down(name) {
				change.Impact = apiv1.ImpactTunnel
			}
		case !was:
			change.Action = apiv1.PlanAdded
		default:
			change.Fields = append(c.fields(kind, name, fields(spec(before)), fields(spec(after))), c.families(kind, name)...)
			if len(change.Fields) == 0 {
				continue
			}
			for _, f := range change.Fields {
				change.Impact = worse(change.Impact, f.GetImpact())
			}
		}
		if change.Impact != apiv1.ImpactNone {
			change.Tunnels = c.touched(kind, name)
		}
		c.out = append(c.out, change)
	}
}

// fields are the differences of one object's spec.
func (c *comparison) fields(kind, name string, old, new []field) []*apiv1.FieldChange {
	s := c.scene(kind, name)
	changedSecrets := c.secrets(kind, name)
	was, is, paths := byPath(old, new)
	var out []*apiv1.FieldChange
	for _, path := range paths {
		message, secretChanged := changedSecrets[path]
		if was[path].text == is[path].text && !secretChanged || within(path, was, is) {
			continue
		}
		impact, note := c.rules[kind+"/"+pattern(path)](s)
		switch {
		case kind == apiv1.KindVPNTunnel && c.down(name):
			impact, note = apiv1.ImpactNone, "the tunnel is down"
		case isSecret(pattern(path)) && !secretChanged:
			impact, note = apiv1.ImpactNone, "it comes from elsewhere and is the same"
		}
		if message == "" {
			message = note
		} else if note != "" {
			message += "; " + note
		}
		out = append(out, &apiv1.FieldChange{Field: path, Old: was[path].human(), New: is[path].human(), Impact: impact, Message: message})
	}
	return out
}

// byPath returns the fields by their paths, and all paths: first those that were, then those that came.
func byPath(old, new []field) (was, is map[string]field, paths []string) {
	was, is = map[string]field{}, map[string]field{}
	for _, f := range old {
		was[f.path] = f
		paths = append(paths, f.path)
	}
	for _, f := range new {
		if _, ok := was[f.path]; !ok {
			paths = append(paths, f.path)
		}
		is[f.path] = f
	}
	return was, is, paths
}

// Harmless are the differences of two specs of which no change disturbs anything: those of GatewayHosts.
func Harmless(old, new proto.Message) []*apiv1.FieldChange {
	was, is, paths := byPath(fields(old), fields(new))
	var out []*apiv1.FieldChange
	for _, path := range paths {
		if was[path].text != is[path].text {
			out = append(out, &apiv1.FieldChange{Field: path, Old: was[path].human(), New: is[path].human(), Impact: apiv1.ImpactNone})
		}
	}
	return out
}

// within says that a path lies in an element that came or went as a whole.
func within(path string, was, is map[string]field) bool {
	for i, r := range path {
		if r == ']' && i+1 < len(path) {
			_, before := was[path[:i+1]]
			_, after := is[path[:i+1]]
			if before != after {
				return true
			}
		}
	}
	return false
}

func isSecret(pattern string) bool {
	return slices.Contains([]string{"spec.psk", "spec.bgp.password", "spec.attachments[].peer.password"}, pattern)
}

// secrets are the paths of an object's secrets that differ. What a host does not need it does not know, and does not differ.
func (c *comparison) secrets(kind, name string) map[string]string {
	out := map[string]string{}
	note := func(path, what string, old, new secret.Secret) {
		if !old.Equal(new) {
			out[path] = what + " changed"
		}
	}
	switch kind {
	case apiv1.KindVPNTunnel:
		note("spec.psk", "psk", c.old.PSK(name), c.new.PSK(name))
		note("spec.bgp.password", "password", c.old.BGPPassword(name), c.new.BGPPassword(name))
	case apiv1.KindBorderGateway:
		for _, a := range c.new.BorderGateways[name].GetSpec().GetAttachments() {
			note("spec.attachments["+a.GetName()+"].peer.password", "password", c.old.PeerPassword(name, a.GetName()),
				c.new.PeerPassword(name, a.GetName()))
		}
	}
	return out
}

func (c *comparison) scene(kind, name string) scene {
	var s scene
	var connections []*apiv1.VPNConnection
	for _, set := range []*apiv1.Set{c.old, c.new} {
		switch kind {
		case apiv1.KindVPNTunnel:
			s.tunnel = set.Tunnels[name]
			connections = append(connections, set.Connections[s.tunnel.GetSpec().GetConnection()])
		case apiv1.KindCustomerGateway:
			connections = append(connections, set.ConnectionsOfCustomer(name)...)
		}
	}
	s.bgp = slices.ContainsFunc(connections, func(x *apiv1.VPNConnection) bool { return x.GetSpec().GetRouting() == apiv1.RoutingBGP })
	return s
}

// down says that a tunnel carries nothing now.
func (c *comparison) down(tunnel string) bool {
	return c.old.Tunnels[tunnel].GetSpec().GetAdminState() == apiv1.AdminStateDown || c.scope.Down(tunnel)
}

// families is the change of the address families that a gateway carries on a host: traffic selectors and sessions depend on them.
func (c *comparison) families(kind, name string) []*apiv1.FieldChange {
	if kind != apiv1.KindBorderGateway {
		return nil
	}
	was, is := c.familiesByHost(c.old, name), c.familiesByHost(c.new, name)
	for _, host := range apiv1.Names(was) {
		old, new := was[host], is[host]
		if old == new || new == "" {
			continue
		}
		out := &apiv1.FieldChange{Field: "address families in use", Old: old, New: new, Impact: apiv1.ImpactRekey,
			Message: "traffic selectors of all tunnels change"}
		if slices.ContainsFunc(c.old.ConnectionsOf(name), func(x *apiv1.VPNConnection) bool { return x.GetSpec().GetRouting() == apiv1.RoutingBGP }) {
			out.Impact, out.Message = apiv1.ImpactConnection, out.Message+"; all BGP sessions start anew"
		}
		return []*apiv1.FieldChange{out}
	}
	return nil
}

// familiesByHost are the families in use on each host with a tunnel of the gateway.
func (c *comparison) familiesByHost(set *apiv1.Set, gateway string) map[string]string {
	tunnels := map[string][]*apiv1.VPNTunnel{}
	for _, t := range set.TunnelsOfGateway(gateway) {
		if host := c.host(t); host != "" {
			tunnels[host] = append(tunnels[host], t)
		}
	}
	out := map[string]string{}
	for host, of := range tunnels {
		switch v4, v6 := apiv1.Families(set.BorderGateways[gateway], of); {
		case v4 && v6:
			out[host] = "IPv4 and IPv6"
		case v6:
			out[host] = "IPv6"
		default:
			out[host] = "IPv4"
		}
	}
	return out
}

// host returns the name of a tunnel's host; empty when it is of no concern.
func (c *comparison) host(t *apiv1.VPNTunnel) string {
	addr, err := netip.ParseAddr(t.GetSpec().GetCloudAddress())
	if err != nil {
		return ""
	}
	return c.scope.Host(addr)
}

// touched are the tunnels of the hosts in scope, up by their manifests, that belong to an object.
func (c *comparison) touched(kind, name string) []string {
	var of []*apiv1.VPNTunnel
	switch kind {
	case apiv1.KindVPNTunnel:
		of = []*apiv1.VPNTunnel{c.old.Tunnels[name]}
	case apiv1.KindVPNConnection:
		of = c.old.TunnelsOf(name)
	case apiv1.KindCustomerGateway:
		for _, x := range c.old.ConnectionsOfCustomer(name) {
			of = append(of, c.old.TunnelsOf(x.GetName())...)
		}
	case apiv1.KindBorderGateway:
		of = c.old.TunnelsOfGateway(name)
	}
	var out []string
	for _, t := range of {
		if c.host(t) != "" && !c.down(t.GetName()) {
			out = append(out, t.GetName())
		}
	}
	slices.Sort(out)
	return out
}
