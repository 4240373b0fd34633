package lab

// Outer and inner addresses of Site2Cloud.
const (
	GatewayA  = "198.51.100.1"
	GatewayB  = "198.51.100.2"
	Customer1 = "203.0.113.1"
	Customer2 = "203.0.113.2"

	GatewayA6  = "2001:db8:100::1"
	GatewayB6  = "2001:db8:100::2"
	Customer16 = "2001:db8:113::1"
	Customer26 = "2001:db8:113::2"

	VPCRouter    = "10.0.255.1" // on the network it shares with the gateways
	VPCGatewayA  = "10.0.255.2"
	VPCGatewayB  = "10.0.255.3"
	VPCHost      = "10.0.0.10"
	VPCPrefix    = "10.0.0.0/16"
	CustomerLAN  = "172.16.0.0/24"
	CustomerHost = "172.16.0.10"

	CustomerLAN1 = "172.16.0.1" // cust-1's address in the LAN
	CustomerLAN2 = "172.16.0.2"
)

// Site2CloudOptions change the topology.
type Site2CloudOptions struct {
	// SingleGateway puts both cloud addresses on gw-a; there is no gw-b then.
	SingleGateway bool
	// SingleCustomer puts both customer addresses on cust-1; there is no cust-2 then.
	SingleCustomer bool
}

// Site2Cloud is a customer's site on the left and a VPC on the right, with an internet between them:
//
//	                cust-1 203.0.113.1 ─┐            ┌─ gw-a 198.51.100.1 ─┐
//	cust-host ─LAN─┤                    ├─ internet ─┤                     ├─ vpc-router ─ vpc-host
//	                cust-2 203.0.113.2 ─┘            └─ gw-b 198.51.100.2 ─┘
//
// The interface to the internet is eth0 of gateways and customers; vpc0 leads to the VPC, lan0 to the customer's LAN.
// Tunnels, daemons and the routes through tunnels are the scenario's: see CustomerVia and VPCVia for static ones.
type Site2Cloud struct {
	Lab                        *Lab
	Internet                   *Host
	GatewayA, GatewayB         *Host // GatewayB is nil with SingleGateway
	VPCRouter, VPCHost         *Host
	Customer1, Customer2       *Host // Customer2 is nil with SingleCustomer
	CustomerHost               *Host
	WireA, WireB, Wire1, Wire2 *Wire // to the internet of GatewayA, GatewayB, Customer1, Customer2
	VPCWireA, VPCWireB         *Wire // of the gateways to the VPC router
	LANWire1, LANWire2         *Wire // of the customer routers to the LAN
}

// Site2Cloud builds the topology, with IPv4 and IPv6 outside and IPv4 inside.
func (l *Lab) Site2Cloud(o Site2CloudOptions) *Site2Cloud {
	l.t.Helper()
	s := &Site2Cloud{
		Lab: l, Internet: l.Host("internet"), GatewayA: l.Host("gw-a"), VPCRouter: l.Host("vpc-router"),
		VPCHost: l.Host("vpc-host"), Customer1: l.Host("cust-1"), CustomerHost: l.Host("cust-host"),
	}
	s.Internet.Forward()
	s.Internet.Bridge("cloud")
	s.Internet.Address("cloud", "198.51.100.254/24", "2001:db8:100::fe/64")
	s.Internet.Bridge("edge")
	s.Internet.Address("edge", "203.0.113.254/24", "2001:db8:113::fe/64")

	s.VPCRouter.Forward()
	s.VPCRouter.Bridge("gateways")
	s.VPCRouter.Address("gateways", VPCRouter+"/24")
	l.Wire(s.VPCHost, "eth0", s.VPCRouter, "hosts", WireOptions{A: []string{VPCHost + "/24"}, B: []string{"10.0.0.1/24"}})
	s.VPCHost.Route("default", "10.0.0.1")

	s.CustomerHost.Sysctl("net.ipv4.fib_multipath_hash_policy", "1")
	s.CustomerHost.Bridge("lan0")
	s.CustomerHost.Address("lan0", CustomerHost+"/24")

	s.gateways(o.SingleGateway)
	s.customers(o.SingleCustomer)
	return s
}

func (s *Site2Cloud) gateways(single bool) {
	s.Lab.t.Helper()
	s.WireA = s.uplink(s.GatewayA, "cloud", GatewayA, GatewayA6)
	s.VPCWireA = s.toVPC(s.GatewayA, VPCGatewayA)
	if single {
		s.GatewayA.Address("eth0", GatewayB+"/24", GatewayB6+"/64")
		return
	}
	s.GatewayB = s.Lab.Host("gw-b")
	s.WireB = s.uplink(s.GatewayB, "cloud", GatewayB, GatewayB6)
	s.VPCWireB = s.toVPC(s.GatewayB, VPCGatewayB)
}

func (s *Site2Cloud) customers(single bool) {
	s.Lab.t.Helper()
	s.Wire1 = s.uplink(s.Customer1, "edge", Customer1, Customer16)
	s.LANWire1 = s.toLAN(s.Customer1, CustomerLAN1)
	if single {
		s.Customer1.Address("eth0", Customer2+"/24", Customer26+"/64")
		return
	}
	s.Customer2 = s.Lab.Host("cust-2")
	s.Wire2 = s.uplink(s.Customer2, "edge", Customer2, Customer26)
	s.LANWire2 = s.toLAN(s.Customer2, CustomerLAN2)
}

// uplink gives a router its addresses in one of the internet's two networks.
func (s *Site2Cloud) uplink(h *Host, network, v4, v6 string) *Wire {
	s.Lab.t.Helper()
	h.Forward()
	w := s.Lab.Wire(h, "eth0", s.Internet, h.name, WireOptions{A: []string{v4 + "/24", v6 + "/64"}})
	s.Internet.Enslave(h.name, network)
	router4, router6 := "198.51.100.254", "2001:db8:100::fe"
	if network == "edge" {
		router4, router6 = "203.0.113.254", "2001:db8:113::fe"
	}
	h.Route("default", router4)
	h.Route("default", router6)
	return w
}

func (s *Site2Cloud) toVPC(h *Host, address string) *Wire {
	s.Lab.t.Helper()
	w := s.Lab.Wire(h, "vpc0", s.VPCRouter, h.name, WireOptions{A: []string{address + "/24"}})
	s.VPCRouter.Enslave(h.name, "gateways")
	return w
}

func (s *Site2Cloud) toLAN(h *Host, address string) *Wire {
	s.Lab.t.Helper()
	w := s.Lab.Wire(h, "lan0", s.CustomerHost, h.name, WireOptions{A: []string{address + "/24"}})
	s.CustomerHost.Enslave(h.name, "lan0")
	return w
}

// CustomerVia makes cust-host reach the VPC through these routers, CustomerLAN1 and CustomerLAN2 for example.
func (s *Site2Cloud) CustomerVia(routers ...string) {
	s.Lab.t.Helper()
	s.CustomerHost.Route(VPCPrefix, routers...)
}

// VPCVia makes vpc-router reach the customer's LAN through these gateways, VPCGatewayA and VPCGatewayB for example. It
// is for scenarios without BGP between the two.
func (s *Site2Cloud) VPCVia(gateways ...string) {
	s.Lab.t.Helper()
	s.VPCRouter.Route(CustomerLAN, gateways...)
}

// VPCBIRD starts the fabric's BIRD on vpc-router, with one session to every gateway (protocols gw_a and gw_b). It
// announces the VPC's prefix and routes to the customers as the gateways announce them.
func (s *Site2Cloud) VPCBIRD(asn, gatewayASN uint32) *BIRD {
	s.Lab.t.Helper()
	conf := BIRDConf{RouterID: VPCRouter, ASN: asn, Announce: []string{VPCPrefix}, Peers: []BIRDPeer{
		{Name: "gw_a", Local: VPCRouter, Address: VPCGatewayA, ASN: gatewayASN},
	}}
	if s.GatewayB != nil {
		conf.Peers = append(conf.Peers, BIRDPeer{Name: "gw_b", Local: VPCRouter, Address: VPCGatewayB, ASN: gatewayASN})
	}
	return s.VPCRouter.BIRD(conf.String())
}
