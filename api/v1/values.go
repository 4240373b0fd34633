package apiv1

// Kinds of resources.
const (
	KindBorderGateway   = "BorderGateway"
	KindCustomerGateway = "CustomerGateway"
	KindVPNConnection   = "VPNConnection"
	KindVPNTunnel       = "VPNTunnel"
	KindGatewayHost     = "GatewayHost"
)

// VPNConnectionSpec.routing.
const (
	RoutingStatic = "STATIC"
	RoutingBGP    = "BGP"
)

// VPNTunnelSpec.admin_state and VPNTunnelStatus.admin: what the operator wants.
const (
	AdminStateUp   = "UP"
	AdminStateDown = "DOWN"
)

// VPNTunnelStatus.running: what is true.
const (
	RunningUp   = "UP"
	RunningDown = "DOWN"
)

// VPNTunnelSpec.initiation.
const (
	InitiationAlways  = "ALWAYS"
	InitiationRespond = "RESPOND"
)

// IKE.mode; IKEv1 only (RFC 2409 §5).
const (
	IKEModeMain       = "MAIN"
	IKEModeAggressive = "AGGRESSIVE"
)

// IKE.post_quantum: hybrid ML-KEM-768 key exchange (RFC 9370).
const (
	PostQuantumAuto     = "AUTO"
	PostQuantumRequired = "REQUIRED"
	PostQuantumOff      = "OFF"
)

// ESP.pfs.
const (
	PFSRequired = "REQUIRED"
	PFSOptional = "OPTIONAL"
)

// Probe.mode.
const (
	ProbeModeAuto = "AUTO"
	ProbeModeOn   = "ON"
	ProbeModeOff  = "OFF"
)

// VPNConnectionStatus.availability.
const (
	HighlyAvailable    = "HIGHLY_AVAILABLE"
	NotHighlyAvailable = "NOT_HIGHLY_AVAILABLE"
)

// VPNConnectionStatus.reasons, in the order in which they are listed. The last four are advisory: they do not change the verdict.
const (
	AvailabilitySingleCustomerAddress     = "SINGLE_CUSTOMER_ADDRESS"
	AvailabilityCloudAddressWithoutTunnel = "CLOUD_ADDRESS_WITHOUT_TUNNEL"
	AvailabilitySameCustomerAddress       = "SAME_CUSTOMER_ADDRESS_ON_BOTH_CLOUD_ADDRESSES"
	AvailabilityNoTunnelUp                = "NO_TUNNEL_UP_ON_CLOUD_ADDRESS"
	AvailabilityUpTunnelsShareCustomer    = "UP_TUNNELS_SHARE_CUSTOMER_ADDRESS"
	AvailabilityBGPNotEstablished         = "BGP_NOT_ESTABLISHED"
	AvailabilityDraining                  = "DRAINING"
	AvailabilityHostSilent                = "HOST_SILENT"
)

// VPNTunnelStatus.reason: why running is DOWN.
const (
	// ReasonAdminDown: the operator wants it so.
	ReasonAdminDown = "ADMIN_DOWN"
	// ReasonConnecting: the first attempt is under way.
	ReasonConnecting = "CONNECTING"
	// ReasonWaitingForPeer: initiation is RESPOND and the customer has not begun.
	ReasonWaitingForPeer = "WAITING_FOR_PEER"
	// ReasonPeerUnreachable: no answer to IKE.
	ReasonPeerUnreachable = "PEER_UNREACHABLE"
	// ReasonAuthenticationFailed: wrong key or identity at one of the ends.
	ReasonAuthenticationFailed = "AUTHENTICATION_FAILED"
	// ReasonNoProposalChosen: the two ends have no algorithms in common.
	ReasonNoProposalChosen = "NO_PROPOSAL_CHOSEN"
	// ReasonTrafficSelectorsUnacceptable: the peer does not take 0.0.0.0/0 and ::/0.
	ReasonTrafficSelectorsUnacceptable = "TRAFFIC_SELECTORS_UNACCEPTABLE"
	// ReasonDPDTimeout: the peer stopped answering.
	ReasonDPDTimeout = "DPD_TIMEOUT"
	// ReasonProbeFailed: the SAs stand, but nothing comes back through them.
	ReasonProbeFailed = "PROBE_FAILED"
	// ReasonClosedByPeer: the peer deleted the SAs.
	ReasonClosedByPeer = "CLOSED_BY_PEER"
	// ReasonCharonUnavailable: charon does not answer on its socket, and the tunnel is not known to be up.
	ReasonCharonUnavailable = "CHARON_UNAVAILABLE"
	// ReasonCharonRefused: charon did not take the connection's configuration.
	ReasonCharonRefused = "CHARON_REFUSED"
	// ReasonChildSAFailed: the IKE SA stands, the CHILD_SA does not, and no better reason is known.
	ReasonChildSAFailed = "CHILD_SA_FAILED"
	// ReasonInterfaceDown: the XFRM interface is missing or down.
	ReasonInterfaceDown = "INTERFACE_DOWN"
	// ReasonInterfaceConflict: an interface that is not ours has the tunnel's name or if_id.
	ReasonInterfaceConflict = "INTERFACE_CONFLICT"
	// ReasonHostSilent: the host that owns the tunnel stopped reporting.
	ReasonHostSilent = "HOST_SILENT"
)

// TunnelReasons returns the closed set of VPNTunnelStatus.reason.
func TunnelReasons() []string {
	return []string{
		ReasonAdminDown, ReasonConnecting, ReasonWaitingForPeer, ReasonPeerUnreachable, ReasonAuthenticationFailed,
		ReasonNoProposalChosen, ReasonTrafficSelectorsUnacceptable, ReasonDPDTimeout, ReasonProbeFailed, ReasonClosedByPeer,
		ReasonCharonUnavailable, ReasonCharonRefused, ReasonChildSAFailed, ReasonInterfaceDown, ReasonInterfaceConflict,
		ReasonHostSilent,
	}
}

// VPNTunnelStatus.ike.
const (
	IKEDown        = "DOWN"
	IKEConnecting  = "CONNECTING"
	IKEEstablished = "ESTABLISHED"
)

// VPNTunnelStatus.child.
const (
	ChildDown      = "DOWN"
	ChildInstalled = "INSTALLED"
	ChildRekeying  = "REKEYING"
)

// VPNTunnelStatus.interface and AttachmentStatus.interface.
const (
	InterfaceMissing = "MISSING"
	InterfaceDown    = "DOWN"
	InterfaceUp      = "UP"
)

// VPNTunnelStatus.bgp and BGPSession.state (RFC 4271 §8.2.2; OFF where no session is wanted).
const (
	BGPOff         = "OFF"
	BGPIdle        = "IDLE"
	BGPConnect     = "CONNECT"
	BGPActive      = "ACTIVE"
	BGPOpenSent    = "OPENSENT"
	BGPOpenConfirm = "OPENCONFIRM"
	BGPEstablished = "ESTABLISHED"
)

// BGPRefusals lists the words of BGPSession.refused and Route.refused: why an announced route is not accepted.
func BGPRefusals() []string {
	return []string{"MALFORMED_AS_PATH", "AS_LOOP", "MARTIAN", "OWN_PREFIX", "INSIDE_ADDRESS", "OUTER_ADDRESS", "NOT_ALLOWED"}
}

// VPNTunnelStatus.bfd, BFDSession.state and BFDSession.peerState (RFC 5880 §6.2; OFF where no session is wanted).
const (
	BFDOff       = "OFF"
	BFDAdminDown = "ADMIN_DOWN"
	BFDDown      = "DOWN"
	BFDInit      = "INIT"
	BFDUp        = "UP"
)

// VPNTunnelStatus.probe.
const (
	ProbeOff     = "OFF"
	ProbeWaiting = "WAITING"
	ProbePassing = "PASSING"
	ProbeFailing = "FAILING"
)

// Route.type.
const (
	RouteTypeAttachment = "ATTACHMENT"
	RouteTypeConnection = "CONNECTION"
)

// Route.source.
const (
	RouteSourceStatic     = "STATIC"
	RouteSourceAttachment = "ATTACHMENT"
	RouteSourceBGP        = "BGP"
)

// GatewayHostStatus.state.
const (
	// HostReporting: the host's agent has a session with a controller and has told the state of all its tunnels.
	HostReporting = "REPORTING"
	// HostIsSilent: it had one, but has not been heard of for longer than the lease.
	HostIsSilent = "SILENT"
	// HostUnknown: it has never reported.
	HostUnknown = "UNKNOWN"
)

// FieldChange.impact, from the least to the greatest.
const (
	ImpactNone       = "none"
	ImpactRekey      = "rekey"
	ImpactTunnel     = "tunnel"
	ImpactConnection = "connection"
)

// Impacts returns the closed set of impacts, from the least to the greatest.
func Impacts() []string { return []string{ImpactNone, ImpactRekey, ImpactTunnel, ImpactConnection} }

// PlannedChange.action.
const (
	PlanAdded   = "ADDED"
	PlanChanged = "CHANGED"
	PlanRemoved = "REMOVED"
)

// Condition.type.
const (
	// ConditionWeakProposal: a proposal names an algorithm that should not be used any more.
	ConditionWeakProposal = "WEAK_PROPOSAL"
	// ConditionDraining: traffic is being moved to the other tunnels; Evaluate reports it for the connection.
	ConditionDraining = "DRAINING"
	// ConditionKeyRotation: the peer has not accepted a new pre-shared key yet; the former one is good until it has.
	ConditionKeyRotation = "KEY_ROTATION"
	// ConditionConflict: an object that is not ours stands where ours should.
	ConditionConflict = "CONFLICT"
	// ConditionLocalState: the file with local changes cannot be used.
	ConditionLocalState = "LOCAL_STATE_UNUSABLE"
	// ConditionNotProgrammed: a driver could not apply an object.
	ConditionNotProgrammed = "NOT_PROGRAMMED"
	// ConditionRefusedByHost: the host's agent could not take the object over as it is; what it was before is in force.
	ConditionRefusedByHost = "REFUSED_BY_HOST"
)
