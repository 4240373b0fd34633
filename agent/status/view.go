// Package status folds what the drivers report into the layered state of each tunnel, and publishes it as an immutable View.
package status

import (
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// View is everything that readers (the local API, metrics) may ask, taken at one moment. A View and all messages in it are
// immutable once published: readers share them without copying and must not change them. All lists are sorted by name.
type View struct {
	// Host tells about the agent itself; its Source field is the state of the desired state's source.
	Host *apiv1.GetHostResponse
	// Gateways served by this host.
	Gateways []*apiv1.BorderGateway
	// Connections with a tunnel on this host. Tunnels of other hosts come without status.
	Connections []*apiv1.ConnectionView
	// Tunnels whose cloud address this host owns.
	Tunnels []*apiv1.VPNTunnel
	// Routes of all gateways, by gateway and prefix.
	Routes []*apiv1.Route
	// Logs holds the negotiation log of each tunnel, oldest entry first.
	Logs map[string][]*apiv1.LogEntry
	// Reconcile counts the agent's own work per gateway.
	Reconcile []ReconcileStats
}

// ReconcileStats counts the rounds of one gateway since the agent started.
type ReconcileStats struct {
	Gateway string
	// Rounds, those that ended with at least one error, and how many full resyncs a lost event caused.
	Rounds, Errors, Resyncs uint64
	// LastSeconds is how long the last round took.
	LastSeconds float64
}
