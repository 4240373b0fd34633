// Command demo shows bordergw's main job on a real kernel: two gateway hosts, two tunnels, BGP, the loss of a customer's router and its
// return. It runs inside the lab (go run ./test/lab/labrun); every line below a "$" is what the command printed.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

func main() {
	os.Exit(run(demo))
}

func demo(t *stage) {
	t.Helper()
	t.say("A VPC (10.0.0.0/16) and a customer's site (172.16.0.0/24), two gateway hosts, two customer routers.")
	t.say("Starting two agents, four charons and three BIRDs …")
	w := scenario.New(t, scenario.Options{Routing: "BGP", StaticRoutes: "[]"})
	took := w.BothUp()
	w.Availability(time.Minute, "HIGHLY_AVAILABLE")
	t.say("Both tunnels UP, BGP established, %v after the agents were started.", took.Round(100*time.Millisecond))
	ctl(t, w, "get", "tunnels")
	ctl(t, w, "get", "connections")
	ctl(t, w, "get", "routes")
	w.TrafficBothWays()
	ping(t, w, 5)

	t.say("The customer's first router loses its power. The VPC pings 16 addresses at the site meanwhile, ten times a second …")
	during := w.PingVPC(100 * time.Millisecond)
	w.KillCustomer1()
	down := w.Running(time.Minute, scenario.Tunnel1+"=DOWN", scenario.Tunnel2+"=UP")
	lab.Eventually(t, time.Minute, "the withdrawal at the VPC's router", func() error { return w.VPCBIRD.HasRoutes("gw_a") })
	w.Availability(time.Minute, "NOT_HIGHLY_AVAILABLE")
	w.TrafficBothWays()
	s := during.Stop()
	t.say("Known after %v; the longest gap of any of them was %v. Traffic goes on over the other tunnel.",
		down.Round(100*time.Millisecond), s.LongestGap.Round(10*time.Millisecond))
	ctl(t, w, "get", "tunnels")
	ctl(t, w, "get", "connections")
	ctl(t, w, "describe", "connection", scenario.Connection)
	ping(t, w, 5)

	t.say("The router comes back …")
	w.RestoreCustomer1()
	back := w.BothUp()
	w.Availability(time.Minute, "HIGHLY_AVAILABLE")
	w.CustomerVia(lab.CustomerLAN1, lab.CustomerLAN2)
	t.say("Both tunnels UP and BGP established after %v.", back.Round(100*time.Millisecond))
	ctl(t, w, "get", "tunnels")
	ctl(t, w, "get", "connections")
	w.TrafficBothWays()
	ping(t, w, 5)
	t.say("That was a kernel, two strongSwans and three BGP peers of your own. The logs are in the results folder.")
}

// ctl shows a bordergwctl command, asked of both agents, and what it printed.
func ctl(t *stage, w *scenario.World, args ...string) {
	t.Helper()
	fmt.Printf("$ bordergwctl --socket gw-a.sock --socket gw-b.sock %s\n", strings.Join(args, " "))
	out, err := w.Ctl(args...)
	if err != nil {
		t.Fatalf("bordergwctl %v: %v\n%s", args, err, out)
	}
	fmt.Println(strings.TrimRight(out, "\n"))
	fmt.Println()
}

// ping shows the ping program on the VPC's host.
func ping(t *stage, w *scenario.World, n int) {
	t.Helper()
	argv := []string{"ping", "-n", "-i", "0.2", "-c", fmt.Sprint(n), lab.CustomerHost}
	fmt.Printf("vpc-host$ %s\n", strings.Join(argv, " "))
	out, err := w.VPCHost.Run(argv...)
	if err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	fmt.Println(strings.TrimRight(out, "\n"))
	fmt.Println()
}
