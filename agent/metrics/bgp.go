package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// bgpTable is what is measured of routing over tunnels beside the session's state and its counts of prefixes.
func bgpTable() []row {
	return []row{
		bfdRow(gauge, "bordergw_tunnel_bfd_up", "1 while the BFD session through the tunnel is UP; no series without BFD.",
			func(b *apiv1.BFDSession) float64 { return boolean(b.GetState() == apiv1.BFDUp) }),
		tunnelRows(gauge, "bordergw_bgp_refused_prefixes",
			"Prefixes that the customer announces over the tunnel now and that are not accepted, by reason.", []string{"reason"},
			func(s *scrape, t *apiv1.VPNTunnel, p *page) {
				if s.usesBGP(t) {
					for _, reason := range apiv1.BGPRefusals() {
						p.emit(float64(t.GetStatus().GetBgpSession().GetRefused()[reason]), reason)
					}
				}
			}),
		bgpRow("bordergw_bgp_prefix_limit_held", "1 while the session is ended because the customer announced more than bgp.maxPrefixes.",
			func(t *apiv1.VPNTunnelStatus) float64 { return boolean(t.GetBgpSession().GetNextTry() != nil) }),
		gatewayRow("bordergw_gateway_bgp_routes", "Routes that customers have announced and that are accepted, those over the quota too.",
			func(g *apiv1.BorderGatewayStatus) float64 { return float64(g.GetBgpRoutes()) }),
		gatewayRow("bordergw_gateway_bgp_routes_quota", "How many routes of customers the gateway takes; 0 for any number.",
			func(g *apiv1.BorderGatewayStatus) float64 { return float64(g.GetBgpRoutesQuota()) }),
		gatewayRow("bordergw_gateway_bgp_routes_over_quota", "Accepted routes of customers that are left out because of the quota.",
			func(g *apiv1.BorderGatewayStatus) float64 { return float64(g.GetBgpRoutesOverQuota()) }),
		bfdRow(counter, "bordergw_tunnel_bfd_downs_total", "How often BFD found the peer gone since its session began with the tunnel.",
			func(b *apiv1.BFDSession) float64 { return float64(b.GetDowns()) }),
	}
}

// bfdRow is a metric of each tunnel that is to have a BFD session.
func bfdRow(kind prometheus.ValueType, name, help string, value func(*apiv1.BFDSession) float64) row {
	return tunnelRows(kind, name, help, nil, func(s *scrape, t *apiv1.VPNTunnel, p *page) {
		if t.GetSpec().GetBgp().GetBfd().GetEnabled() && s.usesBGP(t) {
			p.emit(value(t.GetStatus().GetBfdSession()))
		}
	})
}
