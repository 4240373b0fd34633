//go:build lab

package selftest

import (
	"errors"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// twoTunnels are gw-a to cust-1 and gw-b to cust-2, with static routes that use both.
func twoTunnels(t *testing.T) *lab.Site2Cloud {
	s := lab.New(t).Site2Cloud(lab.Site2CloudOptions{})
	var installed []func() error
	for _, x := range []struct {
		gw, cust                    *lab.Host
		cloud, customer             string
		insideCloud, insideCustomer string
	}{
		{s.GatewayA, s.Customer1, lab.GatewayA, lab.Customer1, "169.254.10.1/30", "169.254.10.2/30"},
		{s.GatewayB, s.Customer2, lab.GatewayB6, lab.Customer26, "169.254.10.5/30", "169.254.10.6/30"},
	} {
		cust, gw := x.cust.Charon(lab.CharonOptions{}), x.gw.Charon(lab.CharonOptions{})
		cust.Tunnel(lab.CustomerTunnel{Name: "t", Local: x.customer, Remote: x.cloud, PSK: "lab lab lab", IfID: 1, Inside: x.insideCustomer})
		gw.Tunnel(lab.CustomerTunnel{Name: "t", Local: x.cloud, Remote: x.customer, PSK: "lab lab lab", IfID: 1, Inside: x.insideCloud, Initiate: true})
		installed = append(installed, func() error { return gw.Installed("t") })
		x.cust.Route(lab.VPCPrefix, "xfrm1")
		x.gw.Route(lab.CustomerLAN, "xfrm1")
		x.gw.Route("10.0.0.0/24", lab.VPCRouter)
	}
	s.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	s.VPCVia(lab.VPCGatewayA, lab.VPCGatewayB)
	lab.Eventually(t, 30*time.Second, "both tunnels", func() error { return errors.Join(installed[0](), installed[1]()) })
	return s
}

func TestSite2CloudSpreadsFlowsAndSurvivesACut(t *testing.T) {
	s := twoTunnels(t)
	s.VPCHost.EchoServer(lab.ServerOptions{Address: lab.VPCHost})
	// Neighbours are resolved first: the kernel keeps only so many bytes for one that it does not know yet, and 64 flows at once are more.
	lab.Eventually(t, 30*time.Second, "some flows over both gateways", func() error {
		return s.CustomerHost.Flows(lab.FlowOptions{Dst: lab.VPCHost, N: 16, Timeout: time.Second}).Err
	})
	a, b := s.Internet.Sniff("gw-a", isESP), s.Internet.Sniff("gw-b", isESP)
	if r := s.CustomerHost.Flows(lab.FlowOptions{Dst: lab.VPCHost, N: 64, Rounds: 2}); r.Answered != 128 || r.Err != nil {
		t.Errorf("%+v", r)
	}
	viaA, err1 := a.Stop()
	viaB, err2 := b.Stop()
	if err := errors.Join(err1, err2); err != nil || viaA < 20 || viaB < 20 || viaA+viaB < 256 {
		t.Errorf("ESP packets: %d over gw-a, %d over gw-b, %v", viaA, viaB, err)
	}

	s.WireA.Cut()
	if r := s.CustomerHost.Flows(lab.FlowOptions{Dst: lab.VPCHost, N: 64, Timeout: 2 * time.Second}); r.Answered == 0 || r.Answered == 64 {
		t.Errorf("with one of two tunnels silently cut and both in use: %+v", r)
	}
	s.CustomerVia(lab.CustomerLAN2)
	s.VPCVia(lab.VPCGatewayB)
	if r := s.CustomerHost.Flows(lab.FlowOptions{Dst: lab.VPCHost, N: 64}); r.Answered != 64 {
		t.Errorf("moved to the other tunnel: %+v", r)
	}
}

func TestSite2CloudSingleHosts(t *testing.T) {
	s := lab.New(t).Site2Cloud(lab.Site2CloudOptions{SingleGateway: true, SingleCustomer: true})
	for _, src := range []string{lab.GatewayA, lab.GatewayB} {
		for _, dst := range []string{lab.Customer1, lab.Customer2} {
			if st := s.GatewayA.Ping(lab.PingOptions{Src: src, Dst: dst, Count: 2, Interval: 10 * time.Millisecond}).Wait(); st.Lost != 0 {
				t.Errorf("%s to %s: %v", src, dst, st)
			}
		}
	}
	if st := s.GatewayA.Ping(lab.PingOptions{Src: lab.GatewayB6, Dst: lab.Customer26, Count: 2, Interval: 10 * time.Millisecond}).Wait(); st.Lost != 0 {
		t.Errorf("IPv6: %v", st)
	}
}

// The fabric's BIRD and one in the gateway's VRF, over the network of the attachment.
func TestVPCBIRD(t *testing.T) {
	s := lab.New(t).Site2Cloud(lab.Site2CloudOptions{SingleGateway: true, SingleCustomer: true})
	s.GatewayA.VRF(vrf, vrfTable)
	s.GatewayA.Enslave("vpc0", vrf)
	fabric := s.VPCBIRD(64999, 65000)
	gw := s.GatewayA.BIRD(lab.BIRDConf{RouterID: lab.GatewayA, ASN: 65000, VRF: vrf, Table: vrfTable, Announce: []string{lab.CustomerLAN},
		Peers: []lab.BIRDPeer{{Name: "vpc", Local: lab.VPCGatewayA, Address: lab.VPCRouter, ASN: 64999, Interface: "vpc0"}}}.String())
	lab.Eventually(t, 30*time.Second, "the fabric's session", func() error {
		return errors.Join(fabric.Established("gw_a"), fabric.HasRoutes("gw_a", lab.CustomerLAN), gw.HasRoutes("vpc", lab.VPCPrefix))
	})
	if err := gw.Disable("vpc"); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 10*time.Second, "withdrawal", func() error { return fabric.HasRoutes("gw_a") })
}
