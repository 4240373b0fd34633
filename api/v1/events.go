package apiv1

// HostEvent.type.
const (
	// EventAgentReady: everything wanted has been applied once since the agent's start.
	EventAgentReady = "AGENT_READY"
	// EventTunnelRunning: a tunnel's running state or its reason changed.
	EventTunnelRunning = "TUNNEL_RUNNING"
	// EventTunnelLayer: one of a tunnel's layers became well or ceased to be: field names it.
	EventTunnelLayer = "TUNNEL_LAYER"
	// EventTunnelGone: a tunnel left the host.
	EventTunnelGone = "TUNNEL_GONE"
	// EventBGPSession: a session with a customer (VPNTunnel) or a VPC's router (BorderGateway, field is the attachment) came or ended.
	EventBGPSession = "BGP_SESSION"
	// EventConnectionAvailability: a connection's verdict, as this host sees it, or its reasons changed.
	EventConnectionAvailability = "CONNECTION_AVAILABILITY"
	// EventGatewayProgrammed: a gateway is as wanted, or is not.
	EventGatewayProgrammed = "GATEWAY_PROGRAMMED"
	// EventSourceAccepted and EventSourceRefused: a new desired state is in force, or is not.
	EventSourceAccepted = "SOURCE_ACCEPTED"
	EventSourceRefused  = "SOURCE_REFUSED"
	// EventLocalChange: an operator took a tunnel out of service, or brought it back.
	EventLocalChange = "LOCAL_CHANGE"
	// EventDrainStage: a drain reached another stage.
	EventDrainStage = "DRAIN_STAGE"
	// EventCharonConnected and EventCharonLost: charon answers, or does not.
	EventCharonConnected = "CHARON_CONNECTED"
	EventCharonLost      = "CHARON_LOST"
	// EventHostState: a host began to report to a controller, or is silent. Controllers tell it.
	EventHostState = "HOST_STATE"
)

// EventTypes returns the closed set of HostEvent.type.
func EventTypes() []string {
	return []string{
		EventAgentReady, EventTunnelRunning, EventTunnelLayer, EventTunnelGone, EventBGPSession, EventConnectionAvailability,
		EventGatewayProgrammed, EventSourceAccepted, EventSourceRefused, EventLocalChange, EventDrainStage, EventCharonConnected, EventCharonLost,
		EventHostState,
	}
}
