//go:build lab

package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/lab"
)

// device is a customer's VPN device of one kind: a site of its own with one connection of one tunnel, all three of its name.
type device struct {
	name string
	// spec is more fields of the tunnel's spec in YAML, one per line.
	spec string
	// keyFrom is the psk field of the tunnel in YAML flow style; default: the key itself.
	keyFrom string
	// customer changes the device's end before it is loaded.
	customer func(*lab.CustomerTunnel)
	// behind is the NAT router that hides the device; nil when it has a public address itself.
	behind *lab.Host
	// natAddress is the address the cloud sees then.
	natAddress string
	options    lab.CharonOptions
	// own leaves connections and interfaces of the device to the scenario.
	own bool
	// libreswan makes it a device with libreswan in place of strongSwan, with these lines in its configuration.
	libreswan []string
	// later leaves its start to the scenario.
	later bool
	// every is the time between two echoes of underPings; the default is 10 ms.
	every time.Duration
	// size is the length of an echo of underPings; default: what underPings is told.
	size int
	// mayLose leaves it to the scenario to say which packets may be lost.
	mayLose bool

	w                       *variety
	host                    *lab.Host
	wire                    *lab.Wire
	charon                  *lab.Charon    // nil with libreswan
	pluto                   *lab.Libreswan // nil without
	address                 string         // of the device itself
	public                  string         // as the cloud sees it
	lan                     string         // address of a host at the site
	psk                     string
	insideCloud, insideCust string
	tunnel                  lab.CustomerTunnel
	stats                   lab.PingStats // by underPings
	early                   int           // by underPings: packets that came before the device had their SA
}

// variety is one gateway host and many devices.
type variety struct {
	*World
	t       *testing.T
	devices []*device
	early   int // by underPings: packets of all devices that came before the gateway had the SA
}

// newVariety starts everything and waits for nothing.
func newVariety(t *testing.T, devices ...*device) *variety {
	t.Helper()
	l := lab.New(t)
	s := l.Site2Cloud(lab.Site2CloudOptions{SingleGateway: true})
	return startVariety(t, s, devices...)
}

func startVariety(t *testing.T, s *lab.Site2Cloud, devices ...*device) *variety {
	t.Helper()
	w := &variety{World: &World{Site2Cloud: s, T: t}, t: t, devices: devices}
	w.VPCRouter.Route("172.20.0.0/16", lab.VPCGatewayA)
	for i, d := range devices {
		w.add(i, d)
	}
	w.CharonA = w.GatewayA.Charon(GatewayCharon())
	w.AgentA = w.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA}, Charon: w.CharonA, Manifests: w.manifests()})
	return w
}

func (w *variety) add(i int, d *device) {
	w.t.Helper()
	d.w, d.host = w, w.Lab.Host(d.name)
	d.lan, d.psk = fmt.Sprintf("172.20.%d.1", i), "the-key-of-"+d.name
	d.insideCloud, d.insideCust = fmt.Sprintf("169.254.20.%d", 4*i+1), fmt.Sprintf("169.254.20.%d", 4*i+2)
	d.host.Forward()
	if d.behind == nil {
		d.address = fmt.Sprintf("203.0.113.%d", 20+i)
		d.public = d.address
		d.wire = w.Lab.Wire(d.host, "eth0", w.Internet, d.name, lab.WireOptions{A: []string{d.address + "/24"}})
		w.Internet.Enslave(d.name, "edge")
		d.host.Route("default", "203.0.113.254")
	} else {
		d.address, d.public = fmt.Sprintf("192.168.%d.2", i), d.natAddress
		d.wire = w.Lab.Wire(d.host, "eth0", d.behind, d.name, lab.WireOptions{A: []string{d.address + "/24"},
			B: []string{fmt.Sprintf("192.168.%d.1/24", i)}})
		d.host.Route("default", fmt.Sprintf("192.168.%d.1", i))
	}
	d.host.Address("lo", d.lan+"/32")
	if d.libreswan != nil {
		d.pluto = d.host.Libreswan(lab.LibreswanConn{Name: "cloud", Local: d.address, Remote: lab.GatewayA, PSK: d.psk,
			Inside: d.insideCust + "/30", Options: d.libreswan})
		d.host.Route(lab.VPCPrefix, "ipsec2")
		return
	}
	// Unlike many devices charon can be told to ignore a second IKE_SA_INIT of somebody who has one half-open, and IKEv1 needs it.
	d.options.Extra += "\nblock_threshold = 64\n"
	d.charon = d.host.Charon(d.options)
	d.tunnel = lab.CustomerTunnel{Name: "cloud", Local: d.address, Remote: lab.GatewayA, PSK: d.psk, IfID: 1, Inside: d.insideCust + "/30"}
	if d.customer != nil {
		d.customer(&d.tunnel)
	}
	if d.own {
		return
	}
	if !d.later {
		d.start()
	}
}

// start loads the device's connection, and makes it the way to the VPC.
func (d *device) start() {
	d.w.t.Helper()
	d.charon.Tunnel(d.tunnel)
	d.host.Route(lab.VPCPrefix, "xfrm1")
}

// manifests are one gateway and every device's connection.
func (w *variety) manifests() map[string]string {
	var routes, rest []string
	for _, d := range w.devices {
		routes = append(routes, fmt.Sprintf("  - {prefix: %s/24, connection: %s}\n", strings.TrimSuffix(d.lan, ".1")+".0", d.name))
		spec := ""
		for line := range strings.Lines(d.spec) {
			spec += "  " + strings.TrimSpace(line) + "\n"
		}
		rest = append(rest, fmt.Sprintf(`---
kind: CustomerGateway
name: %[1]s
spec: {addresses: [%[2]s]}
---
kind: VPNConnection
name: %[1]s
spec: {borderGateway: variety, customerGateway: %[1]s, routing: STATIC, cloudAddresses: [198.51.100.1]}
---
kind: VPNTunnel
name: %[1]s
spec:
  connection: %[1]s
  cloudAddress: 198.51.100.1
  customerAddress: %[2]s
  inside: {cloud: %[3]s/30, customer: %[4]s}
  psk: %[5]s
%[6]s`, d.name, d.public, d.insideCloud, d.insideCust, cmp.Or(d.keyFrom, "{value: "+d.psk+"}"), spec))
	}
	return map[string]string{"variety.yaml": `kind: BorderGateway
name: variety
spec:
  attachments:
  - {name: vpc, interface: vpc0, prefixes: [10.0.0.0/16], nextHop: 10.0.255.1}
  staticRoutes:
` + strings.Join(routes, "") + strings.Join(rest, "")}
}

// up waits for all devices that were started.
func (w *variety) up() {
	w.t.Helper()
	var want []string
	for _, d := range w.devices {
		if !d.later {
			want = append(want, d.name+"=UP")
		}
	}
	w.Running(2*startup, want...)
}

// status is what bordergwctl tells of the device's tunnel.
func (d *device) status() TunnelStatus {
	d.w.t.Helper()
	all, err := d.w.Tunnels()
	if err != nil {
		d.w.t.Fatal(err)
	}
	return all[d.name]
}

// settle waits until the device's site answers the VPC's host and the other way round.
func (d *device) settle() {
	d.w.t.Helper()
	for _, dir := range []struct {
		from     *lab.Host
		src, dst string
	}{{d.w.VPCHost, lab.VPCHost, d.lan}, {d.host, d.lan, lab.VPCHost}} {
		lab.Eventually(d.w.t, startup, d.name+": the first ping to "+dir.dst, func() error {
			if s := dir.from.Ping(lab.PingOptions{Src: dir.src, Dst: dir.dst, Count: 1, Grace: time.Second}).Wait(); s.Received == 0 {
				return fmt.Errorf("%v", s)
			}
			return nil
		})
	}
}

// pings sends some both ways and fails when one is lost.
func (d *device) pings() {
	d.w.t.Helper()
	d.settle()
	there := d.w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: d.lan, Count: 30, Interval: 20 * time.Millisecond})
	back := d.host.Ping(lab.PingOptions{Src: d.lan, Dst: lab.VPCHost, Count: 30, Interval: 20 * time.Millisecond})
	for _, s := range []lab.PingStats{there.Wait(), back.Wait()} {
		if s.Lost > 0 {
			d.w.t.Errorf("%s: %v", d.name, s)
		}
	}
}

// underPings pings every device's site, 100 times a second where the device says nothing else, until done returns nil, and at least for the given time. A tunnel that
// goes down fails the test, and so does a lost echo, unless the device may lose some.
func (w *variety) underPings(least, timeout time.Duration, size int, done func() error) {
	w.t.Helper()
	for _, d := range w.devices {
		d.settle()
	}
	var pingers []*lab.Pinger
	var before []uint64
	var since []string
	for _, d := range w.devices {
		before, since = append(before, strays(w.t, d.host)), append(since, d.status().Since)
		pingers = append(pingers, w.VPCHost.Ping(lab.PingOptions{Src: lab.VPCHost, Dst: d.lan,
			Interval: cmp.Or(d.every, 10*time.Millisecond), Size: cmp.Or(d.size, size)}))
	}
	start, atGateway := time.Now(), strays(w.t, w.GatewayA)
	lab.Eventually(w.t, timeout, "what is to happen under traffic", func() error {
		if time.Since(start) < least {
			return errors.New("too soon")
		}
		return done()
	})
	for i, d := range w.devices {
		s, st, early := pingers[i].Stop(), d.status(), strays(w.t, d.host)-before[i]
		w.t.Logf("%s: %d rekeys, %d establishments, %d echoes sent, %d lost, %d came before the device had their SA, longest gap %v", d.name,
			st.Counters.Rekeys, st.Counters.Establishments, s.Sent, s.Lost, early, s.LongestGap.Round(time.Millisecond))
		d.stats, d.early = s, int(early)
		if st.Running != "UP" || st.Since != since[i] {
			w.t.Errorf("%s: %s since %s, was UP since %s", d.name, st.Running, st.Since, since[i])
		}
		if s.Lost > 0 && !d.mayLose {
			w.t.Errorf("%s: echoes %v were lost", d.name, s.LostSeqs)
		}
	}
	w.early = int(strays(w.t, w.GatewayA) - atGateway)
}

// strays is how many ESP packets came to a host while it had no SA for them, or only a reserved SPI.
func strays(t *testing.T, h *lab.Host) uint64 {
	t.Helper()
	counters, err := h.XfrmStat()
	if err != nil {
		t.Fatal(err)
	}
	return counters["XfrmInNoStates"] + counters["XfrmAcquireError"] // include/uapi/linux/snmp.h; the latter also for larval SAs
}

// log is the tunnel's negotiation log, a line per entry.
func (d *device) log() string {
	d.w.t.Helper()
	var out struct{ Log []struct{ Message string } }
	if err := d.w.AgentA.CtlJSON(&out, "describe", "tunnel", d.name); err != nil {
		d.w.t.Fatal(err)
	}
	var text strings.Builder
	for _, e := range out.Log {
		text.WriteString(e.Message + "\n")
	}
	return text.String()
}

// wentDown says how often the tunnel became DOWN after its first UP. The log has to go back that far.
func (d *device) wentDown() int {
	d.w.t.Helper()
	_, after, found := strings.Cut(d.log(), "running: UP")
	if !found {
		d.w.t.Fatalf("%s: the log no longer has the beginning", d.name)
	}
	return strings.Count(after, "running: DOWN")
}

// noFragments watches the internet's side of the gateway for ESP that was fragmented or is too long.
func (w *variety) noFragments() func() {
	w.t.Helper()
	s := w.GatewayA.Sniff("eth0", func(p lab.Packet) bool {
		outer := p.Protocol == lab.ESP || p.Protocol == unix.IPPROTO_UDP
		return outer && len(p.Payload) > 0 && (p.Fragment || p.Length > 1500)
	})
	return func() {
		w.t.Helper()
		n, err := s.Stop()
		if err != nil || n > 0 {
			w.t.Errorf("%d fragmented packets on the underlay, error %v", n, err)
		}
	}
}

func hasCondition(st TunnelStatus, kind string) bool {
	return slices.ContainsFunc(st.Conditions, func(c struct{ Type, Object, Message string }) bool { return c.Type == kind })
}

// v1Customer is a device that speaks only IKEv1, without combined-mode ciphers for IKE.
func v1Customer(aggressive bool) func(*lab.CustomerTunnel) {
	return func(c *lab.CustomerTunnel) {
		c.Version, c.Aggressive = 1, aggressive
		c.Proposals, c.ESPProposals = "aes256-sha256-modp2048", "aes256-sha256-modp2048"
		// One pair of selectors is all that IKEv1 can negotiate.
		c.ChildExtra = "local_ts = 0.0.0.0/0\nremote_ts = 0.0.0.0/0"
	}
}

const v1ESP = "proposals: [aes256-sha256-modp2048]"
