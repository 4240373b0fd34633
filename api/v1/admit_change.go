package apiv1

import (
	"slices"
	"strings"
)

// AdmitChange checks what may not happen between two admitted Sets. A change counts as made in order: tunnels are deleted, then
// connections, then gateways are deleted and changed, then everything is created; a deletion that this order allows is allowed
// in one step. A nil old Set allows everything.
func AdmitChange(old, new *Set) []*Finding {
	if old == nil {
		return nil
	}
	c := &changeChecker{checker: checker{set: new}, old: old}
	for _, name := range Names(old.BorderGateways) {
		if _, kept := new.BorderGateways[name]; !kept {
			c.unused(KindBorderGateway, name, append(old.ConnectionsOf(name), new.ConnectionsOf(name)...))
		}
	}
	for _, name := range Names(old.CustomerGateways) {
		if kept, ok := new.CustomerGateways[name]; ok {
			c.addressesChange(name, old.CustomerGateways[name], kept)
		} else {
			c.unused(KindCustomerGateway, name, append(old.ConnectionsOfCustomer(name), new.ConnectionsOfCustomer(name)...))
		}
	}
	for _, name := range Names(old.Connections) {
		c.connectionChange(name)
	}
	for _, name := range Names(old.Tunnels) {
		c.tunnelChange(name)
	}
	return c.out
}

type changeChecker struct {
	checker
	old *Set
}

// unused: a gateway goes only when no connection of the new Set had or has it.
func (c *changeChecker) unused(kind, name string, users []*VPNConnection) {
	var names []string
	for _, conn := range users {
		if _, stays := c.set.Connections[conn.GetName()]; stays && !slices.Contains(names, conn.GetName()) {
			names = append(names, conn.GetName())
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		c.at(kind, name).fail("", "cannot be deleted while VPNConnection %s uses it", strings.Join(names, ", "))
	}
}

// addressesChange: the addresses are a set; their order means nothing to tunnels that exist.
func (c *changeChecker) addressesChange(name string, old, new *CustomerGateway) {
	before, after := slices.Clone(old.GetSpec().GetAddresses()), slices.Clone(new.GetSpec().GetAddresses())
	slices.Sort(before)
	slices.Sort(after)
	if slices.Equal(before, after) {
		return
	}
	var tunnels []string
	for _, conn := range c.old.ConnectionsOfCustomer(name) {
		tunnels = append(tunnels, c.surviving(conn.GetName())...)
	}
	if len(tunnels) > 0 {
		c.at(KindCustomerGateway, name).fail("spec.addresses", "can change only while there is no tunnel; there is %s", strings.Join(tunnels, ", "))
	}
}

func (c *changeChecker) connectionChange(name string) {
	s, old := c.at(KindVPNConnection, name), c.old.Connections[name]
	new, kept := c.set.Connections[name]
	if !kept {
		if tunnels := c.notDown(name); len(tunnels) > 0 {
			s.fail("", "cannot be deleted while it has tunnels; it has %s", strings.Join(tunnels, ", "))
		}
		return
	}
	tunnels := c.surviving(name)
	if len(tunnels) == 0 {
		return
	}
	if a, b := old.GetSpec().GetBorderGateway(), new.GetSpec().GetBorderGateway(); a != b {
		s.fail("spec.borderGateway", "can change from %q to %q only while there is no tunnel; there is %s", a, b, strings.Join(tunnels, ", "))
	}
	if a, b := old.GetSpec().GetCustomerGateway(), new.GetSpec().GetCustomerGateway(); a != b {
		s.fail("spec.customerGateway", "can change from %q to %q only while there is no tunnel; there is %s", a, b, strings.Join(tunnels, ", "))
	}
}

// tunnelChange: a tunnel is deleted only when it was DOWN, and what makes it this tunnel changes only then, too.
func (c *changeChecker) tunnelChange(name string) {
	s, old := c.at(KindVPNTunnel, name), c.old.Tunnels[name].GetSpec()
	if old.GetAdminState() == AdminStateDown {
		return
	}
	t, kept := c.set.Tunnels[name]
	if !kept {
		s.fail("", "can be deleted only when its adminState is DOWN: set that first")
		return
	}
	new := t.GetSpec()
	for _, f := range []struct{ field, before, after string }{
		{"spec.connection", old.GetConnection(), new.GetConnection()},
		{"spec.cloudAddress", old.GetCloudAddress(), new.GetCloudAddress()},
		{"spec.customerAddress", old.GetCustomerAddress(), new.GetCustomerAddress()},
	} {
		if f.before != f.after {
			s.fail(f.field, "can change from %s to %s only when adminState is DOWN: set that first", f.before, f.after)
		}
	}
}

// surviving returns the tunnels of a connection that the new Set has, too.
func (c *changeChecker) surviving(connection string) []string {
	var out []string
	for _, t := range c.old.TunnelsOf(connection) {
		if _, kept := c.set.Tunnels[t.GetName()]; kept {
			out = append(out, t.GetName())
		}
	}
	return out
}

// notDown returns the tunnels of a connection that may not go.
func (c *changeChecker) notDown(connection string) []string {
	var out []string
	for _, t := range c.old.TunnelsOf(connection) {
		if t.GetSpec().GetAdminState() != AdminStateDown {
			out = append(out, t.GetName())
		}
	}
	return out
}
