//go:build lab && soak

package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/test/lab"
)

// TestThousandTunnels: a host gets 1,000 tunnels of 25 tenants from a controller. Their customers do not call, so what is measured is what
// bordergw itself needs for them. Under emulation it takes minutes: it is for go run ./test/suite -tags lab,soak.
func TestThousandTunnels(t *testing.T) {
	const (
		tenants, connections, addresses = 25, 5, 4 // addresses of each connection's customer; the cloud has two
		tunnels                         = tenants * connections * 2 * addresses
		limit                           = 400 << 20 // of the memory of either program, in bytes
	)
	s := lab.New(t).Site2Cloud(lab.Site2CloudOptions{SingleGateway: true})
	controller := s.Internet.Controller(lab.ControllerOptions{Address: "198.51.100.254", Agents: []string{"gw-a"}, LogLevel: "info",
		Extra: "quotas: {borderGateways: 25, customerGateways: 125}\n"})
	agent := s.GatewayA.Agent(lab.AgentOptions{Addresses: []string{lab.GatewayA, lab.GatewayB}, Charon: s.GatewayA.Charon(GatewayCharon()),
		Source: controller.AgentSource("gw-a"), LogLevel: "info"})

	files := map[string]string{}
	for tenant := range tenants {
		s.GatewayA.Bridge(fmt.Sprintf("tenant%d", tenant))
		files[fmt.Sprintf("tenant-%d.yaml", tenant)] = manyTunnels(tenant, connections, addresses)
	}
	start := time.Now()
	if out, err := controller.Apply(files, "--timeout", "5m"); err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	t.Logf("apply took %v", time.Since(start))
	lab.Eventually(t, 10*time.Minute, "all tunnels wait for their customers", func() error {
		all, err := statuses[TunnelStatus](controller.CtlJSON, "get", "tunnels", "--timeout", "1m")
		if err != nil {
			return err
		}
		waiting := 0
		for _, st := range all {
			if st.Reason == apiv1.ReasonWaitingForPeer {
				waiting++
			}
		}
		if waiting != tunnels {
			return fmt.Errorf("%d of %d", waiting, len(all))
		}
		return nil
	})
	measuredTime("bordergwctl apply of 1,000 tunnels until all are reported", time.Since(start))
	for name, used := range map[string]uint64{
		"agent":      measuredMemory(t, "memory of an agent with 1,000 tunnels", agent.Process()),
		"controller": measuredMemory(t, "memory of a controller with 1,000 tunnels", controller.Process()),
	} {
		if used > limit {
			t.Errorf("the %s needs %d MiB", name, used>>20)
		}
	}
}

// manyTunnels is a tenant whose customers have one connection each, with all tunnels that it may have.
func manyTunnels(tenant, connections, addresses int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: BorderGateway\nname: t%[1]d\nspec:\n  asn: 65000\n  attachments: [{name: vpc, interface: tenant%[1]d, prefixes: [10.0.0.0/16]}]\n", tenant)
	for c := range connections {
		name := fmt.Sprintf("t%d-%d", tenant, c)
		var customer []string
		for a := range addresses {
			customer = append(customer, fmt.Sprintf("192.0.%d.%d", 2+tenant, 1+c*addresses+a))
		}
		fmt.Fprintf(&b, "---\nkind: CustomerGateway\nname: %s\nspec: {asn: 65010, addresses: [%s]}\n", name, strings.Join(customer, ", "))
		fmt.Fprintf(&b, "---\nkind: VPNConnection\nname: %[1]s\nspec: {borderGateway: t%[2]d, customerGateway: %[1]s, routing: BGP, cloudAddresses: [%[3]s, %[4]s]}\n",
			name, tenant, lab.GatewayA, lab.GatewayB)
		for i, cloud := range []string{lab.GatewayA, lab.GatewayB} {
			for a, address := range customer {
				fmt.Fprintf(&b, "---\nkind: VPNTunnel\nname: %s-%d\nspec: {connection: %s, cloudAddress: %s, customerAddress: %s, remoteId: %[1]s-%[2]d.example, initiation: RESPOND}\n",
					name, i*addresses+a+1, name, cloud, address)
			}
		}
	}
	return b.String()
}

// measuredMemory prints what a process has in RAM, which it returns in bytes.
func measuredMemory(t *testing.T, name string, p *lab.Process) uint64 {
	t.Helper()
	resident, peak, err := p.Memory()
	if err != nil {
		t.Fatalf("%v", err)
	}
	fmt.Printf("MEASURED %s: %d MiB resident, %d MiB at most\n", name, resident>>20, peak>>20)
	return resident
}
