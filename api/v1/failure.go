package apiv1

import (
	"fmt"
	"slices"
	"strings"
)

// failure is one thing that may break, with the tunnels that break with it.
type failure struct {
	what string
	hits func(*VPNTunnel) bool
}

// oneMoreFailure says which single failures the connection would not survive: the loss of a host (or of a cloud address, as long as
// its host is not known), of a customer address, of a tunnel.
func (e *evaluation) oneMoreFailure() []string {
	if len(e.up) == 0 {
		return []string{"No tunnel is up: the connection carries nothing already."}
	}
	var out []string
	for _, f := range e.failures() {
		left := slices.DeleteFunc(slices.Clone(e.up), f.hits)
		switch {
		case len(left) == len(e.up):
		case len(left) == 0:
			out = append(out, fmt.Sprintf("Losing %s would leave no tunnel up.", f.what))
		case e.bgp && slices.ContainsFunc(e.up, established) && !slices.ContainsFunc(left, established):
			out = append(out, fmt.Sprintf("Losing %s would leave no BGP session established.", f.what))
		}
	}
	return out
}

func (e *evaluation) failures() []failure {
	var out []failure
	var hosts []string
	for _, cloud := range e.cloud {
		host := e.hostOf(cloud)
		if host == "" {
			out = append(out, failure{"cloud address " + cloud, func(t *VPNTunnel) bool { return t.GetSpec().GetCloudAddress() == cloud }})
			continue
		}
		if slices.Contains(hosts, host) {
			continue
		}
		hosts = append(hosts, host)
		var addresses []string
		for _, a := range e.cloud {
			if e.hostOf(a) == host {
				addresses = append(addresses, a)
			}
		}
		out = append(out, failure{
			fmt.Sprintf("host %s (cloud address %s)", host, strings.Join(addresses, ", ")),
			func(t *VPNTunnel) bool { return slices.Contains(addresses, t.GetSpec().GetCloudAddress()) },
		})
	}
	for _, customer := range customers(e.tunnels) {
		out = append(out, failure{"customer address " + customer, func(t *VPNTunnel) bool { return t.GetSpec().GetCustomerAddress() == customer }})
	}
	for _, tunnel := range e.tunnels {
		out = append(out, failure{"tunnel " + tunnel.GetName(), func(t *VPNTunnel) bool { return t == tunnel }})
	}
	return out
}

// hostOf returns the host that reported a cloud address' tunnels, if one did.
func (e *evaluation) hostOf(cloud string) string {
	for _, t := range e.tunnels {
		if t.GetSpec().GetCloudAddress() == cloud && t.GetStatus().GetHost() != "" {
			return t.GetStatus().GetHost()
		}
	}
	return ""
}
