package ctl_test

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// now is the moment of all questions: three minutes and twelve seconds after the tunnels came up.
func now() time.Time { return time.Date(2026, 11, 22, 18, 3, 12, 0, time.UTC) }

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now().Add(-d)) }

func connection() *apiv1.VPNConnection {
	return &apiv1.VPNConnection{Kind: "VPNConnection", Name: "shop-idc", Spec: &apiv1.VPNConnectionSpec{
		Description: "shop's data centre", BorderGateway: "shop-prod", CustomerGateway: "shop-idc", Routing: "BGP",
		CloudAddresses: []string{"198.51.100.1", "198.51.100.2"},
	}}
}

func customer() *apiv1.CustomerGateway {
	return &apiv1.CustomerGateway{Kind: "CustomerGateway", Name: "shop-idc", Spec: &apiv1.CustomerGatewaySpec{
		Asn: 65010, Addresses: []string{"203.0.113.1", "203.0.113.2"},
	}}
}

func spec1() *apiv1.VPNTunnelSpec {
	return &apiv1.VPNTunnelSpec{
		Connection: "shop-idc", CloudAddress: "198.51.100.1", CustomerAddress: "203.0.113.1", AdminState: "UP",
		Inside: &apiv1.Inside{Cloud: "169.254.10.1/30", Customer: "169.254.10.2"},
		Psk:    &apiv1.SecretSource{File: "/etc/bordergw/secrets/shop-idc-1"},
		Ike:    &apiv1.IKE{Version: 2, Proposals: []string{"aes256gcm16-prfsha384-ecp384"}, Lifetime: durationpb.New(8 * time.Hour)},
		Bgp:    &apiv1.BGP{Password: &apiv1.SecretSource{Env: "SHOP_MD5"}, Med: proto.Uint32(0)},
	}
}

func spec2() *apiv1.VPNTunnelSpec {
	return &apiv1.VPNTunnelSpec{
		Connection: "shop-idc", CloudAddress: "198.51.100.2", CustomerAddress: "203.0.113.2", AdminState: "UP",
		Inside: &apiv1.Inside{Cloud: "169.254.10.5/30", Customer: "169.254.10.6"},
		// The value was taken out by the agent.
		Psk: &apiv1.SecretSource{},
	}
}

func statusUp(host string) *apiv1.VPNTunnelStatus {
	return &apiv1.VPNTunnelStatus{
		Admin: "UP", Running: "UP", Since: ago(3*time.Minute + 12*time.Second - 400*time.Millisecond), Host: host,
		Ike: "ESTABLISHED", Child: "INSTALLED", Interface: "UP", Bgp: "ESTABLISHED", Probe: "PASSING",
		InterfaceName: "bgwx00000c", IfId: 12, Mtu: 1434,
		ChildSas: []*apiv1.ChildSA{{
			UniqueId: 7, IkeUniqueId: 3, State: "INSTALLED", SpiIn: "c1a2b3c4", SpiOut: "0d0e0f10", Suite: "AES_GCM_16-256/ECP_384", Installed: ago(3 * time.Minute),
		}},
		Negotiated: &apiv1.Negotiated{
			IkeVersion: 2, IkeSuite: "AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384", EspSuite: "AES_GCM_16-256/ECP_384",
			LocalId: "198.51.100.1", RemoteId: "203.0.113.1", RemoteEndpoint: "203.0.113.1:4500", NatT: true,
		},
		Counters: &apiv1.Counters{
			BytesIn: 1 << 40, BytesOut: 9_007_199_254_740_993, PacketsIn: 1_000_000, PacketsOut: 2_000_000,
			WireBytesIn: new(uint64(1_200_000)), WireBytesOut: new(uint64(900)), WirePacketsIn: new(uint64(1_000_001)), WirePacketsOut: new(uint64(3)),
			Establishments: 2, Rekeys: 5, Failures: map[string]uint64{"PROBE_FAILED": 1, "DPD_TIMEOUT": 2},
			ProbeRtt: durationpb.New(1234567 * time.Nanosecond), ProbesSent: 500, ProbesLost: 1,
		},
		BgpSession: &apiv1.BGPSession{
			State: "ESTABLISHED", LocalAddress: "169.254.10.1", PeerAddress: "169.254.10.2", LocalAsn: 65000, PeerAsn: 65010, Since: ago(3 * time.Minute),
			PrefixesReceived: 5, PrefixesAccepted: 4, PrefixesAnnounced: 1, Message: "hold timer expired", Refused: map[string]uint32{"MARTIAN": 2, "AS_LOOP": 1}, LimitExceeded: 1,
		},
		Bfd: "UP", BfdSession: &apiv1.BFDSession{State: "UP", PeerState: "UP", Armed: true, Detection: durationpb.New(900 * time.Millisecond)},
		Conditions: []*apiv1.Condition{{
			Type: "WEAK_PROPOSAL", Message: "modp1024 is weak", Since: ago(49 * time.Hour), Object: "VPNTunnel/shop-idc-1",
		}},
	}
}

// statusDown carries a message as a hostile peer could cause it.
func statusDown(host string) *apiv1.VPNTunnelStatus {
	return &apiv1.VPNTunnelStatus{
		Admin: "UP", Running: "DOWN", Reason: "AUTHENTICATION_FAILED", Message: "peer \"203.0.113.2\x1b[2J\" refused <our> key",
		Since: ago(90 * time.Second), Host: host, Ike: "CONNECTING", Child: "DOWN", Interface: "UP", Bgp: "IDLE", Probe: "WAITING",
		InterfaceName: "bgwx00000d", IfId: 13, Mtu: 1434, Counters: &apiv1.Counters{},
	}
}

// viewA is the host that owns shop-idc-1.
func viewA() *status.View {
	c := connection()
	c.Status = &apiv1.VPNConnectionStatus{
		Availability: "NOT_HIGHLY_AVAILABLE", Reasons: []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, Messages: []string{"no tunnel is UP on 198.51.100.2"},
		Since: ago(10 * time.Minute), TunnelsUp: 1, Tunnels: 2, OneMoreFailure: []string{"Losing shop-idc-1 stops all traffic."},
	}
	t1 := &apiv1.VPNTunnel{Kind: "VPNTunnel", Name: "shop-idc-1", Spec: spec1(), Status: statusUp("gw-a")}
	return &status.View{
		Host: &apiv1.GetHostResponse{
			Host: "gw-a", Version: "v1.2.3", Addresses: []string{"198.51.100.1"}, CharonVersion: "5.9.8", CharonConnected: true, Ready: true, Started: ago(26 * time.Hour),
			Source: &apiv1.SourceStatus{
				Source: "file:/etc/bordergw/manifests.d", Generation: 7, Accepted: ago(time.Hour), Refused: ago(time.Minute),
				Findings: []*apiv1.Finding{
					{File: "shop.yaml", Line: 12, Object: "VPNTunnel/shop-idc-1", Field: "spec.mtu", Message: "must be at least 576"},
					{Object: "VPNTunnel/shop-idc-2", Message: "modp1024 is weak", Warning: true},
				},
			},
		},
		Gateways: []*apiv1.BorderGateway{{
			Name: "shop-prod",
			Spec: &apiv1.BorderGatewaySpec{Asn: 65000, Attachments: []*apiv1.Attachment{{
				Name: "vpc-a", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"},
				Peer: &apiv1.AttachmentPeer{Address: "10.0.255.1", Asn: 64999, Password: &apiv1.SecretSource{Sealed: []byte("sealed-bytes")}},
			}}},
			Status: &apiv1.BorderGatewayStatus{
				Host: "gw-a", Vrf: "bgwv000001", Table: 2001, Programmed: true, Connections: 1, Tunnels: 1, TunnelsUp: 1, Routes: 2,
				Conditions:  []*apiv1.Condition{{Type: "CONFLICT", Object: "route/10.9.0.0/16", Message: "a foreign route is in the way", Since: ago(time.Hour)}},
				Attachments: []*apiv1.AttachmentStatus{{Name: "vpc-a", Interface: "UP", Bgp: "ESTABLISHED"}},
			},
		}},
		Connections: []*apiv1.ConnectionView{{
			Connection: c, CustomerGateway: customer(), Tunnels: []*apiv1.VPNTunnel{t1, {Kind: "VPNTunnel", Name: "shop-idc-2", Spec: spec2()}},
		}},
		Tunnels: []*apiv1.VPNTunnel{t1},
		Routes: []*apiv1.Route{
			{Gateway: "shop-prod", Prefix: "10.0.0.0/16", Type: "ATTACHMENT", Source: "ATTACHMENT", Target: "vpc-a", Host: "gw-a", Installed: true,
				NextHops: []*apiv1.NextHop{{Interface: "vpc0", Address: "10.0.255.1"}}},
			{Gateway: "shop-prod", Prefix: "172.16.0.0/16", Type: "CONNECTION", Source: "BGP", Target: "shop-idc", Host: "gw-a", Installed: true,
				NextHops: []*apiv1.NextHop{{Tunnel: "shop-idc-1", Interface: "bgwx00000c"}}, AsPath: []uint32{65010, 65011}},
			{Gateway: "shop-prod", Prefix: "9.0.0.0/8", Type: "CONNECTION", Source: "STATIC", Target: "shop-idc", Host: "gw-a", Message: "no tunnel is UP"},
		},
		Logs: map[string][]*apiv1.LogEntry{"shop-idc-1": {
			{Time: ago(3*time.Minute + 13*time.Second), Message: "IKE_SA_INIT request 0 sent"}, {Time: ago(3*time.Minute + 12*time.Second), Message: "IKE_AUTH response 1 received"},
		}},
	}
}

// viewB is the host that owns shop-idc-2, in the given state.
func viewB(st *apiv1.VPNTunnelStatus) *status.View {
	c := connection()
	c.Status = &apiv1.VPNConnectionStatus{
		Availability: "NOT_HIGHLY_AVAILABLE", Reasons: []string{"NO_TUNNEL_UP_ON_CLOUD_ADDRESS"}, Since: ago(20 * time.Minute), Tunnels: 2,
	}
	t2 := &apiv1.VPNTunnel{Kind: "VPNTunnel", Name: "shop-idc-2", Spec: spec2(), Status: st}
	return &status.View{
		Host:     &apiv1.GetHostResponse{Host: "gw-b", Addresses: []string{"198.51.100.2"}},
		Gateways: []*apiv1.BorderGateway{{Name: "shop-prod", Spec: &apiv1.BorderGatewaySpec{Asn: 65000}, Status: &apiv1.BorderGatewayStatus{Host: "gw-b"}}},
		Connections: []*apiv1.ConnectionView{{
			Connection: c, CustomerGateway: customer(), Tunnels: []*apiv1.VPNTunnel{{Kind: "VPNTunnel", Name: "shop-idc-1", Spec: spec1()}, t2},
		}},
		Tunnels: []*apiv1.VPNTunnel{t2},
		Routes:  []*apiv1.Route{{Gateway: "shop-prod", Prefix: "10.0.0.0/16", Type: "ATTACHMENT", Source: "ATTACHMENT", Target: "vpc-a", Host: "gw-b", Installed: true}},
	}
}
