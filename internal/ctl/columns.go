package ctl

import (
	"fmt"
	"strconv"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func tunnelColumns(now clock) []column[*apiv1.VPNTunnel] {
	type tunnel = *apiv1.VPNTunnel
	return []column[tunnel]{
		{title: "NAME", cell: tunnel.GetName},
		{title: "HOST", cell: func(t tunnel) string { return t.GetStatus().GetHost() }},
		{title: "CONNECTION", cell: func(t tunnel) string { return t.GetSpec().GetConnection() }},
		{title: "ADMIN", cell: func(t tunnel) string { return t.GetStatus().GetAdmin() }},
		{title: "RUNNING", cell: func(t tunnel) string { return t.GetStatus().GetRunning() }},
		{title: "IKE", cell: func(t tunnel) string { return t.GetStatus().GetIke() }},
		{title: "CHILD", cell: func(t tunnel) string { return t.GetStatus().GetChild() }},
		{title: "IFACE", cell: func(t tunnel) string { return t.GetStatus().GetInterface() }},
		{title: "BGP", cell: func(t tunnel) string { return t.GetStatus().GetBgp() }},
		{title: "PROBE", cell: func(t tunnel) string { return t.GetStatus().GetProbe() }},
		{title: "SINCE", cell: func(t tunnel) string { return now.age(t.GetStatus().GetSince()) }},
		{title: "REASON", cell: func(t tunnel) string { return t.GetStatus().GetReason() }},
		{title: "LOCAL", rare: true, cell: func(t tunnel) string { return localText(t.GetStatus().GetLocal()) }},
		{title: "CLOUD", wide: true, cell: func(t tunnel) string { return t.GetSpec().GetCloudAddress() }},
		{title: "CUSTOMER", wide: true, cell: func(t tunnel) string { return t.GetSpec().GetCustomerAddress() }},
		{title: "INTERFACE", wide: true, cell: func(t tunnel) string { return t.GetStatus().GetInterfaceName() }},
		{title: "IN", wide: true, cell: func(t tunnel) string { return formatBytes(t.GetStatus().GetCounters().GetBytesIn()) }},
		{title: "OUT", wide: true, cell: func(t tunnel) string { return formatBytes(t.GetStatus().GetCounters().GetBytesOut()) }},
		{title: "IKE SUITE", wide: true, cell: func(t tunnel) string { return t.GetStatus().GetNegotiated().GetIkeSuite() }},
		{title: "ESP SUITE", wide: true, cell: func(t tunnel) string { return t.GetStatus().GetNegotiated().GetEspSuite() }},
		{title: "MESSAGE", wide: true, cell: func(t tunnel) string { return t.GetStatus().GetMessage() }},
	}
}

func connectionColumns(now clock) []column[*apiv1.VPNConnection] {
	type connection = *apiv1.VPNConnection
	return []column[connection]{
		{title: "NAME", cell: connection.GetName},
		{title: "GATEWAY", cell: func(c connection) string { return c.GetSpec().GetBorderGateway() }},
		{title: "ROUTING", cell: func(c connection) string { return c.GetSpec().GetRouting() }},
		{title: "AVAILABILITY", cell: func(c connection) string { return c.GetStatus().GetAvailability() }},
		{title: "TUNNELS", cell: func(c connection) string {
			return fmt.Sprintf("%d/%d", c.GetStatus().GetTunnelsUp(), c.GetStatus().GetTunnels())
		}},
		{title: "SINCE", cell: func(c connection) string { return now.age(c.GetStatus().GetSince()) }},
		{title: "REASONS", cell: func(c connection) string { return strings.Join(c.GetStatus().GetReasons(), ",") }},
		{title: "CUSTOMER", wide: true, cell: func(c connection) string { return c.GetSpec().GetCustomerGateway() }},
		{title: "ONE MORE FAILURE", wide: true, cell: func(c connection) string { return strings.Join(c.GetStatus().GetOneMoreFailure(), " ") }},
	}
}

func gatewayColumns() []column[*apiv1.BorderGateway] {
	type gateway = *apiv1.BorderGateway
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	return []column[gateway]{
		{title: "NAME", cell: gateway.GetName},
		{title: "HOST", cell: func(g gateway) string { return g.GetStatus().GetHost() }},
		{title: "ASN", cell: func(g gateway) string { return number(g.GetSpec().GetAsn()) }},
		{title: "VRF", cell: func(g gateway) string { return g.GetStatus().GetVrf() }},
		{title: "TABLE", cell: func(g gateway) string { return number(g.GetStatus().GetTable()) }},
		{title: "PROGRAMMED", cell: func(g gateway) string { return yesNo(g.GetStatus().GetProgrammed()) }},
		{title: "CONNECTIONS", cell: func(g gateway) string { return number(g.GetStatus().GetConnections()) }},
		{title: "TUNNELS", cell: func(g gateway) string {
			return fmt.Sprintf("%d/%d", g.GetStatus().GetTunnelsUp(), g.GetStatus().GetTunnels())
		}},
		{title: "ROUTES", cell: func(g gateway) string { return number(g.GetStatus().GetRoutes()) }},
		{title: "CONDITIONS", cell: func(g gateway) string { return number(uint32(len(g.GetStatus().GetConditions()))) }},
		{title: "ATTACHMENTS", wide: true, cell: func(g gateway) string {
			var parts []string
			for _, a := range g.GetStatus().GetAttachments() {
				part := a.GetName() + ":" + orDash(a.GetInterface())
				if a.GetBgp() != "" {
					part += "/" + a.GetBgp()
				}
				parts = append(parts, part)
			}
			return strings.Join(parts, ",")
		}},
		{title: "MESSAGES", wide: true, cell: func(g gateway) string {
			var parts []string
			for _, c := range g.GetStatus().GetConditions() {
				parts = append(parts, c.GetType()+" "+c.GetObject()+": "+c.GetMessage())
			}
			return strings.Join(parts, "; ")
		}},
	}
}

func routeColumns() []column[*apiv1.Route] {
	type route = *apiv1.Route
	return []column[route]{
		{title: "GATEWAY", cell: route.GetGateway},
		{title: "PREFIX", cell: route.GetPrefix},
		{title: "HOST", cell: route.GetHost},
		{title: "TYPE", cell: route.GetType},
		{title: "SOURCE", cell: route.GetSource},
		{title: "TARGET", cell: route.GetTarget},
		{title: "INSTALLED", cell: func(r route) string { return yesNo(r.GetInstalled()) }},
		{title: "NEXT HOPS", cell: func(r route) string {
			var parts []string
			for _, h := range r.GetNextHops() {
				name := h.GetTunnel()
				if name == "" {
					name = h.GetInterface()
				}
				if h.GetAddress() != "" {
					name = strings.TrimPrefix(name+" via "+h.GetAddress(), " ")
				}
				parts = append(parts, name)
			}
			return strings.Join(parts, ", ")
		}},
		{title: "AS PATH", wide: true, cell: func(r route) string {
			var parts []string
			for _, asn := range r.GetAsPath() {
				parts = append(parts, strconv.FormatUint(uint64(asn), 10))
			}
			return strings.Join(parts, " ")
		}},
		{title: "MESSAGE", wide: true, cell: route.GetMessage},
	}
}

func hostColumns(now clock) []column[*apiv1.GetHostResponse] {
	type host = *apiv1.GetHostResponse
	return []column[host]{
		{title: "HOST", cell: host.GetHost},
		{title: "READY", cell: func(h host) string { return yesNo(h.GetReady()) }},
		{title: "ADDRESSES", cell: func(h host) string { return strings.Join(h.GetAddresses(), ",") }},
		{title: "CHARON", cell: func(h host) string {
			if !h.GetCharonConnected() {
				return "disconnected"
			}
			return "connected"
		}},
		{title: "SOURCE", cell: func(h host) string { return h.GetSource().GetSource() }},
		{title: "GENERATION", cell: func(h host) string { return strconv.FormatUint(h.GetSource().GetGeneration(), 10) }},
		{title: "ACCEPTED", cell: func(h host) string { return now.age(h.GetSource().GetAccepted()) }},
		{title: "REFUSED", cell: func(h host) string { return now.age(h.GetSource().GetRefused()) }},
		{title: "FINDINGS", cell: func(h host) string { return strconv.Itoa(len(h.GetSource().GetFindings())) }},
		{title: "LOCAL", rare: true, cell: func(h host) string { return localText(h.GetLocal()) }},
		{title: "UPTIME", cell: func(h host) string { return now.age(h.GetStarted()) }},
		{title: "VERSION", wide: true, cell: host.GetVersion},
		{title: "CHARON VERSION", wide: true, cell: host.GetCharonVersion},
		{title: "ML-KEM", wide: true, cell: func(h host) string { return yesNo(h.GetCharonMlKem()) }},
	}
}
