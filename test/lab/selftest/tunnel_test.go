//go:build lab

package selftest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

const (
	insideCloud    = "169.254.10.1"
	insideCustomer = "169.254.10.2"
	vrf            = "tenant"
	vrfTable       = 1001
)

// tunnel is one tunnel between gw-a, which has it in a VRF together with the VPC, and cust-1. charon stands on both
// sides, as the lab has no agent of its own.
type tunnel struct {
	*lab.Site2Cloud
	cloud, customer *lab.Charon
}

func newTunnel(t *testing.T) *tunnel {
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{})
	gw, cust := s.GatewayA, s.Customer1
	gw.VRF(vrf, vrfTable)
	gw.Enslave("vpc0", vrf)
	u := &tunnel{Site2Cloud: s, cloud: gw.Charon(lab.CharonOptions{}), customer: cust.Charon(lab.CharonOptions{})}
	u.customer.Tunnel(lab.CustomerTunnel{
		Name: "to-cloud", Local: lab.Customer1, Remote: lab.GatewayA, PSK: "a secret of the lab", IfID: 7,
		Interface: "xfrm0", Inside: insideCustomer + "/30",
	})
	u.cloud.Tunnel(lab.CustomerTunnel{
		Name: "to-customer", Local: lab.GatewayA, Remote: lab.Customer1, PSK: "a secret of the lab", IfID: 1,
		Interface: "xfrm0", Inside: insideCloud + "/30", VRF: vrf, Initiate: true,
	})
	u.installed(t)
	return u
}

func (u *tunnel) installed(t *testing.T) {
	t.Helper()
	took := lab.Eventually(t, 30*time.Second, "CHILD SAs on both sides", func() error {
		return errors.Join(u.cloud.Installed("to-customer"), u.customer.Installed("to-cloud"))
	})
	t.Logf("installed after %v", took)
}

// static routes through the tunnel, both ways.
func (u *tunnel) static() {
	u.GatewayA.RouteTable(vrfTable, lab.CustomerLAN, "xfrm0")
	u.GatewayA.RouteTable(vrfTable, lab.VPCPrefix, lab.VPCRouter+"%vpc0")
	u.Customer1.Route(lab.VPCPrefix, "xfrm0")
	u.CustomerVia(lab.CustomerLAN1)
	u.VPCVia(lab.VPCGatewayA)
}

func TestTunnelCarriesTrafficEncrypted(t *testing.T) {
	u := newTunnel(t)
	u.static()
	var esp, clear = u.Internet.Sniff("gw-a", isESP), u.Internet.Sniff("gw-a", isInner)
	inside := u.GatewayA.Ping(lab.PingOptions{Src: insideCloud, Dst: insideCustomer, Device: vrf, Interval: 20 * time.Millisecond, Count: 50}).Wait()
	if inside.Lost != 0 {
		t.Errorf("between the inside addresses: %v", inside)
	}
	endToEnd := u.CustomerHost.Ping(lab.PingOptions{Src: lab.CustomerHost, Dst: lab.VPCHost, Interval: 20 * time.Millisecond, Count: 50}).Wait()
	if endToEnd.Lost != 0 {
		t.Errorf("customer host to VPC host: %v", endToEnd)
	}
	u.VPCHost.EchoServer(lab.ServerOptions{Address: lab.VPCHost})
	for _, network := range []string{"udp", "tcp"} {
		r := u.CustomerHost.Flows(lab.FlowOptions{Dst: lab.VPCHost, Network: network, N: 20, Rounds: 3})
		if r.Answered != 60 || r.Err != nil {
			t.Errorf("%s flows: %+v", network, r)
		}
	}
	const size = 2 << 20
	bulk, err := u.CustomerHost.Bulk(lab.BulkOptions{Dst: lab.VPCHost, Bytes: size})
	if err != nil {
		t.Errorf("bulk: %v", err)
	}
	t.Logf("bulk: %+v, %.0f Mbit/s", bulk, bulk.BitsPerSecond(size)/1e6)
	encrypted, err1 := esp.Stop()
	cleartext, err2 := clear.Stop()
	if err := errors.Join(err1, err2); err != nil || encrypted < 200 || cleartext != 0 {
		t.Errorf("on the underlay: %d ESP packets, %d in clear, %v", encrypted, cleartext, err)
	}
	children, err := u.cloud.Children("INSTALLED")
	if err != nil || len(children) != 1 {
		t.Fatalf("%+v, %v", children, err)
	}
	if c := children[0]; c.EncrAlg != "AES_GCM_16" || c.IfIDIn != "00000001" || c.PacketsIn < 100 || c.BytesOut == 0 {
		t.Errorf("%+v", c)
	}
	peer, err := u.customer.Children("INSTALLED")
	if err != nil || len(peer) != 1 || peer[0].SPIIn != children[0].SPIOut || peer[0].SPIOut != children[0].SPIIn {
		t.Errorf("the two sides have different SPIs: %+v, %+v, %v", children, peer, err)
	}
}

func isESP(p lab.Packet) bool { return p.Protocol == lab.ESP }

func isInner(p lab.Packet) bool {
	return netip.MustParsePrefix("10.0.0.0/8").Contains(p.Dst) || netip.MustParsePrefix("172.16.0.0/12").Contains(p.Dst) ||
		netip.MustParsePrefix("169.254.0.0/16").Contains(p.Dst)
}

func TestOneWayLossOfESP(t *testing.T) {
	u := newTunnel(t)
	ping := func() lab.PingStats {
		return u.GatewayA.Ping(lab.PingOptions{Src: insideCloud, Dst: insideCustomer, Device: vrf, Interval: 20 * time.Millisecond, Count: 10, Grace: time.Second}).Wait()
	}
	drop := u.Internet.Drop(lab.DropMatch{Src: lab.Customer1, Dst: lab.GatewayA, Protocol: lab.ESP})
	if s := ping(); s.Received != 0 {
		t.Errorf("with the way back lost: %v", s)
	}
	children, err := u.customer.Children("INSTALLED")
	if err != nil || len(children) != 1 || children[0].PacketsIn != 10 {
		t.Errorf("the other way must stay open: %+v, %v", children, err)
	}
	if n := drop.Remove(); n != 10 {
		t.Errorf("dropped %d packets, want 10", n)
	}
	if s := ping(); s.Lost != 0 {
		t.Errorf("restored: %v", s)
	}
}

func TestBIRDOverTunnelAndKilledDaemons(t *testing.T) {
	u := newTunnel(t)
	cust := u.Customer1.BIRD(lab.BIRDConf{RouterID: "203.0.113.1", ASN: 65010, Announce: []string{lab.CustomerLAN},
		Peers: []lab.BIRDPeer{{Name: "cloud", Local: insideCustomer, Address: insideCloud, ASN: 65000, Hold: 6}}}.String())
	gw := u.GatewayA.BIRD(lab.BIRDConf{RouterID: "198.51.100.1", ASN: 65000, Announce: []string{lab.VPCPrefix}, VRF: vrf, Table: vrfTable,
		Peers: []lab.BIRDPeer{{Name: "customer", Local: insideCloud, Address: insideCustomer, ASN: 65010, Hold: 6}}}.String())
	established := func() {
		t.Helper()
		took := lab.Eventually(t, 30*time.Second, "BGP", func() error {
			return errors.Join(cust.Established("cloud"), gw.Established("customer"),
				cust.HasRoutes("cloud", lab.VPCPrefix), gw.HasRoutes("customer", lab.CustomerLAN))
		})
		t.Logf("BGP established with routes after %v", took)
	}
	established()
	routes, err := gw.Routes("customer")
	if err != nil || len(routes) != 1 {
		t.Fatalf("%+v, %v", routes, err)
	}
	if r := routes[0]; !r.Best || r.Attributes["BGP.as_path"] != "65010" || !cmp.Equal(r.Via, []string{insideCustomer + " on xfrm0"}) {
		t.Errorf("%+v", r)
	}
	// The kernel has the route, in the VRF's table.
	lab.Eventually(t, 10*time.Second, "route in the VRF", func() error {
		out, err := u.GatewayA.Run("ip", "route", "show", "table", fmt.Sprint(vrfTable), lab.CustomerLAN)
		if err == nil && out == "" {
			err = errors.New("no route")
		}
		return err
	})

	cust.Kill()
	lab.Eventually(t, 20*time.Second, "routes withdrawn after the peer was killed", func() error { return gw.HasRoutes("customer") })
	cust.Start()
	established()

	before, err := u.cloud.SPIs()
	if err != nil {
		t.Fatal(err)
	}
	u.customer.Kill()
	// Without this the kernel's states would carry traffic on, and the cloud side would see no dead peer.
	u.Customer1.FlushXfrm()
	u.customer.Restart()
	u.customer.Reload()
	// DPD closes the SA that the customer no longer knows, and the cloud side negotiates again.
	lab.Eventually(t, 60*time.Second, "a new SA after charon was killed", func() error {
		if err := u.customer.Installed("to-cloud"); err != nil {
			return err
		}
		after, err := u.cloud.SPIs()
		if err == nil && (len(after) == 0 || cmp.Equal(before, after)) {
			err = fmt.Errorf("SPIs are %q still", after)
		}
		return err
	})
	established()
}

func TestStoppedCharonIsDeadPeer(t *testing.T) {
	u := newTunnel(t)
	u.customer.Signal(unix.SIGSTOP)
	lab.Eventually(t, 60*time.Second, "the dead peer's SA is gone", func() error {
		if u.cloud.Installed("to-customer") == nil {
			return errors.New("still installed")
		}
		return nil
	})
	u.customer.Signal(unix.SIGCONT)
	u.installed(t)
}
