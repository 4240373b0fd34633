package apiv1_test

import (
	"strings"
	"testing"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
	"google.golang.org/protobuf/proto"
)

func tunnel(f func(*apiv1.VPNTunnelSpec)) func(*apiv1.Set) {
	return func(s *apiv1.Set) { f(s.Tunnels["t2"].Spec) }
}

func TestConnectionRules(t *testing.T) {
	const c = "VPNConnection/shop-idc: "
	connection := func(f func(*apiv1.VPNConnectionSpec)) func(*apiv1.Set) {
		return func(s *apiv1.Set) { f(s.Connections["shop-idc"].Spec) }
	}
	testRules(t, []rule{
		{name: "no routing", breach: connection(func(c *apiv1.VPNConnectionSpec) { c.Routing = "" }),
			want: []string{c + "spec.routing: is required: STATIC or BGP"}},
		{name: "unknown routing", breach: connection(func(c *apiv1.VPNConnectionSpec) { c.Routing = "OSPF" }),
			want: []string{c + `spec.routing: must be STATIC or BGP, not "OSPF"`}},
		{name: "no border gateway", breach: func(s *apiv1.Set) {
			s.BorderGateways["shop"].Spec.StaticRoutes = nil
			s.Connections["shop-idc"].Spec.BorderGateway = ""
		}, want: []string{c + "spec.borderGateway: is required: the name of a BorderGateway"}},
		{name: "unknown customer gateway", breach: connection(func(c *apiv1.VPNConnectionSpec) { c.CustomerGateway = "x" }),
			want: []string{c + `spec.customerGateway: there is no CustomerGateway "x"`}},
		{name: "BGP without AS number", breach: func(s *apiv1.Set) { s.CustomerGateways["idc"].Spec.Asn = 0 },
			want: []string{c + `spec.routing: BGP needs an AS number: CustomerGateway "idc" has none`}},
		{name: "BGP with one AS number", breach: func(s *apiv1.Set) { s.CustomerGateways["idc"].Spec.Asn = 65000 },
			want: []string{c + `spec.routing: BGP needs different AS numbers: BorderGateway "shop" and CustomerGateway "idc" both have 65000`}},
		{name: "static without AS number", breach: func(s *apiv1.Set) {
			s.CustomerGateways["idc"].Spec.Asn = 0
			s.Connections["shop-idc"].Spec.Routing = apiv1.RoutingStatic
		}},
		{name: "three cloud addresses", breach: connection(func(c *apiv1.VPNConnectionSpec) { c.CloudAddresses = append(c.CloudAddresses, "198.51.100.3") }),
			want: []string{c + "spec.cloudAddresses: are too many: at most 2, there are 3"}},
		{name: "no cloud address", breach: func(s *apiv1.Set) { s.Connections["shop-idc"].Spec.CloudAddresses = nil; clear(s.Tunnels) },
			want: []string{c + "spec.cloudAddresses: is required: 1 to 2 addresses"}},
		{name: "one address twice", breach: func(s *apiv1.Set) {
			s.Connections["shop-idc"].Spec.CloudAddresses[1] = "198.51.100.1"
			delete(s.Tunnels, "t2")
		}, want: []string{c + "spec.cloudAddresses[1]: is the same as cloudAddresses[0]"}},
		{name: "cloud address of the customer", breach: func(s *apiv1.Set) {
			s.CustomerGateways["idc"].Spec.Addresses[1] = "198.51.100.2"
			delete(s.Tunnels, "t2")
		},
			want: []string{c + `spec.cloudAddresses[1]: 198.51.100.2 is also an address of CustomerGateway "idc"`}},
	})
}

func TestTunnelAddressRules(t *testing.T) {
	const o = "VPNTunnel/t2: "
	inside := func(cloud, customer string) func(*apiv1.Set) {
		return tunnel(func(t *apiv1.VPNTunnelSpec) { t.Inside = &apiv1.Inside{Cloud: cloud, Customer: customer} })
	}
	testRules(t, []rule{
		{name: "unknown connection", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Connection = "x" }),
			want: []string{o + `spec.connection: there is no VPNConnection "x"`}},
		{name: "cloud address of no connection", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.CloudAddress = "198.51.100.3" }),
			want: []string{o + `spec.cloudAddress: 198.51.100.3 is not a cloud address of VPNConnection "shop-idc" (198.51.100.1, 198.51.100.2)`}},
		{name: "customer address of no gateway", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.CustomerAddress = "203.0.113.3" }),
			want: []string{o + `spec.customerAddress: 203.0.113.3 is not an address of CustomerGateway "idc" (203.0.113.1, 203.0.113.2)`}},
		{name: "no addresses", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.CloudAddress, t.CustomerAddress = "", "" }),
			want: []string{o + "spec.cloudAddress: is required", o + "spec.customerAddress: is required"}},
		{name: "two families", breach: func(s *apiv1.Set) {
			s.CustomerGateways["idc"].Spec.Addresses[1] = "2001:db8::1"
			s.Tunnels["t2"].Spec.CustomerAddress = "2001:db8::1"
		}, want: []string{o + "spec.customerAddress: must be of the family of cloudAddress (198.51.100.2), not 2001:db8::1"}},
		{name: "IPv6 outside", breach: func(s *apiv1.Set) {
			s.CustomerGateways["idc"].Spec.Addresses[1] = "2001:db8::1"
			s.Connections["shop-idc"].Spec.CloudAddresses[1] = "2001:db8:1::1"
			s.Tunnels["t2"].Spec.CustomerAddress, s.Tunnels["t2"].Spec.CloudAddress = "2001:db8::1", "2001:db8:1::1"
		}},
		{name: "one pair twice", breach: func(s *apiv1.Set) {
			addTunnel(s, "t3", "shop-idc", "198.51.100.2", "203.0.113.2", "169.254.10.9/30", "169.254.10.10").Spec.RemoteId = "other"
		}, want: []string{`VPNTunnel/t3: spec.customerAddress: VPNTunnel "t2" already joins 198.51.100.2 and 203.0.113.2 in VPNConnection "shop-idc"`}},
		{name: "all four pairs", breach: func(s *apiv1.Set) {
			addTunnel(s, "t3", "shop-idc", "198.51.100.2", "203.0.113.1", "169.254.10.9/30", "169.254.10.10")
			addTunnel(s, "t4", "shop-idc", "198.51.100.1", "203.0.113.2", "169.254.10.13/30", "169.254.10.14")
		}},

		{name: "no inside with a controller", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Inside = nil })},
		{name: "no inside in manifests", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Inside = nil }), opts: apiv1.AdmitOptions{Manifests: true},
			want: []string{o + "spec.inside: is required: the tunnel's own addresses at both ends"}},
		{name: "empty inside", breach: inside("", ""), want: []string{o + "spec.inside.cloud: is required", o + "spec.inside.customer: is required"}},
		{name: "no prefix length", breach: inside("169.254.10.5", "169.254.10.6"),
			want: []string{o + `spec.inside.cloud: must have a prefix length, as in 169.254.10.1/30, not "169.254.10.5"`}},
		{name: "nonsense", breach: inside("a/30", "169.254.10.6"),
			want: []string{o + `spec.inside.cloud: must be an address with a prefix length, as in 169.254.10.1/30, not "a/30"`}},
		{name: "prefix length at the customer", breach: inside("169.254.10.5/30", "169.254.10.6/30"),
			want: []string{o + `spec.inside.customer: must be an address without prefix length, not "169.254.10.6/30"`}},
		{name: "/29", breach: inside("169.254.10.9/29", "169.254.10.10"), want: []string{o + "spec.inside.cloud: must be a /30 or /31, not /29"}},
		{name: "/64", breach: inside("2001:db8::1/64", "2001:db8::2"), want: []string{o + "spec.inside.cloud: must be a /126 or /127, not /64"}},
		{name: "/31", breach: inside("169.254.10.4/31", "169.254.10.5")},
		{name: "/126", breach: inside("2001:db8::1/126", "2001:db8::2")},
		{name: "/127", breach: inside("2001:db8::/127", "2001:db8::1")},
		{name: "outside the pool", breach: inside("192.168.7.1/30", "192.168.7.2")},
		{name: "network address", breach: inside("169.254.10.4/30", "169.254.10.6"),
			want: []string{o + "spec.inside.cloud: 169.254.10.4 is the network address of 169.254.10.4/30"}},
		{name: "broadcast address", breach: inside("169.254.10.5/30", "169.254.10.7"),
			want: []string{o + "spec.inside.customer: 169.254.10.7 is the broadcast address of 169.254.10.4/30"}},
		{name: "anycast address", breach: inside("2001:db8::1/126", "2001:db8::"),
			want: []string{o + "spec.inside.customer: 2001:db8:: is the anycast address of 2001:db8::/126"}},
		{name: "two prefixes", breach: inside("169.254.10.5/30", "169.254.10.9"),
			want: []string{o + "spec.inside.customer: 169.254.10.9 is not in 169.254.10.4/30, the prefix of inside.cloud"}},
		{name: "one address", breach: inside("169.254.10.5/30", "169.254.10.5"), want: []string{o + "spec.inside.customer: must differ from inside.cloud"}},
		{name: "multicast inside", breach: inside("224.0.0.1/30", "224.0.0.2"), want: []string{
			o + "spec.inside.cloud: must be a unicast address that can be routed, not 224.0.0.1",
			o + "spec.inside.customer: must be a unicast address, not 224.0.0.2",
		}},
		{name: "not canonical", breach: inside("2001:DB8::1/126", "2001:db8::2"), want: []string{o + "spec.inside.cloud: must be written in canonical form: 2001:db8::1/126"}},
		{name: "mapped", breach: inside("::ffff:169.254.10.5/126", "169.254.10.6"), want: []string{o + "spec.inside.cloud: must be written as IPv4, not ::ffff:169.254.10.5/126"}},
		{name: "overlap", breach: inside("169.254.10.2/31", "169.254.10.3"),
			want: []string{o + `spec.inside.cloud: 169.254.10.2/31 overlaps 169.254.10.0/30 of VPNTunnel "t1" in the same BorderGateway`}},
	})
}

func TestIdentityRules(t *testing.T) {
	const o = "VPNTunnel/t2: "
	id := func(text string) func(*apiv1.Set) { return tunnel(func(t *apiv1.VPNTunnelSpec) { t.RemoteId = text }) }
	both := apiv1.AdmitOptions{Owns: owns("198.51.100.1", "198.51.100.2")}
	sameDevice := func(s *apiv1.Set) {
		s.Tunnels["t2"].Spec.CustomerAddress, s.Tunnels["t2"].Spec.RemoteId = "203.0.113.1", "203.0.113.1"
	}
	testRules(t, []rule{
		{name: "FQDN", breach: id("vpn.example.com")},
		{name: "single label", breach: id("branch_7")},
		{name: "keyid", breach: id("keyid:A1b2")},
		{name: "private address behind NAT", breach: id("10.1.1.1")},
		{name: "any", breach: id("%any"), want: []string{o + `spec.remoteId: must be an address, a host name or keyid:TEXT, not "%any"`}},
		{name: "wildcard", breach: id("*.example.com"), want: []string{o + `spec.remoteId: must be an address, a host name or keyid:TEXT, not "*.example.com"`}},
		{name: "digits", breach: id("10.1.1"), want: []string{o + `spec.remoteId: must be an address, a host name or keyid:TEXT, not "10.1.1"`}},
		{name: "empty keyid", breach: id("keyid:"), want: []string{o + "spec.remoteId: keyid: must be followed by 1 to 255 printable characters without blanks"}},
		{name: "address not canonical", breach: id("2001:DB8::1"), want: []string{o + "spec.remoteId: must be written in canonical form: 2001:db8::1"}},

		{name: "same identities on two hosts", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.LocalId, t.RemoteId = "gw", "branch" })},
		{name: "same identities on one host", breach: func(s *apiv1.Set) {
			s.Tunnels["t1"].Spec.LocalId, s.Tunnels["t1"].Spec.RemoteId = "gw.example.com", "branch"
			s.Tunnels["t2"].Spec.LocalId, s.Tunnels["t2"].Spec.RemoteId = "GW.example.com", "Branch"
		}, opts: both, want: []string{o + `spec.remoteId: localId gw.example.com and remoteId branch are already those of VPNTunnel "t1" on this host`}},
		{name: "same identities on one cloud address", breach: func(s *apiv1.Set) {
			addTenant(s)
			s.Tunnels["b1"].Spec.RemoteId = "203.0.113.1"
		}, want: []string{`VPNTunnel/t1: spec.remoteId: localId 198.51.100.1 and remoteId 203.0.113.1 are already those of VPNTunnel "b1" on cloud address 198.51.100.1`}},
		{name: "shared remote identity, different addresses", breach: id("203.0.113.1"), opts: both},
		{name: "shared remote identity and address, different keys, one host", breach: sameDevice, opts: both, want: []string{
			o + `spec.remoteId: VPNTunnel "t1" on this host has remoteId 203.0.113.1 and customerAddress 203.0.113.1 too, but another key: give both the same key, or each its own remoteId`,
		}},
		{name: "shared remote identity and address, different keys, two hosts", breach: sameDevice},
		{name: "shared remote identity and address, one key", breach: func(s *apiv1.Set) { sameDevice(s); s.SetPSK("t2", s.PSK("t1")) }, opts: both},
		{name: "shared remote identity and address, keys not read", breach: func(s *apiv1.Set) { sameDevice(s); s.SetPSK("t2", secret.Secret{}) }, opts: both},
		{name: "IKEv1 between addresses in use", breach: func(s *apiv1.Set) {
			addTenant(s)
			s.CustomerGateways["branch"].Spec.Addresses[0] = "203.0.113.1"
			b := s.Tunnels["b1"].Spec
			b.CustomerAddress, b.RemoteId = "203.0.113.1", "bank-branch"
			b.Ike.Version, b.Ike.Mode, b.Ike.Proposals = 1, apiv1.IKEModeMain, apiv1.DefaultIKEProposals(1)
		}, want: []string{`VPNTunnel/t1: spec.ike.version: VPNTunnel "b1" joins the same two addresses: IKEv1 cannot tell the two apart`}},
	})
}

func TestSecretRules(t *testing.T) {
	const o = "VPNTunnel/t2: "
	psk := func(source *apiv1.SecretSource, key string) func(*apiv1.Set) {
		return func(s *apiv1.Set) { s.Tunnels["t2"].Spec.Psk = source; s.SetPSK("t2", secret.New(key)) }
	}
	const wording = o + "spec.psk: must be 8 to 64 printable characters"
	testRules(t, []rule{
		{name: "no key with a controller", breach: psk(nil, "")},
		{name: "no key in manifests", breach: psk(nil, ""), opts: apiv1.AdmitOptions{Manifests: true},
			want: []string{o + "spec.psk: is required: one of value, file, env and sealed"}},
		{name: "no source", breach: psk(&apiv1.SecretSource{}, ""), want: []string{o + "spec.psk: is required: one of value, file, env and sealed"}},
		{name: "two sources", breach: psk(&apiv1.SecretSource{File: "f", Env: "E"}, ""), want: []string{o + "spec.psk: must have exactly one of value, file, env and sealed"}},
		{name: "sealed", breach: psk(&apiv1.SecretSource{Sealed: []byte{1}}, "")},
		{name: "value that was read", breach: psk(&apiv1.SecretSource{}, "12345678")},
		{name: "7 characters", breach: psk(&apiv1.SecretSource{File: "f"}, "1234567"), want: []string{wording}},
		{name: "64 characters", breach: psk(&apiv1.SecretSource{File: "f"}, strings.Repeat("x", 64))},
		{name: "65 characters", breach: psk(&apiv1.SecretSource{File: "f"}, strings.Repeat("x", 65)), want: []string{wording}},
		{name: "control character", breach: psk(&apiv1.SecretSource{File: "f"}, "1234567\t"), want: []string{wording}},
		{name: "not ASCII", breach: psk(&apiv1.SecretSource{File: "f"}, "12345678é"), want: []string{wording}},
		{name: "BGP password without source", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Bgp.Password = &apiv1.SecretSource{} }),
			want: []string{o + "spec.bgp.password: must have exactly one of value, file, env and sealed"}},
		{name: "BGP password too long", breach: func(s *apiv1.Set) {
			s.Tunnels["t2"].Spec.Bgp.Password = &apiv1.SecretSource{File: "f"}
			s.SetBGPPassword("t2", secret.New(strings.Repeat("x", 81)))
		}, want: []string{o + "spec.bgp.password: must be 1 to 80 printable characters"}},
	})
}

func TestTunnelParameterRules(t *testing.T) {
	const o = "VPNTunnel/t2: "
	testRules(t, []rule{
		{name: "admin state", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.AdminState = "up" }), want: []string{o + `spec.adminState: must be UP or DOWN, not "up"`}},
		{name: "initiation", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Initiation = "START" }), want: []string{o + `spec.initiation: must be ALWAYS or RESPOND, not "START"`}},
		{name: "description", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Description = strings.Repeat("é", 257) }),
			want: []string{o + "spec.description: must be at most 256 characters without control characters"}},
		{name: "IKE version", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.Version = 3 }), want: []string{o + "spec.ike.version: must be 1 or 2, not 3"}},
		{name: "mode with IKEv2", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.Mode = apiv1.IKEModeMain }),
			want: []string{o + "spec.ike.mode: is for IKEv1 only: leave it out with ike.version 2"}},
		{name: "post-quantum word", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.PostQuantum = "ON" }),
			want: []string{o + `spec.ike.postQuantum: must be AUTO or REQUIRED or OFF, not "ON"`}},
		{name: "IKE lifetime", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.Lifetime = seconds(9) }), want: []string{o + "spec.ike.lifetime: must be between 10s and 168h, not 9s"}},
		{name: "fraction of a second", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.Lifetime = seconds(60.5) }), want: []string{o + "spec.ike.lifetime: must be a multiple of 1s, not 1m0.5s"}},
		{name: "ESP lifetime", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Esp.Lifetime = seconds(0) }), want: []string{o + "spec.esp.lifetime: must be between 10s and 168h, not 0s"}},
		{name: "ESP bytes", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Esp.LifetimeBytes = 1 }), want: []string{o + "spec.esp.lifetimeBytes: must be 0 (no limit) or at least 1048576, not 1"}},
		{name: "ESP packets", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Esp.LifetimePackets = 999 }), want: []string{o + "spec.esp.lifetimePackets: must be 0 (no limit) or at least 1000, not 999"}},
		{name: "pfs", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Esp.Pfs = "NO" }), want: []string{o + `spec.esp.pfs: must be REQUIRED or OPTIONAL, not "NO"`}},
		{name: "DPD", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Dpd.Interval, t.Dpd.Timeout = seconds(30), seconds(30) }),
			want: []string{o + "spec.dpd.timeout: must be longer than dpd.interval (30s), not 30s"}},
		{name: "DPD interval", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Dpd.Interval = seconds(0) }), want: []string{o + "spec.dpd.interval: must be between 1s and 2m, not 0s"}},
		{name: "DPD timeout", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Dpd.Timeout = seconds(121) }), want: []string{o + "spec.dpd.timeout: must be between 1s and 2m, not 2m1s"}},
		{name: "probe", breach: tunnel(func(t *apiv1.VPNTunnelSpec) {
			t.Probe.Mode, t.Probe.Interval, t.Probe.Failures = "YES", seconds(0.01), 101
		}), want: []string{
			o + `spec.probe.mode: must be AUTO or ON or OFF, not "YES"`,
			o + "spec.probe.interval: must be between 100ms and 1m, not 10ms",
			o + "spec.probe.failures: must be between 1 and 100, not 101",
		}},
		{name: "BGP timers", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Bgp.Keepalive, t.Bgp.Hold = seconds(3), seconds(2) }), want: []string{
			o + "spec.bgp.hold: must be between 3s and 18h12m15s, not 2s",
			o + "spec.bgp.hold: must be longer than bgp.keepalive (3s), not 2s",
		}},
		{name: "BFD", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Bgp.Bfd.Interval, t.Bgp.Bfd.Multiplier = seconds(0.01), 256 }), want: []string{
			o + "spec.bgp.bfd.interval: must be between 50ms and 1m, not 10ms",
			o + "spec.bgp.bfd.multiplier: must be between 1 and 255, not 256",
		}},
		{name: "BGP prefixes", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Bgp.MaxPrefixes = 301 }),
			want: []string{o + "spec.bgp.maxPrefixes: must be at most 300, the quota of BGP routes of a BorderGateway, not 301"}},
		{name: "more BGP prefixes with a larger quota", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Bgp.MaxPrefixes = 301 }),
			opts: apiv1.AdmitOptions{Quotas: apiv1.Quotas{BGPRoutesPerGateway: 1000}}},
		{name: "prepend", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Bgp.Prepend = 17 }), want: []string{o + "spec.bgp.prepend: must be between 0 and 16, not 17"}},
		{name: "mtu", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Mtu = 500 }), want: []string{o + "spec.mtu: must be between 576 and 9216 bytes, not 500"}},
		{name: "mtu with IPv6 inside", breach: tunnel(func(t *apiv1.VPNTunnelSpec) {
			t.Mtu, t.Inside = 1279, &apiv1.Inside{Cloud: "2001:db8::1/126", Customer: "2001:db8::2"}
		}), want: []string{o + "spec.mtu: must be between 1280 and 9216 bytes, not 1279"}},
		{name: "mss", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Mss = 100 }), want: []string{o + "spec.mss: must be between 536 and 9176 bytes, not 100"}},
		{name: "mss larger than mtu", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.Mtu, t.Mss = 1400, 1361 }), want: []string{o + "spec.mss: must be at most 1360 with mtu 1400, not 1361"}},
		{name: "replay window", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.ReplayWindow = proto.Uint32(4097) }),
			want: []string{o + "spec.replayWindow: must be between 0 and 4096 packets, not 4097"}},
		{name: "no replay protection", breach: tunnel(func(t *apiv1.VPNTunnelSpec) { t.ReplayWindow = proto.Uint32(0) }),
			want: []string{"warning: " + o + "spec.replayWindow: 0 switches replay protection off"}},
	})
}

func TestProposalRules(t *testing.T) {
	const o = "VPNTunnel/t2: "
	absent := apiv1.AdmitOptions{MLKEM: apiv1.CapabilityAbsent}
	required := tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.PostQuantum = apiv1.PostQuantumRequired })
	ike := func(proposals ...string) func(*apiv1.Set) {
		return tunnel(func(t *apiv1.VPNTunnelSpec) { t.Ike.Proposals = proposals })
	}
	esp := func(proposals ...string) func(*apiv1.Set) {
		return tunnel(func(t *apiv1.VPNTunnelSpec) { t.Esp.Proposals = proposals })
	}
	testRules(t, []rule{
		{name: "weak", breach: func(s *apiv1.Set) { ike("aes128-sha1-modp1024")(s); esp("3des-md5-modp1536")(s) }, want: []string{
			"warning: " + o + `spec.ike.proposals[0]: "aes128-sha1-modp1024" is weak (sha1, modp1024): use it only for a device that can do no better`,
			"warning: " + o + `spec.esp.proposals[0]: "3des-md5-modp1536" is weak (3des, md5, modp1536): use it only for a device that can do no better`,
		}},
		{name: "nonsense", breach: ike("aes256-sha256-modp2049"), want: []string{o + `spec.ike.proposals[0]: "aes256-sha256-modp2049": "modp2049" is not an algorithm`}},
		{name: "twice", breach: esp("aes256gcm16-ecp384", "aes256gcm16-ecp384"), want: []string{o + "spec.esp.proposals[1]: is the same as esp.proposals[0]"}},
		{name: "too many", breach: func(s *apiv1.Set) {
			var list []string
			for _, cipher := range []string{"aes128", "aes192", "aes256", "camellia128", "camellia256"} {
				for _, group := range []string{"modp2048", "modp3072", "ecp256", "ecp384"} {
					list = append(list, cipher+"-sha256-"+group)
				}
			}
			ike(list[:17]...)(s)
		}, want: []string{o + "spec.ike.proposals: are too many: at most 16, there are 17"}},
		{name: "no group although PFS is required", breach: esp("aes256gcm16"),
			want: []string{o + `spec.esp.proposals[0]: "aes256gcm16": allows no group although esp.pfs is REQUIRED: name a group, or set esp.pfs: OPTIONAL`}},
		{name: "none although PFS is required", breach: esp("aes256gcm16-ecp384-none"),
			want: []string{o + `spec.esp.proposals[0]: "aes256gcm16-ecp384-none": allows no group although esp.pfs is REQUIRED: name a group, or set esp.pfs: OPTIONAL`}},
		{name: "no group with optional PFS", breach: func(s *apiv1.Set) { esp("aes256gcm16")(s); s.Tunnels["t2"].Spec.Esp.Pfs = apiv1.PFSOptional }},

		{name: "required where nothing is known", breach: required},
		{name: "required where charon can", breach: required, opts: apiv1.AdmitOptions{MLKEM: apiv1.CapabilityPresent}},
		{name: "required where charon cannot", breach: required, opts: absent,
			want: []string{o + "spec.ike.postQuantum: REQUIRED cannot work here: charon has no ML-KEM (it needs strongSwan 6.0 with the plugin ml, or 6.0.2 with OpenSSL 3.5)"}},
		{name: "required on another host", breach: required, opts: apiv1.AdmitOptions{MLKEM: apiv1.CapabilityAbsent, Owns: owns("198.51.100.1")}},
		{name: "named where charon cannot", breach: ike("aes256gcm16-prfsha384-ecp384-ke1_mlkem768"), opts: absent,
			want: []string{o + `spec.ike.proposals[0]: "aes256gcm16-prfsha384-ecp384-ke1_mlkem768" cannot work here: charon has no ML-KEM (it needs strongSwan 6.0 with the plugin ml, or 6.0.2 with OpenSSL 3.5)`}},
		{name: "IKEv1", breach: tunnel(func(t *apiv1.VPNTunnelSpec) {
			t.Ike = &apiv1.IKE{Version: 1, PostQuantum: apiv1.PostQuantumRequired, Mode: apiv1.IKEModeAggressive}
			apiv1.DefaultTunnel(&apiv1.VPNTunnel{Spec: t})
			t.Ike.Proposals = append(t.Ike.Proposals, "aes256gcm16-prfsha384-ecp384")
		}), want: []string{
			"warning: " + o + "spec.ike.mode: AGGRESSIVE lets anybody who asks guess the key offline: use a long random one",
			o + "spec.ike.postQuantum: REQUIRED needs IKEv2",
			o + `spec.ike.proposals[2]: "aes256gcm16-prfsha384-ecp384": aes256gcm16: combined-mode ciphers need IKEv2`,
		}},
	})
}
