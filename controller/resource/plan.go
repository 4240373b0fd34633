package resource

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/api/impact"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// Plan tells what an Apply of the objects would change and what each change would do on the hosts, and writes nothing. The error is the one
// that Apply would return.
func (s *Service) Plan(ctx context.Context, objects []model.Object) (changes []*apiv1.PlannedChange, warnings []*apiv1.Finding, err error) {
	reserve := &reservation{service: s}
	defer reserve.release()
	err = s.Store.Try(ctx, func(tx *store.Tx) error {
		c := s.newChange(tx, timestamppb.New(s.Now()), reserve)
		if err := c.apply(objects); err != nil {
			return err
		}
		var err error
		if warnings, err = c.check(); err != nil {
			return err
		}
		changes, err = c.impacts()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return changes, warnings, nil
}

// impacts says what the staged changes may do on all hosts.
func (c *change) impacts() ([]*apiv1.PlannedChange, error) {
	a := &around{change: c, old: apiv1.NewSet(), new: apiv1.NewSet(), seen: map[store.Ref]bool{}}
	for _, st := range c.steps {
		a.visit(st.ref)
		for _, v := range []*apiv1.Stored{st.before, st.after} {
			for _, gateway := range c.gatewaysOf(v) {
				a.wholeGateway(gateway)
			}
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	out := impact.Changes(a.old, a.new, impact.Scope{Host: c.hostOrAddress, Down: func(name string) bool { return c.locallyDown(a.old.Tunnels[name]) }})
	for _, st := range c.steps {
		out = c.besideSpec(st, out)
	}
	return out, nil
}

// gatewaysOf returns the BorderGateways whose tunnels a resource may touch.
func (c *change) gatewaysOf(v *apiv1.Stored) []string {
	switch o := model.Unwrap(v.GetResource()).(type) {
	case *apiv1.BorderGateway:
		return []string{o.GetName()}
	case *apiv1.VPNConnection:
		return []string{o.GetSpec().GetBorderGateway()}
	case *apiv1.VPNTunnel:
		return []string{v.GetBorderGateway()}
	case *apiv1.CustomerGateway:
		var out []string
		for _, r := range c.tx.Find(model.ConnectionsOfCustomer(o.GetName())) {
			if conn, ok := model.Stored(r).(*apiv1.VPNConnection); ok {
				out = append(out, conn.GetSpec().GetBorderGateway())
			}
		}
		return out
	}
	return nil
}

// wholeGateway visits a BorderGateway with all that it serves.
func (a *around) wholeGateway(name string) {
	a.visit(store.Ref{Kind: apiv1.KindBorderGateway, Name: name})
	for _, r := range a.members(model.ConnectionsOf(name)) {
		if conn, ok := model.Stored(r).(*apiv1.VPNConnection); ok {
			a.parents(conn)
		}
	}
	a.members(model.TunnelsOfGateway(name))
}

// hostOrAddress lets tunnels on an address that no host has yet count as those of a host of their own.
func (c *change) hostOrAddress(cloud netip.Addr) string {
	return cmp.Or(c.hostName(cloud), cloud.String())
}

// locallyDown says that a tunnel was taken down on its host, as the host reports.
func (c *change) locallyDown(t *apiv1.VPNTunnel) bool {
	return t != nil && apiv1.LocallyDown(fleet.TunnelStatus(c.tx.Peek(), t).GetLocal())
}

// besideSpec adds what no agent acts on: display names, and GatewayHosts as a whole.
func (c *change) besideSpec(st step, changes []*apiv1.PlannedChange) []*apiv1.PlannedChange {
	before, after := model.Unwrap(st.before.GetResource()), model.Unwrap(st.after.GetResource())
	object := apiv1.ObjectName(st.ref.Kind, st.ref.Name)
	var fields []*apiv1.FieldChange
	if host, ok := after.(*apiv1.GatewayHost); ok {
		was, _ := before.(*apiv1.GatewayHost)
		if st.before == nil {
			return append(changes, &apiv1.PlannedChange{Object: object, Action: apiv1.PlanAdded, Impact: apiv1.ImpactNone})
		}
		fields = impact.Harmless(was.GetSpec(), host.GetSpec())
	}
	if st.before != nil && before.GetMetadata().GetDisplayName() != after.GetMetadata().GetDisplayName() {
		fields = append(fields, &apiv1.FieldChange{Field: "metadata.displayName", Old: before.GetMetadata().GetDisplayName(),
			New: after.GetMetadata().GetDisplayName(), Impact: apiv1.ImpactNone})
	}
	if len(fields) == 0 {
		return changes
	}
	i := slices.IndexFunc(changes, func(p *apiv1.PlannedChange) bool { return p.GetObject() == object })
	if i < 0 {
		i, changes = len(changes), append(changes, &apiv1.PlannedChange{Object: object, Action: apiv1.PlanChanged, Impact: apiv1.ImpactNone})
	}
	changes[i].Fields = append(changes[i].Fields, fields...)
	return changes
}
