package metrics

import (
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/model"
)

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// table has every metric of the controller.
func table() []row {
	return append(append(connectionTable(), hostTable()...),
		sessionRow(gauge, "bordergw_controller_sessions", "Agents that have their session with this controller.",
			func(s hosts.Stats) uint64 { return s.Sessions }),
		sessionRow(counter, "bordergw_controller_sessions_total", "Sessions that agents have begun with this controller.",
			func(s hosts.Stats) uint64 { return s.Begun }),
		sessionRow(counter, "bordergw_controller_snapshots_total", "Snapshots that this controller has sent.",
			func(s hosts.Stats) uint64 { return s.Snapshots }),
		sessionRow(counter, "bordergw_controller_snapshots_refused_total", "Snapshots of this controller that an agent refused as a whole.",
			func(s hosts.Stats) uint64 { return s.Refused }),
		sessionRow(counter, "bordergw_controller_unsealable_secrets_total",
			"Secrets that this controller could not hand to their host, most likely for want of an encryption key.",
			func(s hosts.Stats) uint64 { return s.Unsealable }),
		row{name: "bordergw_controller_transitions_total", kind: counter, labels: []string{"verdict"},
			help: "Transitions of connections' availability that this controller was the one to write, by the new verdict; the sum over all controllers counts each once.",
			collect: func(in input, emit emit) {
				for _, verdict := range apiv1.Names(in.transitions) {
					emit(float64(in.transitions[verdict]), verdict)
				}
			}},
		row{name: "bordergw_controller_resources", help: "Resources in the store.", kind: gauge, labels: []string{"kind"}, collect: func(in input, emit emit) {
			for _, kind := range model.Kinds() {
				emit(float64(len(in.All(kind))), kind)
			}
		}},
		row{name: "bordergw_controller_store_revision", help: "Revision of the store that this controller has seen; one that stays behind the others' is cut off.",
			kind: gauge, collect: func(in input, emit emit) { emit(float64(in.Revision())) }},
		row{name: "bordergw_controller_build_info", help: "1, with the version.", kind: gauge, labels: []string{"version"},
			collect: func(in input, emit emit) { emit(1, in.version) }},
	)
}

func connectionTable() []row {
	type status = apiv1.VPNConnectionStatus
	return []row{
		connectionRow("bordergw_controller_connection_highly_available", "1 when the connection is HIGHLY_AVAILABLE.",
			func(st *status) float64 { return boolean(st.GetAvailability() == apiv1.HighlyAvailable) }),
		{name: "bordergw_controller_connection_reason", kind: gauge, labels: []string{"connection", "gateway", "reason"},
			help: "1 for each reason of the connection's availability, advisory ones included.",
			collect: func(in input, emit emit) {
				in.connections(func(c *apiv1.VPNConnection, st *status) {
					for _, reason := range st.GetReasons() {
						emit(1, c.GetName(), c.GetSpec().GetBorderGateway(), reason)
					}
				})
			}},
		connectionRow("bordergw_controller_connection_state_since_seconds", "Unix time at which verdict or reasons became what they are.",
			func(st *status) float64 { return float64(st.GetSince().AsTime().UnixMilli()) / 1000 }),
		connectionRow("bordergw_controller_connection_tunnels", "Tunnels of the connection.",
			func(st *status) float64 { return float64(st.GetTunnels()) }),
		connectionRow("bordergw_controller_connection_tunnels_up", "Tunnels of the connection that are UP; those of silent hosts are not.",
			func(st *status) float64 { return float64(st.GetTunnelsUp()) }),
		connectionRow("bordergw_controller_connection_fatal_failures", "Single further failures that the connection would not survive.",
			func(st *status) float64 { return float64(len(st.GetOneMoreFailure())) }),
	}
}

func hostTable() []row {
	type status = apiv1.GatewayHostStatus
	return []row{
		hostRow("bordergw_controller_host_reporting", "1 while the host's agent reports to a controller, 0 while it is silent or was never heard of.",
			func(st *status) float64 { return boolean(st.GetState() == apiv1.HostReporting) }),
		hostRow("bordergw_controller_host_refused_objects", "Objects of the newest snapshot that the host's agent could not take over as they are.",
			func(st *status) float64 { return float64(len(st.GetRefused())) }),
		hostRow("bordergw_controller_host_snapshot_revision", "Revision of the snapshot that the host's agent answered last.",
			func(st *status) float64 { return float64(st.GetRevision()) }),
	}
}
