package scenario

import (
	"errors"
	"fmt"
	"slices"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/test/lab"
)

// Controlled is a World whose agents take everything from one controller. It is the host in the middle of the internet that both gateways
// reach.
type Controlled struct {
	*World
	Controller *lab.Controller
}

// NewControlled builds the world and waits until the controller has heard of both hosts. There are no resources in it yet.
func NewControlled(t lab.T, o Options) *Controlled {
	t.Helper()
	o.NoAgents = true
	c := &Controlled{World: New(t, o)}
	c.Controller = c.Internet.Controller(lab.ControllerOptions{Address: "198.51.100.254", Agents: []string{"gw-a", "gw-b"}})
	c.AgentA = c.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA}, Charon: c.CharonA, Source: c.Controller.AgentSource("gw-a"), Extra: "zone: a\n" + o.Agent})
	c.AgentB = c.GatewayB.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayB}, Charon: c.CharonB, Source: c.Controller.AgentSource("gw-b"), Extra: "zone: b\n" + o.Agent})
	c.HostsReport()
	return c
}

// HostsReport waits until the controller has sessions with both hosts.
func (c *Controlled) HostsReport() {
	c.T.Helper()
	lab.Eventually(c.T, startup, "two hosts report", func() error {
		hosts, err := statuses[struct{ State string }](c.Controller.CtlJSON, "get", "hosts")
		var errs []error
		for _, name := range []string{"gw-a", "gw-b"} {
			if hosts[name].State != apiv1.HostReporting {
				errs = append(errs, fmt.Errorf("%s is %q", name, hosts[name].State))
			}
		}
		return errors.Join(append(errs, err)...)
	})
}

// Apply gives manifests to the controller as an operator does, and returns what bordergwctl printed.
func (c *Controlled) Apply(manifests map[string]string, flags ...string) string {
	c.T.Helper()
	out, err := c.Controller.Apply(manifests, flags...)
	if err != nil {
		c.T.Fatalf("bordergwctl apply: %v\n%s", err, out)
	}
	return out
}

// Verdict waits for the controller's verdict on the connection, with exactly these reasons.
func (c *Controlled) Verdict(availability string, reasons ...string) ConnectionStatus {
	c.T.Helper()
	var st ConnectionStatus
	lab.Eventually(c.T, startup, availability, func() error {
		all, err := statuses[ConnectionStatus](c.Controller.CtlJSON, "get", "connections")
		if err != nil {
			return err
		}
		if st = all[Connection]; st.Availability != availability || !slices.Equal(st.Reasons, reasons) {
			return fmt.Errorf("the verdict is %+v", st)
		}
		return nil
	})
	return st
}

// Reported is the tunnel as the controller knows it.
func (c *Controlled) Reported(name string) TunnelStatus {
	c.T.Helper()
	all, err := statuses[TunnelStatus](c.Controller.CtlJSON, "get", "tunnels", name)
	if err != nil {
		c.T.Fatalf("%v", err)
	}
	return all[name]
}
