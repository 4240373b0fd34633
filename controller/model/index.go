package model

import (
	"net/netip"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/allocate"
	"github.com/bordergw/bordergw/controller/store"
)

func own(set string) store.Index { return store.Index{Set: set, Guard: set} }

// What belongs to one BorderGateway has one guard: writes for different tenants never collide.
func ofGateway(set, gateway string) store.Index {
	return store.Index{Set: set, Guard: "gateway/" + gateway}
}

// AllOf is all resources of a kind that has a quota: BorderGateways and CustomerGateways.
func AllOf(kind string) store.Index { return own("kind/" + kind) }

// ConnectionsOf is the connections of a BorderGateway.
func ConnectionsOf(gateway string) store.Index { return ofGateway("connections/"+gateway, gateway) }

// ConnectionsOfCustomer is the connections of a CustomerGateway.
func ConnectionsOfCustomer(customer string) store.Index { return own("customer/" + customer) }

// TunnelsOf is the tunnels of a connection of a BorderGateway.
func TunnelsOf(gateway, connection string) store.Index {
	return ofGateway("tunnels/"+connection, gateway)
}

// TunnelsOfGateway is the tunnels of all connections of a BorderGateway.
func TunnelsOfGateway(gateway string) store.Index { return ofGateway("served/"+gateway, gateway) }

// Serving is the tunnels of a BorderGateway on one cloud address.
func Serving(gateway, cloud string) store.Index {
	return ofGateway("serving/"+gateway+"/"+cloud, gateway)
}

// Inside is the tunnels of a BorderGateway whose inside prefix has a half.
func Inside(gateway string, h allocate.Half) store.Index {
	return ofGateway("inside/"+gateway+"/"+h.String(), gateway)
}

// Remote is the tunnels on a cloud address with a remote identity.
func Remote(cloud, remoteID string) store.Index {
	return own("remote/" + cloud + "/" + apiv1.CanonicalID(remoteID))
}

// Outer is the tunnels between two addresses.
func Outer(cloud, customer string) store.Index { return own("outer/" + cloud + "/" + customer) }

// TunnelsOn is the tunnels on a cloud address.
func TunnelsOn(cloud string) store.Index {
	return store.Index{Set: "address/" + cloud, Guard: "address/" + cloud}
}

// ConnectionsOn is the connections that have a cloud address.
func ConnectionsOn(cloud string) store.Index {
	return store.Index{Set: "cloud/" + cloud, Guard: "address/" + cloud}
}

// HostOf is the host that owns a cloud address: one at most.
func HostOf(cloud string) store.Index { return own("host/" + cloud) }

// DevicesOn is the claims of host interfaces on a cloud address.
func DevicesOn(cloud string) store.Index { return own("device/" + cloud) }

// DeviceClaim is who has taken a host's interface, as seen from one of the host's cloud addresses.
func DeviceClaim(cloud, device string) store.Ref {
	return store.Ref{Kind: KindClaim, Name: "device/" + cloud + "/" + device}
}

// Indexes is the store.IndexFunc of all kinds.
func Indexes(ref store.Ref, v *apiv1.Stored) []store.Index {
	switch o := Unwrap(v.GetResource()).(type) {
	case *apiv1.BorderGateway, *apiv1.CustomerGateway:
		return []store.Index{AllOf(ref.Kind)}
	case *apiv1.VPNConnection:
		out := []store.Index{ConnectionsOf(o.GetSpec().GetBorderGateway()), ConnectionsOfCustomer(o.GetSpec().GetCustomerGateway())}
		for _, a := range o.GetSpec().GetCloudAddresses() {
			out = append(out, ConnectionsOn(a))
		}
		return out
	case *apiv1.VPNTunnel:
		return tunnelIndexes(v.GetBorderGateway(), o.GetSpec())
	case *apiv1.GatewayHost:
		var out []store.Index
		for _, a := range o.GetSpec().GetAddresses() {
			out = append(out, HostOf(a))
		}
		return out
	}
	if v.GetClaim().GetCloudAddress() != "" {
		return []store.Index{DevicesOn(v.GetClaim().GetCloudAddress())}
	}
	return nil
}

func tunnelIndexes(gateway string, spec *apiv1.VPNTunnelSpec) []store.Index {
	cloud := spec.GetCloudAddress()
	out := []store.Index{
		TunnelsOf(gateway, spec.GetConnection()), TunnelsOfGateway(gateway), Serving(gateway, cloud),
		Remote(cloud, spec.GetRemoteId()), Outer(cloud, spec.GetCustomerAddress()), TunnelsOn(cloud),
	}
	for _, h := range InsideHalves(spec) {
		out = append(out, Inside(gateway, h))
	}
	return out
}

// InsideHalves returns the halves of a tunnel's inside prefix.
func InsideHalves(spec *apiv1.VPNTunnelSpec) []allocate.Half {
	p, err := netip.ParsePrefix(spec.GetInside().GetCloud())
	if err != nil {
		return nil
	}
	return allocate.Halves(p)
}
