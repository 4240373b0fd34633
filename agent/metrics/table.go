package metrics

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// table is every metric of the agent. Series of a tunnel stay as long as the tunnel is wanted, whatever its state.
func table() []row {
	return slices.Concat(hostTable(), gatewayTable(), connectionTable(), tunnelTable(), bgpTable())
}

func hostTable() []row {
	type host = apiv1.GetHostResponse
	return []row{
		{name: "bordergw_build_info", kind: gauge, labels: []string{"version", "revision", "goversion"},
			help: "The running build of the agent; always 1.",
			collect: func(s *scrape, p *page) {
				p.emit(1, s.build.Version, s.build.Revision, s.build.GoVersion)
			}},
		{name: "bordergw_host_info", kind: gauge, labels: []string{"host", "charon_version"},
			help: "The gateway host and its IKE daemon; always 1.",
			collect: func(s *scrape, p *page) {
				if s.Host != nil {
					p.emit(1, s.Host.GetHost(), s.Host.GetCharonVersion())
				}
			}},
		hostRow(gauge, "bordergw_start_time_seconds", "Unix time at which the agent started.",
			func(h *host) float64 { return unixTime(h.GetStarted()) }),
		hostRow(gauge, "bordergw_ready", "1 after the first full apply of the desired state.",
			func(h *host) float64 { return boolean(h.GetReady()) }),
		hostRow(gauge, "bordergw_charon_connected", "1 while the agent has a session with charon.",
			func(h *host) float64 { return boolean(h.GetCharonConnected()) }),
		hostRow(gauge, "bordergw_charon_mlkem", "1 when charon has ML-KEM, so that hybrid key exchanges can be offered; 0 also while that is not known.",
			func(h *host) float64 { return boolean(h.GetCharonMlKem()) }),
		{name: "bordergw_host_xfrm_errors_total", kind: counter, labels: []string{"error"},
			help: "IPsec packets that the kernel dropped, of the whole host and since it booted, by the kernel's name for the cause (see below); no series where the kernel does not count.",
			collect: func(s *scrape, p *page) {
				errors := s.Host.GetXfrmErrors()
				for _, name := range slices.Sorted(maps.Keys(errors)) {
					p.emit(float64(errors[name]), name)
				}
			}},
		hostRow(counter, "bordergw_host_orphaned_states_removed_total", "IPsec states with an if_id of ours that charon did not have, removed from the kernel.",
			func(h *host) float64 { return float64(h.GetOrphanedStatesRemoved()) }),
		hostRow(counter, "bordergw_host_orphaned_policies_removed_total", "IPsec policies with an if_id of ours for which charon had no CHILD_SA, removed from the kernel.",
			func(h *host) float64 { return float64(h.GetOrphanedPoliciesRemoved()) }),
		hostRow(gauge, "bordergw_source_generation", "Generation of the desired state in force; 0 before the first.",
			func(h *host) float64 { return float64(h.GetSource().GetGeneration()) }),
		hostRow(gauge, "bordergw_source_accepted_timestamp_seconds", "Unix time at which desired state was last accepted; 0 for never.",
			func(h *host) float64 { return unixTime(h.GetSource().GetAccepted()) }),
		hostRow(gauge, "bordergw_source_refused_timestamp_seconds", "Unix time at which desired state was last refused; 0 for never.",
			func(h *host) float64 { return unixTime(h.GetSource().GetRefused()) }),
		{name: "bordergw_source_findings", kind: gauge, labels: []string{"severity"},
			help: "Findings in the newest reading of the desired state; with any error the one before stays in force.",
			collect: func(s *scrape, p *page) {
				if s.Host == nil {
					return
				}
				errors, warnings := 0, 0
				for _, f := range s.Host.GetSource().GetFindings() {
					if f.GetWarning() {
						warnings++
					} else {
						errors++
					}
				}
				p.emit(float64(errors), "error")
				p.emit(float64(warnings), "warning")
			}},
	}
}

func gatewayTable() []row {
	type (
		gateway    = apiv1.BorderGatewayStatus
		attachment = apiv1.AttachmentStatus
		reconcile  = status.ReconcileStats
	)
	return []row{
		gatewayRow("bordergw_gateway_programmed", "1 when everything wanted was applied without an error in the last round.",
			func(g *gateway) float64 { return boolean(g.GetProgrammed()) }),
		gatewayRow("bordergw_gateway_connections", "VPN connections of the gateway on this host.",
			func(g *gateway) float64 { return float64(g.GetConnections()) }),
		gatewayRow("bordergw_gateway_tunnels", "Tunnels of the gateway on this host.",
			func(g *gateway) float64 { return float64(g.GetTunnels()) }),
		gatewayRow("bordergw_gateway_tunnels_up", "Tunnels of the gateway on this host whose running state is UP.",
			func(g *gateway) float64 { return float64(g.GetTunnelsUp()) }),
		gatewayRow("bordergw_gateway_conditions", "Things about the gateway that an operator should look at.",
			func(g *gateway) float64 { return float64(len(g.GetConditions())) }),
		{name: "bordergw_gateway_routes", kind: gauge, labels: []string{"gateway", "source", "state"},
			help:    "Routes of the gateway by source (STATIC, ATTACHMENT, BGP) and state: installed in the kernel, or candidate.",
			collect: collectRoutes},
		attachmentRow("bordergw_attachment_interface_up", "1 while the interface where VPC traffic enters is up.", false,
			func(a *attachment) float64 { return boolean(a.GetInterface() == apiv1.InterfaceUp) }),
		attachmentRow("bordergw_attachment_bgp_session_up", "1 while the session with the attachment's peer is ESTABLISHED.", true,
			func(a *attachment) float64 { return boolean(a.GetBgp() == apiv1.BGPEstablished) }),
		attachmentRow("bordergw_attachment_bgp_prefixes_received", "Prefixes the attachment's peer announces now.", true,
			func(a *attachment) float64 { return float64(a.GetPrefixesReceived()) }),
		attachmentRow("bordergw_attachment_bgp_prefixes_announced", "Prefixes announced to the attachment's peer now.", true,
			func(a *attachment) float64 { return float64(a.GetPrefixesAnnounced()) }),
		reconcileRow(counter, "bordergw_reconcile_rounds_total", "Rounds in which the gateway's objects were compared and applied.",
			func(r reconcile) float64 { return float64(r.Rounds) }),
		reconcileRow(counter, "bordergw_reconcile_errors_total", "Rounds that ended with at least one error.",
			func(r reconcile) float64 { return float64(r.Errors) }),
		reconcileRow(counter, "bordergw_reconcile_resyncs_total", "Full readings that a lost event or a reconnection caused.",
			func(r reconcile) float64 { return float64(r.Resyncs) }),
		reconcileRow(gauge, "bordergw_reconcile_last_duration_seconds", "How long the gateway's last round took.",
			func(r reconcile) float64 { return r.LastSeconds }),
	}
}

func collectRoutes(s *scrape, p *page) {
	type series struct{ gateway, source, state string }
	counts := make(map[series]int)
	for _, r := range s.Routes {
		if r.GetRefused() != "" {
			continue
		}
		state := "candidate"
		if r.GetInstalled() {
			state = "installed"
		}
		counts[series{r.GetGateway(), r.GetSource(), state}]++
	}
	for _, g := range s.Gateways {
		for _, source := range [...]string{apiv1.RouteSourceStatic, apiv1.RouteSourceAttachment, apiv1.RouteSourceBGP} {
			for _, state := range [...]string{"installed", "candidate"} {
				p.emit(float64(counts[series{g.GetName(), source, state}]), g.GetName(), source, state)
			}
		}
	}
}

func connectionTable() []row {
	type connection = apiv1.VPNConnectionStatus
	return []row{
		verdictRow("bordergw_connection_highly_available",
			"1 when the connection is HIGHLY_AVAILABLE as far as this host can see: tunnels of hosts that do not report to it count as DOWN. Absent with a controller, which has the verdict.",
			func(c *connection) float64 { return boolean(c.GetAvailability() == apiv1.HighlyAvailable) }),
		{name: "bordergw_connection_reason", kind: gauge, labels: []string{"connection", "gateway", "reason"},
			help: "1 for each reason of the connection's availability, advisory ones included.",
			collect: func(s *scrape, p *page) {
				for _, c := range s.Connections {
					reasons := slices.Clone(c.GetConnection().GetStatus().GetReasons())
					slices.Sort(reasons)
					for _, reason := range slices.Compact(reasons) {
						p.emit(1, c.GetConnection().GetName(), c.GetConnection().GetSpec().GetBorderGateway(), reason)
					}
				}
			}},
		verdictRow("bordergw_connection_state_since_seconds", "Unix time at which the connection's availability last changed; 0 if unknown.",
			func(c *connection) float64 { return unixTime(c.GetSince()) }),
		connectionRow("bordergw_connection_tunnels", "Tunnels of the connection on all hosts.",
			func(c *connection) float64 { return float64(c.GetTunnels()) }),
		connectionRow("bordergw_connection_tunnels_up", "Tunnels of the connection that this host knows to be UP.",
			func(c *connection) float64 { return float64(c.GetTunnelsUp()) }),
	}
}

func tunnelTable() []row {
	// Those that charon tells of have a series from the start: an increase from nothing to 1 would not be seen as one.
	commonFailures := [...]string{
		apiv1.ReasonAuthenticationFailed, apiv1.ReasonNoProposalChosen, apiv1.ReasonTrafficSelectorsUnacceptable, apiv1.ReasonPeerUnreachable,
		apiv1.ReasonDPDTimeout, apiv1.ReasonClosedByPeer, apiv1.ReasonCharonRefused, apiv1.ReasonChildSAFailed,
	}
	type (
		tunnel   = apiv1.VPNTunnelStatus
		counters = apiv1.Counters
	)
	return []row{
		tunnelRow(gauge, "bordergw_tunnel_up", "1 while the tunnel's running state is UP: it carries traffic.",
			func(t *tunnel) float64 { return boolean(t.GetRunning() == apiv1.RunningUp) }),
		tunnelRow(gauge, "bordergw_tunnel_admin_up", "1 while the tunnel is wanted UP.",
			func(t *tunnel) float64 { return boolean(t.GetAdmin() == apiv1.AdminStateUp) }),
		tunnelRows(gauge, "bordergw_tunnel_layer_up",
			"1 while the layer is well: ike ESTABLISHED, child installed, interface UP, bgp ESTABLISHED (only with BGP routing), probe PASSING (only with a probe; 0 also before the first answer).",
			[]string{"layer"}, collectLayers),
		tunnelRows(gauge, "bordergw_tunnel_down_reason", "1 for the reason why the tunnel is DOWN; no series while it is UP.",
			[]string{"reason"}, func(_ *scrape, t *apiv1.VPNTunnel, p *page) {
				if reason := t.GetStatus().GetReason(); reason != "" && t.GetStatus().GetRunning() != apiv1.RunningUp {
					p.emit(1, reason)
				}
			}),
		tunnelRow(gauge, "bordergw_tunnel_state_since_seconds", "Unix time at which the tunnel's running state or reason last changed; 0 if unknown.",
			func(t *tunnel) float64 { return unixTime(t.GetSince()) }),
		tunnelRow(gauge, "bordergw_tunnel_child_sas", "CHILD_SAs that charon holds for the tunnel; two for a moment at each rekeying.",
			func(t *tunnel) float64 { return float64(len(t.GetChildSas())) }),
		tunnelRow(gauge, "bordergw_tunnel_conditions", "Things about the tunnel that an operator should look at.",
			func(t *tunnel) float64 { return float64(len(t.GetConditions())) }),
		trafficRow("bordergw_tunnel_inner_bytes_total", "Inner traffic: before encryption (out), after decryption (in).",
			(*counters).GetBytesIn, (*counters).GetBytesOut),
		trafficRow("bordergw_tunnel_inner_packets_total", "Inner packets: before encryption (out), after decryption (in).",
			(*counters).GetPacketsIn, (*counters).GetPacketsOut),
		wireRow("bordergw_tunnel_wire_bytes_total", "ESP on the wire, in UDP or not, in bytes of IP packets with the outer header; no series where it is not measured (addresses shared with another tunnel).",
			func(c *counters) *uint64 { return c.WireBytesIn }, func(c *counters) *uint64 { return c.WireBytesOut }),
		wireRow("bordergw_tunnel_wire_packets_total", "ESP packets on the wire, before fragmentation; no series where they are not measured (addresses shared with another tunnel).",
			func(c *counters) *uint64 { return c.WirePacketsIn }, func(c *counters) *uint64 { return c.WirePacketsOut }),
		tunnelRow(counter, "bordergw_tunnel_establishments_total", "How often the tunnel came up from DOWN.",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetEstablishments()) }),
		tunnelRow(counter, "bordergw_tunnel_rekeys_total", "CHILD_SAs that replaced another one.",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetRekeys()) }),
		tunnelRow(counter, "bordergw_tunnel_ike_rekeys_total", "IKE_SAs that replaced another one (IKEv2; IKEv1 has no rekeying but makes new ones).",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetIkeRekeys()) }),
		tunnelRow(counter, "bordergw_tunnel_duplicates_closed_total", "IKE_SAs closed because both ends had set one up; their CHILD_SAs go with them.",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetDuplicatesClosed()) }),
		tunnelRow(counter, "bordergw_tunnel_renegotiations_total", "How often SAs were replaced because no packets came through them.",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetRenegotiations()) }),
		tunnelRows(counter, "bordergw_tunnel_xfrm_errors_total",
			"Packets that arrived for the tunnel and that the kernel dropped although it had their SA, by cause: outside_window (older than the replay window), replayed (seen before), integrity_failed (wrong authentication tag).",
			[]string{"error"}, func(_ *scrape, t *apiv1.VPNTunnel, p *page) {
				e := t.GetStatus().GetCounters().GetXfrmErrors()
				p.emit(float64(e.GetOutsideWindow()), "outside_window")
				p.emit(float64(e.GetReplayed()), "replayed")
				p.emit(float64(e.GetIntegrityFailed()), "integrity_failed")
			}),
		tunnelRows(gauge, "bordergw_tunnel_suite_info",
			"What the two ends agreed on, in charon's words; always 1. Labels are empty while the tunnel is down. The esp_suite of a CHILD_SA that was made with its IKE_SA has no key exchange.",
			[]string{"ike_version", "ike_suite", "esp_suite"}, func(_ *scrape, t *apiv1.VPNTunnel, p *page) {
				n := t.GetStatus().GetNegotiated()
				version := ""
				if n != nil {
					version = strconv.FormatUint(uint64(n.GetIkeVersion()), 10)
				}
				p.emit(1, version, n.GetIkeSuite(), n.GetEspSuite())
			}),
		tunnelRow(gauge, "bordergw_tunnel_post_quantum", "1 while ML-KEM took part in the key exchange of the IKE_SA, from which the CHILD_SA's keys come.",
			func(t *tunnel) float64 { return boolean(t.GetNegotiated().GetPostQuantum()) }),
		tunnelRows(counter, "bordergw_tunnel_failures_total", "Failed negotiations, and ends of established tunnels, by reason. Those that charon tells of have a series from the start.",
			[]string{"reason"}, func(_ *scrape, t *apiv1.VPNTunnel, p *page) {
				failures := t.GetStatus().GetCounters().GetFailures()
				for _, reason := range commonFailures {
					p.emit(float64(failures[reason]), reason)
				}
				for _, reason := range slices.Sorted(maps.Keys(failures)) {
					if !slices.Contains(commonFailures[:], reason) {
						p.emit(float64(failures[reason]), reason)
					}
				}
			}),
		tunnelRow(gauge, "bordergw_tunnel_probe_rtt_seconds", "Round-trip time of the last answered probe; NaN before the first answer since the tunnel came up.",
			func(t *tunnel) float64 {
				if rtt := t.GetCounters().GetProbeRtt(); rtt != nil {
					return rtt.AsDuration().Seconds()
				}
				return math.NaN()
			}),
		tunnelRow(counter, "bordergw_tunnel_probes_sent_total", "Probes sent through the tunnel.",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetProbesSent()) }),
		tunnelRow(counter, "bordergw_tunnel_probes_lost_total", "Probes that were not answered in time.",
			func(t *tunnel) float64 { return float64(t.GetCounters().GetProbesLost()) }),
		bgpRow("bordergw_bgp_session_up", "1 while the BGP session over the tunnel is ESTABLISHED.",
			func(t *tunnel) float64 { return boolean(t.GetBgp() == apiv1.BGPEstablished) }),
		bgpRow("bordergw_bgp_prefixes_received", "Prefixes the customer announces over the tunnel now.",
			func(t *tunnel) float64 { return float64(t.GetBgpSession().GetPrefixesReceived()) }),
		bgpRow("bordergw_bgp_prefixes_accepted", "Prefixes of the customer that passed the gateway's rules.",
			func(t *tunnel) float64 { return float64(t.GetBgpSession().GetPrefixesAccepted()) }),
		tunnelRows(gauge, "bordergw_bgp_prefixes_limit", "How many prefixes the customer may announce before its session is closed; 0 for no limit.",
			nil, func(s *scrape, t *apiv1.VPNTunnel, p *page) {
				if s.usesBGP(t) {
					p.emit(float64(t.GetSpec().GetBgp().GetMaxPrefixes()))
				}
			}),
		bgpRow("bordergw_bgp_prefixes_announced", "Prefixes announced to the customer over the tunnel now.",
			func(t *tunnel) float64 { return float64(t.GetBgpSession().GetPrefixesAnnounced()) }),
	}
}

func collectLayers(s *scrape, t *apiv1.VPNTunnel, p *page) {
	st := t.GetStatus()
	p.emit(boolean(st.GetIke() == apiv1.IKEEstablished), "ike")
	p.emit(boolean(st.GetChild() == apiv1.ChildInstalled || st.GetChild() == apiv1.ChildRekeying), "child")
	p.emit(boolean(st.GetInterface() == apiv1.InterfaceUp), "interface")
	if s.usesBGP(t) {
		p.emit(boolean(st.GetBgp() == apiv1.BGPEstablished), "bgp")
	}
	if usesProbe(t) {
		p.emit(boolean(st.GetProbe() == apiv1.ProbePassing), "probe")
	}
}
