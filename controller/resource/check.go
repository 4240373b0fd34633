package resource

import (
	"fmt"
	"net/netip"
	"slices"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// place is where a finding is.
type place struct{ object, field string }

func placeOf(f *apiv1.Finding) place { return place{f.GetObject(), f.GetField()} }

// verdict collects findings: one for each place, in the order of the checks.
type verdict struct {
	sort             error
	refused, warning []*apiv1.Finding
	seen             map[place]bool
}

func (v *verdict) add(sort error, findings ...*apiv1.Finding) {
	for _, f := range findings {
		switch {
		case f.GetWarning():
			v.warning = append(v.warning, f)
		case !v.seen[placeOf(f)]:
			v.seen[placeOf(f)] = true
			v.refused = append(v.refused, f)
			if v.sort == nil {
				v.sort = sort
			}
		}
	}
}

// result returns the warnings, or a Refusal.
func (v *verdict) result() ([]*apiv1.Finding, error) {
	if len(v.refused) > 0 {
		return nil, &model.Refusal{Sort: v.sort, Findings: v.refused}
	}
	return v.warning, nil
}

// check holds every rule against what is staged. What broke a rule before and is not written now is no reason to refuse: a
// quota that was lowered must not stop everything.
func (c *change) check() ([]*apiv1.Finding, error) {
	v := &verdict{seen: map[place]bool{}}
	written := map[string]bool{}
	deleting := false
	for _, st := range c.steps {
		deleting = deleting || st.action == Deleted
		if st.action == Created || st.action == Changed {
			written[apiv1.ObjectName(st.ref.Kind, st.ref.Name)] = true
		}
	}
	v.add(c.sort, c.findings...)
	c.quotas(v)
	c.hosts(v)
	if deleting && len(v.refused) > 0 {
		return v.result() // what else is wrong follows from it
	}
	old, new, err := c.around()
	if err != nil {
		return nil, err
	}
	down := func(name string) bool { return c.locallyDown(old.Tunnels[name]) }
	v.add(model.ErrPrecondition, apiv1.AdmitChange(old.WithDown(down), new)...)
	if deleting && len(v.refused) > 0 {
		return v.result()
	}
	c.admit(v, written, old, new)
	c.devices(v)
	return v.result()
}

func (c *change) admit(v *verdict, written map[string]bool, old, new *apiv1.Set) {
	opts := apiv1.AdmitOptions{Quotas: c.Quotas, Host: c.hostName, HostMLKEM: c.hostMLKEM}
	known := map[place]string{}
	for _, f := range apiv1.Admit(old, opts) {
		known[placeOf(f)] = f.GetMessage()
	}
	for _, f := range apiv1.Admit(new, opts) {
		before, broken := known[placeOf(f)]
		switch {
		case c.unfilled[f.GetObject()]:
		case written[f.GetObject()]:
			// What has become wrong by itself (a quota, a host's charon) must not keep anybody from changing other things.
			f.Warning = f.GetWarning() || broken && before == f.GetMessage()
			v.add(model.ErrInvalid, f)
		case !broken && !f.GetWarning():
			v.add(model.ErrPrecondition, f)
		}
	}
}

// hostMLKEM is what the host of a cloud address told last of its charon. It is advice: charon may be another one tomorrow.
func (c *change) hostMLKEM(cloud netip.Addr) apiv1.Capability {
	rec := c.tx.Peek().Get(fleet.Host(c.hostName(cloud)))
	if rec == nil {
		return apiv1.CapabilityUnknown
	}
	return apiv1.ParseCapability(rec.Value.GetHost().GetCapabilities().GetMlKem())
}

// hostName needs no note: around has read the host of every address that a rule compares.
func (c *change) hostName(cloud netip.Addr) string {
	for _, r := range c.tx.Peek().Find(model.HostOf(cloud.String())) {
		return r.Name
	}
	return ""
}

// quotas are counted over everything, which admission does not see.
func (c *change) quotas(v *verdict) {
	q := apiv1.DefaultQuotas()
	for _, x := range []struct{ have, want *int }{
		{&q.BorderGateways, &c.Quotas.BorderGateways}, {&q.CustomerGateways, &c.Quotas.CustomerGateways},
		{&q.ConnectionsPerGateway, &c.Quotas.ConnectionsPerGateway},
	} {
		if *x.want > 0 {
			*x.have = *x.want
		}
	}
	for _, st := range c.steps {
		switch o := model.Unwrap(st.after.GetResource()).(type) {
		case *apiv1.BorderGateway:
			c.kindQuota(v, st, q.BorderGateways)
		case *apiv1.CustomerGateway:
			c.kindQuota(v, st, q.CustomerGateways)
		case *apiv1.VPNConnection:
			gateway := o.GetSpec().GetBorderGateway()
			was, _ := model.Unwrap(st.before.GetResource()).(*apiv1.VPNConnection)
			if was != nil && was.GetSpec().GetBorderGateway() == gateway {
				continue
			}
			if n := c.tx.Count(model.ConnectionsOf(gateway)); n > q.ConnectionsPerGateway {
				v.add(model.ErrQuota, model.Refuse(model.ErrQuota, store.Ref{Kind: apiv1.KindBorderGateway, Name: gateway}, "",
					"has too many connections: the quota is %d, there are %d", q.ConnectionsPerGateway, n).Findings...)
			}
		}
	}
}

func (c *change) kindQuota(v *verdict, st step, quota int) {
	if st.before != nil {
		return
	}
	if n := c.tx.Count(model.AllOf(st.ref.Kind)); n > quota {
		v.add(model.ErrQuota, model.Refuse(model.ErrQuota, st.ref, "",
			"is one too many: the quota is %d %ss, there are %d", quota, st.ref.Kind, n).Findings...)
	}
}

// hosts checks gateway hosts, and connections against them.
func (c *change) hosts(v *verdict) {
	for _, st := range c.steps {
		switch o := model.Unwrap(st.after.GetResource()).(type) {
		case *apiv1.GatewayHost:
			v.add(model.ErrInvalid, apiv1.AdmitGatewayHost(o)...)
			c.owned(v, o)
		case *apiv1.VPNConnection:
			if st.action != Unchanged {
				c.reachable(v, o)
			}
		}
		if was, ok := model.Unwrap(st.before.GetResource()).(*apiv1.GatewayHost); ok {
			c.abandoned(v, st, was)
		}
	}
}

// owned: an address has one host.
func (c *change) owned(v *verdict, host *apiv1.GatewayHost) {
	for i, addr := range host.GetSpec().GetAddresses() {
		for _, r := range c.tx.Find(model.HostOf(addr)) {
			if r.Name != host.GetName() {
				v.add(model.ErrInvalid, model.Refuse(model.ErrInvalid, model.RefOf(host), fmt.Sprintf("spec.addresses[%d]", i),
					"%s belongs to GatewayHost %q", addr, r.Name).Findings...)
			}
		}
	}
}

// abandoned: an address with connections must have a host.
func (c *change) abandoned(v *verdict, st step, was *apiv1.GatewayHost) {
	for _, addr := range was.GetSpec().GetAddresses() {
		if c.tx.Count(model.HostOf(addr)) > 0 {
			continue
		}
		if users := recordNames(c.tx.Find(model.ConnectionsOn(addr))); users != "" {
			field, text := "spec.addresses", "%s cannot be taken away while VPNConnection %s has it"
			if st.after == nil {
				field, text = "", "cannot be deleted: its address %s is used by VPNConnection %s"
			}
			v.add(model.ErrPrecondition, model.Refuse(model.ErrPrecondition, st.ref, field, text, addr, users).Findings...)
		}
	}
}

// reachable warns of cloud addresses that no host has yet, and of two on one host.
func (c *change) reachable(v *verdict, conn *apiv1.VPNConnection) {
	first := map[string]int{}
	for i, addr := range conn.GetSpec().GetCloudAddresses() {
		f := model.Refuse(nil, model.RefOf(conn), fmt.Sprintf("spec.cloudAddresses[%d]", i), "no GatewayHost has %s yet", addr).Findings[0]
		f.Warning = true
		hosts := c.tx.Find(model.HostOf(addr))
		if len(hosts) == 0 {
			v.add(nil, f)
			continue
		}
		if j, ok := first[hosts[0].Name]; ok {
			f.Message = fmt.Sprintf("is on GatewayHost %q like cloudAddresses[%d]: the connection does not survive the host", hosts[0].Name, j)
			v.add(nil, f)
		}
		first[hosts[0].Name] = i
	}
}

func sameAddresses(st step) bool {
	a, _ := model.Unwrap(st.before.GetResource()).(*apiv1.GatewayHost)
	b, _ := model.Unwrap(st.after.GetResource()).(*apiv1.GatewayHost)
	return slices.Equal(a.GetSpec().GetAddresses(), b.GetSpec().GetAddresses())
}
