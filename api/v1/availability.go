package apiv1

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Evaluate computes the availability of a connection from its tunnels, each with the status its host last reported; a tunnel
// without status (its host is silent) counts as DOWN. The verdict is HIGHLY_AVAILABLE exactly when the CustomerGateway has at
// least two addresses, both cloud addresses have tunnels, these lead to different customer addresses, and each cloud address has
// a tunnel UP. Reasons come in the order of values.go with one message each. Since is left to the caller: KeepSince.
func Evaluate(conn *VPNConnection, customer *CustomerGateway, tunnels []*VPNTunnel) *VPNConnectionStatus {
	e := newEvaluation(conn, customer, tunnels)
	out := &VPNConnectionStatus{Availability: HighlyAvailable, Tunnels: uint32(len(e.tunnels)), TunnelsUp: uint32(len(e.up))}
	add := func(decides bool, reason, format string, args ...any) {
		if decides {
			out.Availability = NotHighlyAvailable
		}
		out.Reasons = append(out.Reasons, reason)
		out.Messages = append(out.Messages, fmt.Sprintf(format, args...))
	}

	if n := len(customer.GetSpec().GetAddresses()); n < 2 {
		add(true, AvailabilitySingleCustomerAddress, "CustomerGateway %s has fewer than two addresses.", customer.GetName())
	}
	without := e.cloudWithout(e.tunnels)
	switch {
	case len(e.cloud) < 2:
		add(true, AvailabilityCloudAddressWithoutTunnel, "The connection has only one cloud address.")
	case len(without) > 0:
		add(true, AvailabilityCloudAddressWithoutTunnel, "No tunnel begins at cloud address %s.", strings.Join(without, " or "))
	}
	same := len(e.cloud) >= 2 && len(without) == 0 && len(customers(e.tunnels)) == 1
	if same {
		add(true, AvailabilitySameCustomerAddress, "The tunnels of both cloud addresses lead to customer address %s.", customers(e.tunnels)[0])
	}
	down := slices.DeleteFunc(e.cloudWithout(e.up), func(cloud string) bool { return slices.Contains(without, cloud) })
	if len(down) > 0 {
		add(true, AvailabilityNoTunnelUp, "No tunnel is up at cloud address %s.", strings.Join(down, " and "))
	}

	if !same && len(e.cloud) >= 2 && len(e.cloudWithout(e.up)) == 0 && len(customers(e.up)) == 1 {
		add(false, AvailabilityUpTunnelsShareCustomer, "All tunnels that are up lead to customer address %s.", customers(e.up)[0])
	}
	if e.bgp {
		if silent := namesOf(slices.DeleteFunc(slices.Clone(e.up), established)); len(silent) > 0 {
			add(false, AvailabilityBGPNotEstablished, "BGP is not established on %s.", strings.Join(silent, ", "))
		}
	}
	if draining := namesOf(slices.DeleteFunc(slices.Clone(e.tunnels), func(t *VPNTunnel) bool { return !isDraining(t) })); len(draining) > 0 {
		add(false, AvailabilityDraining, "Traffic is being moved away from %s.", strings.Join(draining, ", "))
	}
	if hosts := e.silentHosts(); len(hosts) > 0 {
		add(false, AvailabilityHostSilent, "Host %s does not report; its tunnels count as DOWN.", strings.Join(hosts, ", "))
	}
	out.OneMoreFailure = e.oneMoreFailure()
	return out
}

// KeepSince sets when the verdict and the reasons became what they are: prev's time if they are the same, else now. prev may be nil.
func KeepSince(prev, next *VPNConnectionStatus, now time.Time) {
	if prev.GetSince() != nil && prev.GetAvailability() == next.GetAvailability() && slices.Equal(prev.GetReasons(), next.GetReasons()) {
		next.Since = prev.GetSince()
		return
	}
	next.Since = timestamppb.New(now)
}

type evaluation struct {
	cloud   []string
	bgp     bool
	tunnels []*VPNTunnel // sorted by name
	up      []*VPNTunnel
}

func newEvaluation(conn *VPNConnection, customer *CustomerGateway, tunnels []*VPNTunnel) *evaluation {
	e := &evaluation{
		cloud: conn.GetSpec().GetCloudAddresses(), bgp: conn.GetSpec().GetRouting() == RoutingBGP, tunnels: slices.Clone(tunnels),
	}
	slices.SortFunc(e.tunnels, func(a, b *VPNTunnel) int { return strings.Compare(a.GetName(), b.GetName()) })
	for _, t := range e.tunnels {
		if t.GetStatus().GetRunning() == RunningUp {
			e.up = append(e.up, t)
		}
	}
	return e
}

// cloudWithout returns the cloud addresses at which none of the tunnels begins.
func (e *evaluation) cloudWithout(tunnels []*VPNTunnel) []string {
	return slices.DeleteFunc(slices.Clone(e.cloud), func(cloud string) bool {
		return slices.ContainsFunc(tunnels, func(t *VPNTunnel) bool { return t.GetSpec().GetCloudAddress() == cloud })
	})
}

// customers returns the customer addresses that tunnels lead to, each once.
func customers(tunnels []*VPNTunnel) []string {
	var out []string
	for _, t := range tunnels {
		if a := t.GetSpec().GetCustomerAddress(); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func namesOf(tunnels []*VPNTunnel) []string {
	var out []string
	for _, t := range tunnels {
		out = append(out, t.GetName())
	}
	return out
}

// silentHosts returns the hosts that are known not to report, each once.
func (e *evaluation) silentHosts() []string {
	var out []string
	for _, t := range e.tunnels {
		st := t.GetStatus()
		if st.GetReason() == ReasonHostSilent && st.GetHost() != "" && !slices.Contains(out, st.GetHost()) {
			out = append(out, st.GetHost())
		}
	}
	return out
}

func established(t *VPNTunnel) bool { return t.GetStatus().GetBgp() == BGPEstablished }

func isDraining(t *VPNTunnel) bool {
	return slices.ContainsFunc(t.GetStatus().GetConditions(), func(c *Condition) bool { return c.GetType() == ConditionDraining })
}
