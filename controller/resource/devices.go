package resource

import (
	"fmt"
	"slices"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// devices keeps that a host's interface is taken by one BorderGateway only: a device can be in one VRF. Which gateways a host serves
// follows from tunnels, which interfaces they take from the gateways; so each gateway claims its interfaces on every cloud address where
// it has a tunnel, and gives them back with the last one.
func (c *change) devices(v *verdict) {
	touched := map[string]map[string]bool{} // gateway -> cloud addresses
	touch := func(gateway string, clouds ...string) {
		if touched[gateway] == nil {
			touched[gateway] = map[string]bool{}
		}
		for _, cloud := range clouds {
			touched[gateway][cloud] = true
		}
	}
	for _, st := range c.steps {
		for _, s := range []*apiv1.Stored{st.before, st.after} {
			switch o := model.Unwrap(s.GetResource()).(type) {
			case *apiv1.VPNTunnel:
				touch(s.GetBorderGateway(), o.GetSpec().GetCloudAddress())
			case *apiv1.BorderGateway:
				if !slices.Equal(interfaces(st.before), interfaces(st.after)) {
					touch(o.GetName(), c.served(o.GetName())...)
				}
			case *apiv1.GatewayHost:
				if !sameAddresses(st) {
					c.claimants(o, touch)
				}
			}
		}
	}
	// What is given back first may be taken by another gateway in the same transaction.
	for _, act := range []func(*verdict, string, string){c.unclaim, c.claim} {
		for _, gateway := range sortedKeys(touched) {
			for _, cloud := range sortedKeys(touched[gateway]) {
				act(v, gateway, cloud)
			}
		}
	}
}

// served returns the cloud addresses where a gateway has or had tunnels.
func (c *change) served(gateway string) []string {
	var out []string
	for _, list := range [][]*store.Record{c.tx.Find(model.TunnelsOfGateway(gateway)), c.tx.Before().Find(model.TunnelsOfGateway(gateway))} {
		for _, r := range list {
			if t, ok := model.Stored(r).(*apiv1.VPNTunnel); ok {
				out = append(out, t.GetSpec().GetCloudAddress())
			}
		}
	}
	return out
}

// claimants touches the gateways that have claims on a host's addresses: with the addresses of another host they may now collide.
func (c *change) claimants(host *apiv1.GatewayHost, touch func(string, ...string)) {
	for _, cloud := range host.GetSpec().GetAddresses() {
		for _, r := range c.tx.Find(model.DevicesOn(cloud)) {
			touch(r.Value.GetClaim().GetOwner(), cloud)
		}
	}
}

// unclaim gives back what a gateway no longer takes on one cloud address.
func (c *change) unclaim(_ *verdict, gateway, cloud string) {
	want := claimed(c.tx, gateway, cloud)
	for _, device := range claimed(c.tx.Before(), gateway, cloud) {
		if !slices.Contains(want, device) {
			c.tx.Delete(model.DeviceClaim(cloud, device))
		}
	}
}

// claim takes what a gateway needs on one cloud address.
func (c *change) claim(v *verdict, gateway, cloud string) {
	ref := store.Ref{Kind: apiv1.KindBorderGateway, Name: gateway}
	had := claimed(c.tx.Before(), gateway, cloud)
	for i, device := range claimed(c.tx, gateway, cloud) {
		for _, other := range c.addressesOfHost(cloud) {
			if r := c.tx.Get(model.DeviceClaim(other, device)); r != nil && r.Value.GetClaim().GetOwner() != gateway {
				v.add(model.ErrPrecondition, model.Refuse(model.ErrPrecondition, ref, fmt.Sprintf("spec.attachments[%d].interface", i),
					"%s is already taken by BorderGateway %q on the same host", device, r.Value.GetClaim().GetOwner()).Findings...)
			}
		}
		if !slices.Contains(had, device) {
			c.tx.Put(model.DeviceClaim(cloud, device), &apiv1.Stored{Claim: &apiv1.Claim{Owner: gateway, CloudAddress: cloud}})
		}
	}
}

// claimed returns the interfaces that a gateway needs on a cloud address.
func claimed(r store.Reader, gateway, cloud string) []string {
	if r.Count(model.Serving(gateway, cloud)) == 0 {
		return nil
	}
	return devicesOf(model.Stored(r.Get(store.Ref{Kind: apiv1.KindBorderGateway, Name: gateway})))
}

// devicesOf returns the interfaces of a gateway's attachments, by their place.
func devicesOf(o model.Object) []string {
	g, ok := o.(*apiv1.BorderGateway)
	if !ok {
		return nil
	}
	var out []string
	for _, a := range g.GetSpec().GetAttachments() {
		out = append(out, a.GetInterface())
	}
	return out
}

func interfaces(v *apiv1.Stored) []string { return devicesOf(model.Unwrap(v.GetResource())) }

func sortedKeys[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
