// Package metrics exposes the agent's state to Prometheus. Every metric is one row of the table in table.go: it is registered from there,
// collected from there, and docs/metrics.md is written from there. A scrape reads the published status.View and nothing else; it never
// waits for charon or the kernel.
package metrics

//go:generate go test . -run TestReferenceIsCurrent -update
