package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// row is one metric. collect emits its series with the values of labels in their order. help has no line breaks or backslashes.
type row struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	collect    func(s *scrape, p *page)
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// hostRow is a metric of the whole host.
func hostRow(kind prometheus.ValueType, name, help string, value func(*apiv1.GetHostResponse) float64) row {
	return row{name: name, help: help, kind: kind, collect: func(s *scrape, p *page) {
		if s.Host != nil {
			p.emit(value(s.Host))
		}
	}}
}

// gatewayRow is a metric of each BorderGateway.
func gatewayRow(name, help string, value func(*apiv1.BorderGatewayStatus) float64) row {
	return row{name: name, help: help, kind: gauge, labels: []string{"gateway"}, collect: func(s *scrape, p *page) {
		for _, g := range s.Gateways {
			p.emit(value(g.GetStatus()), g.GetName())
		}
	}}
}

// attachmentRow is a metric of each attachment; only those with a peer when peered is true.
func attachmentRow(name, help string, peered bool, value func(*apiv1.AttachmentStatus) float64) row {
	return row{name: name, help: help, kind: gauge, labels: []string{"gateway", "attachment"}, collect: func(s *scrape, p *page) {
		for _, g := range s.Gateways {
			for _, a := range g.GetStatus().GetAttachments() {
				if !peered || a.GetBgp() != "" {
					p.emit(value(a), g.GetName(), a.GetName())
				}
			}
		}
	}}
}

// reconcileRow is a metric of the agent's own work for each gateway.
func reconcileRow(kind prometheus.ValueType, name, help string, value func(status.ReconcileStats) float64) row {
	return row{name: name, help: help, kind: kind, labels: []string{"gateway"}, collect: func(s *scrape, p *page) {
		for _, r := range s.Reconcile {
			p.emit(value(r), r.Gateway)
		}
	}}
}

// connectionRow is a metric of each VPNConnection.
func connectionRow(name, help string, value func(*apiv1.VPNConnectionStatus) float64) row {
	return row{name: name, help: help, kind: gauge, labels: []string{"connection", "gateway"}, collect: func(s *scrape, p *page) {
		for _, c := range s.Connections {
			p.emit(value(c.GetConnection().GetStatus()), c.GetConnection().GetName(), c.GetConnection().GetSpec().GetBorderGateway())
		}
	}}
}

// verdictRow is a metric of each connection that this host has a verdict on.
func verdictRow(name, help string, value func(*apiv1.VPNConnectionStatus) float64) row {
	return row{name: name, help: help, kind: gauge, labels: []string{"connection", "gateway"}, collect: func(s *scrape, p *page) {
		for _, c := range s.Connections {
			if st := c.GetConnection().GetStatus(); st.GetAvailability() != "" {
				p.emit(value(st), c.GetConnection().GetName(), c.GetConnection().GetSpec().GetBorderGateway())
			}
		}
	}}
}

// tunnelRow is a metric of each VPNTunnel with one series.
func tunnelRow(kind prometheus.ValueType, name, help string, value func(*apiv1.VPNTunnelStatus) float64) row {
	return tunnelRows(kind, name, help, nil, func(_ *scrape, t *apiv1.VPNTunnel, p *page) { p.emit(value(t.GetStatus())) })
}

// bgpRow is a metric of each tunnel whose connection is routed by BGP.
func bgpRow(name, help string, value func(*apiv1.VPNTunnelStatus) float64) row {
	return tunnelRows(gauge, name, help, nil, func(s *scrape, t *apiv1.VPNTunnel, p *page) {
		if s.usesBGP(t) {
			p.emit(value(t.GetStatus()))
		}
	})
}

// trafficRow is a counter of each tunnel in both directions.
func trafficRow(name, help string, in, out func(*apiv1.Counters) uint64) row {
	return tunnelRows(counter, name, help, []string{"direction"}, func(_ *scrape, t *apiv1.VPNTunnel, p *page) {
		c := t.GetStatus().GetCounters()
		p.emit(float64(in(c)), "in")
		p.emit(float64(out(c)), "out")
	})
}

// wireRow is trafficRow for counters that may not be measured: then they have no series.
func wireRow(name, help string, in, out func(*apiv1.Counters) *uint64) row {
	return tunnelRows(counter, name, help, []string{"direction"}, func(_ *scrape, t *apiv1.VPNTunnel, p *page) {
		c := t.GetStatus().GetCounters()
		if c == nil || in(c) == nil || out(c) == nil {
			return
		}
		p.emit(float64(*in(c)), "in")
		p.emit(float64(*out(c)), "out")
	})
}

// tunnelRows is a metric of each VPNTunnel with any number of series that further labels tell apart.
func tunnelRows(kind prometheus.ValueType, name, help string, further []string, series func(*scrape, *apiv1.VPNTunnel, *page)) row {
	labels := append(tunnelLabels(), further...)
	return row{name: name, help: help, kind: kind, labels: labels, collect: func(s *scrape, p *page) {
		for i, t := range s.Tunnels {
			p.own = s.labels[i]
			series(s, t, p)
		}
	}}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unixTime is 0 for a time that is not set.
func unixTime(t *timestamppb.Timestamp) float64 {
	if t == nil {
		return 0
	}
	return float64(t.GetSeconds()) + float64(t.GetNanos())/1e9
}
