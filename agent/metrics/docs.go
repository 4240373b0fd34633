package metrics

import (
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// WriteReference writes the reference of all metrics as Markdown, in the order of the table.
func WriteReference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Metrics

The agent exposes these at ` + "`/metrics`" + ` of its ` + "`metrics.listen`" + ` address (default ` + "`127.0.0.1:9469`" + `), next to the usual ` + "`go_*`" + ` and
` + "`process_*`" + ` ones. They are read from the agent's last published state; a scrape never waits for charon or the kernel. States are
as old as the last event, a few milliseconds; counters of traffic and of dropped packets are read every ten seconds. Counters start
at 0 with the agent (those of the wire and of the whole host with the kernel's) and do not go back when an SA is replaced, charon starts
anew or the tunnel is put DOWN. What an SA counted between the last reading and a killed charon, or its own end as for dropped
packets, is lost. The series of a tunnel stay while it is down and go when it is removed.

This page is generated from the table in ` + "`agent/metrics`" + `: ` + "`go test ./agent/metrics -update`" + `.

| name | type | labels | meaning |
|---|---|---|---|
`)
	for _, r := range table() {
		kind := "gauge"
		if r.kind == prometheus.CounterValue {
			kind = "counter"
		}
		var labels []string
		for _, l := range r.labels {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, kind, strings.Join(labels, ", "), r.help)
	}
	b.WriteString(xfrmReference)
	_, err := io.WriteString(w, b.String())
	return err
}
