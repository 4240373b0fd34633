// Package metrics exposes what a controller knows: the availability of every connection, its hosts, its sessions. Everything about
// connections and hosts is read from the store, so every controller exposes the same: scrape one or all.
package metrics

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// Sources are what is exposed.
type Sources struct {
	Store *store.Store
	// Sessions are hosts.Server.Stats, Transitions availability.Evaluator.Transitions.
	Sessions    func() hosts.Stats
	Transitions func() map[string]uint64
	// Version of the program.
	Version string
}

// NewRegistry returns a registry with the metrics of a controller and of its process.
func NewRegistry(s Sources) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler serves the metrics.
func Handler(s Sources) http.Handler {
	return promhttp.HandlerFor(NewRegistry(s), promhttp.HandlerOpts{})
}

type collector struct{ Sources }

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range table() {
		ch <- r.desc()
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	in := input{version: c.Version, sessions: c.Sessions(), transitions: c.Transitions()}
	c.Store.View(func(r store.Reader) {
		in.Reader = r
		for _, row := range table() {
			desc := row.desc()
			row.collect(in, func(value float64, labels ...string) {
				ch <- prometheus.MustNewConstMetric(desc, row.kind, value, labels...)
			})
		}
	})
}

// input is what one scrape is made of.
type input struct {
	store.Reader
	version     string
	sessions    hosts.Stats
	transitions map[string]uint64
}

type emit func(value float64, labels ...string)

type row struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	collect    func(in input, emit emit)
}

func (r row) desc() *prometheus.Desc { return prometheus.NewDesc(r.name, r.help, r.labels, nil) }

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// connections calls fn with every connection that has a verdict.
func (in input) connections(fn func(*apiv1.VPNConnection, *apiv1.VPNConnectionStatus)) {
	for _, rec := range in.All(apiv1.KindVPNConnection) {
		if c, ok := model.Stored(rec).(*apiv1.VPNConnection); ok {
			if st := fleet.ConnectionStatus(in, rec.Name); st != nil {
				fn(c, st)
			}
		}
	}
}

func connectionRow(name, help string, value func(*apiv1.VPNConnectionStatus) float64) row {
	return row{name: name, help: help, kind: gauge, labels: []string{"connection", "gateway"}, collect: func(in input, emit emit) {
		in.connections(func(c *apiv1.VPNConnection, st *apiv1.VPNConnectionStatus) {
			emit(value(st), c.GetName(), c.GetSpec().GetBorderGateway())
		})
	}}
}

func hostRow(name, help string, value func(*apiv1.GatewayHostStatus) float64) row {
	return row{name: name, help: help, kind: gauge, labels: []string{"host"}, collect: func(in input, emit emit) {
		for _, rec := range in.All(apiv1.KindGatewayHost) {
			emit(value(fleet.HostStatus(in, rec.Name)), rec.Name)
		}
	}}
}

func sessionRow(kind prometheus.ValueType, name, help string, value func(hosts.Stats) uint64) row {
	return row{name: name, help: help, kind: kind, collect: func(in input, emit emit) { emit(float64(value(in.sessions))) }}
}

// WriteReference writes the reference of all metrics as Markdown.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Metrics of the controller\n\nThe controller exposes these at `/metrics` of its `metrics.listen` address, next to the usual `go_*` and\n" +
		"`process_*` ones. What is said of connections and hosts is the same at every controller; what is said of sessions is each one's own.\n\n" +
		"This page is generated from the table in `controller/metrics`: `go test ./controller/metrics -update`.\n\n" +
		"| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, r := range table() {
		kind := "gauge"
		if r.kind == counter {
			kind = "counter"
		}
		labels := ""
		if len(r.labels) > 0 {
			labels = "`" + strings.Join(r.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, kind, labels, r.help)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
