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
