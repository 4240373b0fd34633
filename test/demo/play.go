package main

import (
	"fmt"
	"strings"

	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

// askAgents is how a command line for both agents begins.
const askAgents = "bordergwctl --socket gw-a.sock --socket gw-b.sock"

// play is a world on the stage, and whom its people ask.
type play struct {
	*stage
	*scenario.World
	// ask runs bordergwctl, command is how its command line is shown.
	ask     func(args ...string) (string, error)
	command string
	// verdict waits for the connection's availability and, where a controller judges, for exactly these reasons.
	verdict func(availability string, reasons ...string)
}

// ctl shows a bordergwctl command and what it printed.
func (p play) ctl(args ...string) {
	p.Helper()
	p.show(p.command, p.ask, args...)
}

// apply creates everything at the controller, and shows of it what was created, without the fields.
func (p play) apply(w *scenario.Controlled) {
	p.Helper()
	fmt.Println("$ bordergwctl apply -f shop.yaml | grep -v '^  '")
	for line := range strings.Lines(w.Apply(w.Manifests())) {
		if !strings.HasPrefix(line, "  ") {
			fmt.Print(line)
		}
	}
	fmt.Println()
}

// routes are known to agents only.
func (p play) routes() {
	p.Helper()
	p.show(askAgents, p.Ctl, "get", "routes")
}

func (p play) show(command string, ask func(...string) (string, error), args ...string) {
	p.Helper()
	out, err := ask(args...)
	if err != nil {
		p.Fatalf("bordergwctl %v: %v\n%s", args, err, out)
	}
	fmt.Printf("$ %s %s\n%s\n\n", command, strings.Join(args, " "), strings.TrimRight(out, "\n"))
}

// ping shows the ping program on the VPC's host.
func (p play) ping(n int) {
	p.Helper()
	argv := []string{"ping", "-n", "-i", "0.2", "-c", fmt.Sprint(n), lab.CustomerHost}
	fmt.Printf("vpc-host$ %s\n", strings.Join(argv, " "))
	out, err := p.VPCHost.Run(argv...)
	if err != nil {
		p.Fatalf("ping: %v\n%s", err, out)
	}
	fmt.Println(strings.TrimRight(out, "\n"))
	fmt.Println()
}
