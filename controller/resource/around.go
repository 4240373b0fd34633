package resource

import (
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// around collects what the rules need to see of a change: the written resources, what they refer to, and whatever could be in conflict
// with them. The cost of a write depends on these only, not on how much there is.
type around struct {
	*change
	old, new *apiv1.Set
	seen     map[store.Ref]bool
	err      error
}

func (c *change) around() (old, new *apiv1.Set, err error) {
	a := &around{change: c, old: apiv1.NewSet(), new: apiv1.NewSet(), seen: map[store.Ref]bool{}}
	for _, st := range c.steps {
		if st.action == Unchanged {
			continue
		}
		a.visit(st.ref)
		for _, v := range []*apiv1.Stored{st.before, st.after} {
			if v != nil {
				a.expand(st, v)
			}
		}
	}
	return a.old, a.new, a.err
}

// visit takes one resource into both Sets, as it was and as it will be.
func (a *around) visit(ref store.Ref) {
	if a.seen[ref] {
		return
	}
	a.seen[ref] = true
	a.add(a.new, a.tx.Get(ref))
	a.add(a.old, a.tx.Before().Get(ref))
}

func (a *around) visitAll(records []*store.Record) {
	for _, r := range records {
		a.visit(r.Ref)
	}
}

// members visits the members of an index, as it was and as it will be.
func (a *around) members(i store.Index) []*store.Record {
	now := a.tx.Find(i)
	a.visitAll(now)
	a.visitAll(a.tx.Before().Find(i))
	return now
}

func (a *around) add(set *apiv1.Set, r *store.Record) {
	if r == nil || a.err != nil {
		return
	}
	switch o := model.Stored(r).(type) {
	case *apiv1.BorderGateway:
		set.BorderGateways[r.Name] = o
		for _, at := range o.GetSpec().GetAttachments() {
			if s, err := a.Secret(r, model.PeerPassword(at.GetName())); err != nil {
				a.err = err
			} else if s.IsSet() {
				set.SetPeerPassword(r.Name, at.GetName(), s)
			}
		}
	case *apiv1.CustomerGateway:
		set.CustomerGateways[r.Name] = o
	case *apiv1.VPNConnection:
		set.Connections[r.Name] = o
	case *apiv1.VPNTunnel:
		set.Tunnels[r.Name] = o
		if s, err := a.Secret(r, model.PSK); err != nil {
			a.err = err
		} else if s.IsSet() {
			set.SetPSK(r.Name, s)
		}
		if s, err := a.Secret(r, model.BGPPassword); err != nil {
			a.err = err
		} else if s.IsSet() {
			set.SetBGPPassword(r.Name, s)
		}
	}
}

func (a *around) expand(st step, v *apiv1.Stored) {
	switch o := model.Unwrap(v.GetResource()).(type) {
	case *apiv1.BorderGateway:
		a.borderGateway(st, o)
	case *apiv1.CustomerGateway:
		a.customerGateway(st, o)
	case *apiv1.VPNConnection:
		a.parents(o)
		a.members(model.TunnelsOf(o.GetSpec().GetBorderGateway(), o.GetName()))
	case *apiv1.VPNTunnel:
		a.tunnel(o, v.GetBorderGateway())
	case *apiv1.GatewayHost:
		for _, addr := range o.GetSpec().GetAddresses() {
			if st.before == nil || st.after == nil || !sameAddresses(st) {
				a.members(model.TunnelsOn(addr))
			}
		}
	}
}

func (a *around) parents(conn *apiv1.VPNConnection) {
	a.visit(store.Ref{Kind: apiv1.KindBorderGateway, Name: conn.GetSpec().GetBorderGateway()})
	a.visit(store.Ref{Kind: apiv1.KindCustomerGateway, Name: conn.GetSpec().GetCustomerGateway()})
}

func (a *around) borderGateway(st step, g *apiv1.BorderGateway) {
	for _, r := range g.GetSpec().GetStaticRoutes() {
		if r.GetConnection() != "" {
			a.visit(store.Ref{Kind: apiv1.KindVPNConnection, Name: r.GetConnection()})
		}
	}
	before, _ := model.Unwrap(st.before.GetResource()).(*apiv1.BorderGateway)
	after, _ := model.Unwrap(st.after.GetResource()).(*apiv1.BorderGateway)
	switch {
	case before == nil:
	case after == nil:
		a.members(model.ConnectionsOf(g.GetName()))
	case before.GetSpec().GetAsn() != after.GetSpec().GetAsn():
		for _, r := range a.members(model.ConnectionsOf(g.GetName())) {
			if conn, ok := model.Stored(r).(*apiv1.VPNConnection); ok {
				a.parents(conn)
			}
		}
	}
}

func (a *around) customerGateway(st step, g *apiv1.CustomerGateway) {
	if st.before == nil {
		return
	}
	for _, r := range a.members(model.ConnectionsOfCustomer(g.GetName())) {
		if conn, ok := model.Stored(r).(*apiv1.VPNConnection); ok {
			a.parents(conn)
			a.members(model.TunnelsOf(conn.GetSpec().GetBorderGateway(), conn.GetName()))
		}
	}
}

// tunnel visits what the tunnel may collide with, and the connections of these: they tell which gateway they belong to.
func (a *around) tunnel(t *apiv1.VPNTunnel, gateway string) {
	spec := t.GetSpec()
	ref := store.Ref{Kind: apiv1.KindVPNConnection, Name: spec.GetConnection()}
	a.visit(ref)
	if conn, ok := model.Stored(a.tx.Get(ref)).(*apiv1.VPNConnection); ok {
		a.parents(conn)
	}
	near := a.members(model.TunnelsOf(gateway, spec.GetConnection()))
	for _, h := range model.InsideHalves(spec) {
		near = append(near, a.members(model.Inside(gateway, h))...)
	}
	near = append(near, a.members(model.Outer(spec.GetCloudAddress(), spec.GetCustomerAddress()))...)
	for _, addr := range a.addressesOfHost(spec.GetCloudAddress()) {
		near = append(near, a.members(model.Remote(addr, spec.GetRemoteId()))...)
	}
	for _, r := range near {
		if other, ok := model.Stored(r).(*apiv1.VPNTunnel); ok {
			a.visit(store.Ref{Kind: apiv1.KindVPNConnection, Name: other.GetSpec().GetConnection()})
		}
	}
}

// addressesOfHost returns all addresses of the host that has one; the address alone when no host has it.
func (c *change) addressesOfHost(cloud string) []string {
	for _, r := range c.tx.Find(model.HostOf(cloud)) {
		if host, ok := model.Stored(r).(*apiv1.GatewayHost); ok {
			return host.GetSpec().GetAddresses()
		}
	}
	return []string{cloud}
}

func recordNames(records []*store.Record) string {
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.Name
	}
	return strings.Join(names, ", ")
}
