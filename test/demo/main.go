// Command demo shows bordergw's main job on a real kernel: two gateway hosts, two tunnels, BGP, the loss of a customer's router and its
// return. With "controller", the default, everything is created at a controller; with "files" each agent has the manifests. It runs inside
// the lab (go run ./test/lab/labrun); every line below a "$" is what the command printed.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

const (
	highly    = "HIGHLY_AVAILABLE"
	notHighly = "NOT_HIGHLY_AVAILABLE"
	noTunnel  = "NO_TUNNEL_UP_ON_CLOUD_ADDRESS"
	silent    = "HOST_SILENT"
)

func main() {
	mode := "controller"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "controller":
		os.Exit(run(withController))
	case "files":
		os.Exit(run(withFiles))
	}
	fmt.Fprintf(os.Stderr, "demo: MODE is controller or files, not %q\n", mode)
	os.Exit(2)
}

func options() scenario.Options { return scenario.Options{Routing: "BGP", StaticRoutes: "[]"} }

func withController(t *stage) {
	t.Helper()
	t.say("A VPC (10.0.0.0/16) and a customer's site (172.16.0.0/24), two gateway hosts, two customer routers, a controller.")
	t.say("Starting a controller with etcd inside, two agents, four charons and three BIRDs …")
	o := options()
	// An agent that is stopped on purpose, as for an upgrade, shall not even move traffic to the other host.
	o.Agent = "bgp: {restartTime: 120s}\n"
	w := scenario.NewControlled(t, o)
	p := play{stage: t, World: w.World, ask: w.Controller.Ctl, command: "bordergwctl", verdict: func(availability string, reasons ...string) {
		w.Verdict(availability, reasons...)
	}}
	p.ctl("get", "hosts")
	p.apply(w)
	took := w.BothUp()
	p.verdict(highly)
	t.say("Both tunnels UP, BGP established, %v after everything was created.", took.Round(100*time.Millisecond))
	p.allIsWell()
	p.customerRouter()
	p.silence(w)
	t.say("That was a kernel, two strongSwans, three BGP peers and an etcd of your own. The logs are in the results folder.")
}

func withFiles(t *stage) {
	t.Helper()
	t.say("A VPC (10.0.0.0/16) and a customer's site (172.16.0.0/24), two gateway hosts, two customer routers.")
	t.say("Starting two agents, four charons and three BIRDs …")
	w := scenario.New(t, options())
	p := play{stage: t, World: w, ask: w.Ctl, command: askAgents, verdict: func(availability string, _ ...string) {
		w.Availability(time.Minute, availability)
	}}
	took := w.BothUp()
	p.verdict(highly)
	t.say("Both tunnels UP, BGP established, %v after the agents were started.", took.Round(100*time.Millisecond))
	p.allIsWell()
	p.customerRouter()
	t.say("That was a kernel, two strongSwans and three BGP peers of your own. The logs are in the results folder.")
}

func (p play) allIsWell() {
	p.Helper()
	p.ctl("get", "tunnels")
	p.ctl("get", "connections")
	p.routes()
	p.TrafficBothWays()
	p.ping(5)
}

// customerRouter loses the customer's first router, and brings it back.
func (p play) customerRouter() {
	p.Helper()
	p.say("The customer's first router loses its power. The VPC pings 16 addresses at the site meanwhile, ten times a second …")
	during := p.PingVPC(100 * time.Millisecond)
	p.KillCustomer1()
	down := p.Running(time.Minute, scenario.Tunnel1+"=DOWN", scenario.Tunnel2+"=UP")
	lab.Eventually(p, time.Minute, "the withdrawal at the VPC's router", func() error { return p.VPCBIRD.HasRoutes("gw_a") })
	p.verdict(notHighly, noTunnel)
	p.TrafficBothWays()
	s := during.Stop()
	p.say("Known after %v; the longest gap of any of them was %v. Traffic goes on over the other tunnel.",
		down.Round(100*time.Millisecond), s.LongestGap.Round(10*time.Millisecond))
	p.ctl("get", "tunnels")
	p.ctl("get", "connections")
	p.ctl("describe", "connection", scenario.Connection)
	p.ping(5)

	p.say("The router comes back …")
	p.RestoreCustomer1()
	back := p.BothUp()
	p.verdict(highly)
	p.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	p.say("Both tunnels UP and BGP established after %v.", back.Round(100*time.Millisecond))
	p.ctl("get", "tunnels")
	p.ctl("get", "connections")
	p.TrafficBothWays()
	p.ping(5)
}

// silence stops a host's agent, and starts it again.
func (p play) silence(w *scenario.Controlled) {
	p.Helper()
	p.say("The agent on gw-a is stopped, and nothing else; its BGP neighbors keep their routes for it (bgp.restartTime). The VPC pings as before …")
	during := p.PingVPC(100 * time.Millisecond)
	start := time.Now()
	p.AgentA.Stop()
	p.verdict(notHighly, noTunnel, silent)
	took := time.Since(start)
	s := during.Stop()
	p.say("The controller takes the host for silent after %v. %d of %d pings were lost.", took.Round(100*time.Millisecond), s.Lost, s.Sent)
	p.ctl("get", "hosts")
	p.ctl("get", "connections")
	p.ping(5)

	p.say("The agent is started again …")
	start = time.Now()
	p.AgentA.Start()
	w.HostsReport()
	p.BothUp()
	p.verdict(highly)
	p.say("All is as before, BGP included, after %v.", time.Since(start).Round(100*time.Millisecond))
	p.ctl("get", "hosts")
	p.ctl("get", "connections")
}
