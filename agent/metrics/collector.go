package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/version"
)

// NewRegistry returns a registry with the agent's metrics and those of the Go runtime and the process.
func NewRegistry(view func() *status.View, build version.Info) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		NewCollector(view, build),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

// NewCollector returns a collector that reads view at every scrape. While view returns nil only the build is known. build tells about
// the running program.
func NewCollector(view func() *status.View, build version.Info) prometheus.Collector {
	c := &collector{view: view, build: build}
	for _, r := range table() {
		c.rows = append(c.rows, describedRow{row: r, desc: prometheus.NewDesc(r.name, r.help, r.labels, nil)})
	}
	return c
}

type collector struct {
	view  func() *status.View
	build version.Info
	rows  []describedRow
}

type describedRow struct {
	row
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range c.rows {
		ch <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := newScrape(c.view(), c.build)
	for _, r := range c.rows {
		r.collect(s, func(value float64, labels ...string) {
			m, err := prometheus.NewConstMetric(r.desc, r.kind, value, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(r.desc, err)
			}
			ch <- m
		})
	}
}

// scrape is one View with the lookups that several rows need.
type scrape struct {
	*status.View
	build       version.Info
	connections map[string]*apiv1.VPNConnection
}

func newScrape(v *status.View, build version.Info) *scrape {
	if v == nil {
		v = &status.View{}
	}
	s := &scrape{View: v, build: build, connections: make(map[string]*apiv1.VPNConnection, len(v.Connections))}
	for _, c := range v.Connections {
		s.connections[c.GetConnection().GetName()] = c.GetConnection()
	}
	return s
}

// tunnelLabels returns the values of tunnelLabels' names, in their order.
func (s *scrape) tunnelLabels(t *apiv1.VPNTunnel) []string {
	connection := t.GetSpec().GetConnection()
	return []string{t.GetName(), connection, s.connections[connection].GetSpec().GetBorderGateway()}
}

// usesBGP is true while the connection is routed by BGP, whatever the session does, so that a session that is down keeps its series.
func (s *scrape) usesBGP(t *apiv1.VPNTunnel) bool {
	state := t.GetStatus().GetBgp()
	routing := s.connections[t.GetSpec().GetConnection()].GetSpec().GetRouting()
	return routing == apiv1.RoutingBGP || (state != "" && state != apiv1.BGPOff)
}

func usesProbe(t *apiv1.VPNTunnel) bool {
	state := t.GetStatus().GetProbe()
	return t.GetSpec().GetProbe().GetMode() != apiv1.ProbeModeOff || (state != "" && state != apiv1.ProbeOff)
}
