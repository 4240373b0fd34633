//go:build bench

package rows

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/test/bench/record"
	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

// pingInterval is that of each of the flow's addresses, and how exact gaps are. Four networks at once leave an emulated machine no time for more.
const pingInterval = 100 * time.Millisecond

// outage is one way to lose the first of two tunnels, or what runs it.
type outage struct {
	name string
	lose func(*pair)
	back func(*pair)
	// only is set when the peer has nothing of the kind.
	only bool
	// apart has one network after the other lose it: a daemon that starts takes the whole of an emulated machine for a second.
	apart bool
}

func outages() []outage {
	return []outage{
		{name: "customer's router killed", lose: func(p *pair) { p.KillCustomer1() }, back: func(p *pair) { p.RestoreCustomer1() }},
		{name: "underlay cut both ways", lose: func(p *pair) { p.Wire1.Cut() }, back: func(p *pair) { p.Wire1.Restore() }},
		{name: "ESP lost one way", back: func(p *pair) { p.drop.Remove() },
			lose: func(p *pair) {
				p.drop = p.Internet.Drop(lab.DropMatch{Src: lab.GatewayA, Dst: lab.Customer1, Protocol: lab.ESP})
			}},
		{name: "charon killed", apart: true, back: func(*pair) {}, lose: func(p *pair) {
			p.charon.Kill()
			p.charon.Restart()
			if p.AgentA == nil {
				p.charon.Reload()
			}
		}},
		{name: "gateway's link down", lose: func(p *pair) { p.GatewayA.Down("eth0") }, back: func(p *pair) {
			p.GatewayA.Up("eth0")
			p.GatewayA.Route("default", "198.51.100.254")
		}},
		{name: "agent killed", only: true, lose: func(p *pair) { p.AgentA.Kill(unix.SIGKILL) }, back: func(p *pair) { p.AgentA.Start() }},
	}
}

// TestOutage measures the longest gap of a flow from the VPC to the customer, whichever of two tunnels on two hosts it takes.
func TestOutage(t *testing.T) {
	// FRR's and strongSwan's defaults, as in a VyOS where nobody set timers, and what its users tune them to.
	tuned := frrPair(t, "tuned", 6, lab.CharonOptions{Name: "peer", RetransmitTimeout: 2 * time.Second, RetransmitBase: 1.5, RetransmitTries: 3}, 5*time.Second)
	pairs := []*pair{agentPair(t, "agent", "", ""), agentPair(t, "agent-bfd", "", "bgp: {bfd: on}"), agentPair(t, "agent-probe", "{mode: ON, interval: 300ms, failures: 3}", "")}
	for _, o := range outages() {
		gaps := map[string][]float64{}
		for range turns(t) {
			for p, s := range through(t, o, append(pairs, tuned)) {
				gaps[p.name] = append(gaps[p.name], s.LongestGap.Seconds())
			}
		}
		for _, p := range pairs {
			s := record.Series{Quantity: o.name + ", " + p.title, Unit: "s", Size: 2, Things: "tunnels", A: gaps[p.name]}
			switch {
			case o.only:
				s.Goal = record.AtMost(0)
			case p.name == "agent":
				s.Peer, s.B, s.Goal = "FRR tuned", gaps[tuned.name], record.AtMost(1).OfRatio()
			default:
				s.Goal = record.AtMost(1)
			}
			put(t, "outage", s)
		}
	}
	if !small() {
		slow := frrPair(t, "defaults", 180, lab.CharonOptions{Name: "peer", RetransmitTimeout: 4 * time.Second, RetransmitBase: 1.8, RetransmitTries: 5}, 30*time.Second)
		for _, o := range outages() {
			if !o.only {
				put(t, "outage", record.Series{Quantity: o.name + ", strongSwan and FRR with their defaults", Unit: "s", Size: 2, Things: "tunnels",
					A: []float64{slow.through(o).LongestGap.Seconds()}})
			}
		}
	}
}

// through loses the same in all networks at the same time where that can be: they wait most of it, and whatever disturbs the machine
// disturbs all of them.
func through(t *testing.T, o outage, pairs []*pair) map[*pair]lab.PingStats {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	stats := map[*pair]lab.PingStats{}
	for _, p := range pairs {
		if o.only && p.AgentA == nil {
			continue
		}
		all.Go(func() {
			s := p.through(o)
			mu.Lock()
			defer mu.Unlock()
			stats[p] = s
		})
		if o.apart {
			all.Wait()
		}
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return stats
}

// pair is two gateway hosts with a tunnel each.
type pair struct {
	*scenario.World
	t           *testing.T
	name, title string
	charon      *lab.Charon // of the first host
	drop        *lab.Drop   // what the one-way case loses
}

func agentPair(t *testing.T, name, probe, spec string) *pair {
	t.Helper()
	titles := map[string]string{"agent": "defaults", "agent-bfd": "BFD", "agent-probe": "probe 300 ms × 3"}
	p := &pair{t: t, name: name, title: titles[name], World: scenario.New(named{t, name}, scenario.Options{
		Routing: "BGP", Probe: probe, Spec1: spec, Spec2: spec, BIRD: func(c *lab.BIRDConf) { c.Peers[0].BFD = name == "agent-bfd" }})}
	p.charon = p.CharonA
	return p
}

// frrPair is run by strongSwan, which initiates, and FRR with a hold time in seconds; XFRM interfaces are there always.
func frrPair(t *testing.T, name string, hold int, charon lab.CharonOptions, dpd time.Duration) *pair {
	t.Helper()
	p := &pair{t: t, name: name, World: scenario.New(named{t, name}, scenario.Options{Routing: "BGP", NoAgents: true})}
	for i, side := range []struct {
		host                                    *lab.Host
		instead                                 *lab.Charon
		local, remote, psk, inside, peer, toVPC string
	}{
		{p.GatewayA, p.CharonA, lab.GatewayA, lab.Customer1, scenario.PSK1, scenario.Inside1, scenario.Inside1Customer, lab.VPCGatewayA},
		{p.GatewayB, p.CharonB, lab.GatewayB, lab.Customer2, scenario.PSK2, scenario.Inside2, scenario.Inside2Customer, lab.VPCGatewayB},
	} {
		side.instead.Stop()
		c := side.host.Charon(charon)
		c.Tunnel(lab.CustomerTunnel{Name: "customer", IfID: 1, Local: side.local, Remote: side.remote, PSK: side.psk, Inside: side.inside + "/30",
			Initiate: true, DPDDelay: dpd})
		side.host.FRR(lab.FRRConf{RouterID: side.local, ASN: scenario.BorderASN, Neighbor: side.peer, Remote: scenario.CustomerASN, Hold: hold,
			Extra: fmt.Sprintf(" neighbor %[1]s remote-as %[2]d\n neighbor %[1]s timers 2 6\n neighbor %[1]s timers connect 2\n address-family ipv4 unicast\n  neighbor %[1]s activate\n exit-address-family\n",
				lab.VPCRouter, scenario.FabricASN)})
		if i == 0 {
			p.charon = c
		}
	}
	return p
}

// through waits until nothing is missing, loses something, and returns what a flow lost until all of it is answered again. Everything
// is back afterwards.
func (p *pair) through(o outage) lab.PingStats {
	p.t.Helper()
	p.settled()
	pings := p.PingVPC(pingInterval)
	p.answered(pings, 2*time.Second)
	o.lose(p)
	p.answered(pings, 5*time.Second)
	s := pings.Stop()
	o.back(p)
	p.t.Logf("%s, %s: %v", p.name, o.name, s)
	return s
}

// settled waits until both tunnels carry packets and both ways are known to the VPC and to the customer.
func (p *pair) settled() {
	p.t.Helper()
	// Answers come through the second tunnel always: what the customer's routers do is not measured.
	p.CustomerVia(lab.CustomerLAN2)
	for i, b := range []*lab.BIRD{p.CustBIRD1, p.CustBIRD2} {
		lab.Eventually(p.t, patience, fmt.Sprintf("%s: session %d", p.name, i+1), func() error {
			return errors.Join(b.Established("cloud"), b.HasRoutes("cloud", lab.VPCPrefix))
		})
	}
	p.FabricUp()
	pings := p.PingVPC(pingInterval)
	defer pings.Stop()
	p.answered(pings, 2*time.Second)
}

// answered waits until every ping of a while is.
func (p *pair) answered(pings scenario.Pings, while time.Duration) {
	p.t.Helper()
	lab.Eventually(p.t, patience, p.name+": all is answered", func() error {
		before := make([]lab.PingStats, len(pings))
		for i, one := range pings {
			before[i] = one.Stats()
		}
		time.Sleep(while)
		for i, one := range pings {
			// Those on their way count as lost until they are answered: one or two.
			now := one.Stats()
			if now.Received-before[i].Received < int(while/pingInterval)*2/3 || now.Lost > before[i].Lost+1 {
				return fmt.Errorf("address %d: %v, before %v", i, now, before[i])
			}
		}
		return nil
	})
}
