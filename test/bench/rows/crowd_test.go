//go:build bench

package rows

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bordergw/bordergw/test/lab"
	"github.com/bordergw/bordergw/test/scenario"
)

const (
	crowdPSK = "the-key-of-the-whole-crowd"
	// connections are those of a tenant; each has tunnels between both cloud addresses and all of its customer's.
	connections = 5
	ikeProposal = "aes128gcm16-prfsha256-ecp256"
	espProposal = "aes128gcm16-ecp256"
)

// quotas let a crowd in.
const quotas = "quotas: {borderGateways: 100, customerGateways: 1000}\n"

// crowd is a gateway with two cloud addresses and the many customers of some tenants, whose ends are one charon that answers everybody.
type crowd struct {
	*lab.Site2Cloud
	t                  *testing.T
	tenants, addresses int  // addresses of each customer
	respond            bool // the agent waits for the customers
	gateway, customers *lab.Charon
}

func (c *crowd) tunnels() int { return c.tenants * connections * 2 * c.addresses }

// newCrowd builds the network with both charons. Nothing is configured at the gateway yet.
func newCrowd(t *testing.T, name string, tenants, addresses int) *crowd {
	t.Helper()
	c := &crowd{t: t, tenants: tenants, addresses: addresses,
		Site2Cloud: lab.New(named{t, name}).Site2Cloud(lab.Site2CloudOptions{SingleGateway: true, SingleCustomer: true})}
	c.each(func(tenant, _ int, customer []string) {
		for _, a := range customer {
			c.Customer1.Address("lo", a+"/32")
		}
	})
	c.Internet.Route("192.0.0.0/16", lab.Customer1)
	for tenant := range tenants {
		c.GatewayA.Bridge(fmt.Sprintf("tenant%d", tenant))
	}
	c.gateway = c.GatewayA.Charon(scenario.GatewayCharon())
	// All of them call from two addresses: that is no attack. Zero would be one half-open IKE_SA of each address.
	c.customers = c.Customer1.Charon(lab.CharonOptions{RetransmitTimeout: 10 * time.Second, Extra: "cookie_threshold = 100000\n\tcookie_threshold_ip = 100000\n\tblock_threshold = 100000"})
	// Every SA gets an if_id of its own, so that the policies of all of them fit beside each other.
	c.customers.LoadConns(fmt.Sprintf(`connections {
  crowd {
    version = 2
    remote_addrs = %[1]s, %[2]s
    proposals = %[3]s
    unique = never
    if_id_in = %%unique
    if_id_out = %%unique
    local { auth = psk }
    remote { auth = psk }
    children { crowd { local_ts = 0.0.0.0/0
      remote_ts = 0.0.0.0/0
      esp_proposals = %[4]s } }
  }
}
secrets { ike { secret = "%[5]s" } }
`, lab.GatewayA, lab.GatewayB, ikeProposal, espProposal, crowdPSK))
	return c
}

// each visits every connection.
func (c *crowd) each(visit func(tenant, connection int, customer []string)) {
	for tenant := range c.tenants {
		for n := range connections {
			var customer []string
			for a := range c.addresses {
				customer = append(customer, fmt.Sprintf("192.0.%d.%d", 2+tenant, 1+n*c.addresses+a))
			}
			visit(tenant, n, customer)
		}
	}
}

// manifests are those of the agent.
func (c *crowd) manifests() map[string]string {
	files := map[string]*strings.Builder{}
	initiation := "ALWAYS"
	if c.respond {
		initiation = "RESPOND"
	}
	c.each(func(tenant, n int, customer []string) {
		file := fmt.Sprintf("tenant-%d.yaml", tenant)
		if files[file] == nil {
			files[file] = &strings.Builder{}
			fmt.Fprintf(files[file], "kind: BorderGateway\nname: t%[1]d\nspec:\n  asn: 65000\n  attachments: [{name: vpc, interface: tenant%[1]d, prefixes: [10.0.0.0/16]}]\n", tenant)
		}
		b, name := files[file], fmt.Sprintf("t%d-%d", tenant, n)
		fmt.Fprintf(b, "---\nkind: CustomerGateway\nname: %s\nspec: {asn: 65010, addresses: [%s]}\n", name, strings.Join(customer, ", "))
		fmt.Fprintf(b, "---\nkind: VPNConnection\nname: %[1]s\nspec: {borderGateway: t%[2]d, customerGateway: %[1]s, routing: STATIC, cloudAddresses: [%[3]s, %[4]s]}\n",
			name, tenant, lab.GatewayA, lab.GatewayB)
		for i, cloud := range []string{lab.GatewayA, lab.GatewayB} {
			for a, address := range customer {
				number := i*c.addresses + a
				inside := fmt.Sprintf("169.254.%d.", 8+n)
				fmt.Fprintf(b, `---
kind: VPNTunnel
name: %s-%d
spec:
  connection: %s
  cloudAddress: %s
  customerAddress: %s
  inside: {cloud: %s%d/30, customer: %s%d}
  psk: {value: %q}
  ike: {proposals: [%s], postQuantum: OFF}
  esp: {proposals: [%s]}
  probe: {mode: OFF}
  initiation: %s
`, name, number+1, name, cloud, address, inside, 4*number+1, inside, 4*number+2, crowdPSK, ikeProposal, espProposal, initiation)
			}
		}
	})
	out := map[string]string{}
	for name, b := range files {
		out[name] = b.String()
	}
	return out
}

// swanctl is the configuration of the same tunnels with start actions, as a file for swanctl --load-all.
func (c *crowd) swanctl() string {
	var b strings.Builder
	b.WriteString("connections {\n")
	id := 0
	c.each(func(_, _ int, customer []string) {
		for _, cloud := range []string{lab.GatewayA, lab.GatewayB} {
			for _, address := range customer {
				id++
				fmt.Fprintf(&b, `  c%[1]d {
    version = 2
    local_addrs = %[2]s
    remote_addrs = %[3]s
    proposals = %[4]s
    mobike = no
    unique = never
    keyingtries = 1
    dpd_delay = 10s
    if_id_in = %[1]d
    if_id_out = %[1]d
    local { auth = psk
      id = %[2]s }
    remote { auth = psk
      id = %[3]s }
    children { c%[1]d { local_ts = 0.0.0.0/0
      remote_ts = 0.0.0.0/0
      esp_proposals = %[5]s
      start_action = start
      dpd_action = clear } }
  }
`, id, cloud, address, ikeProposal, espProposal)
			}
		}
	})
	fmt.Fprintf(&b, "}\nsecrets { ike { secret = %q } }\n", crowdPSK)
	return b.String()
}

// installed waits until the gateway has the SAs of all tunnels, one in each direction.
func (c *crowd) installed() {
	c.t.Helper()
	lab.Eventually(c.t, 3*patience, fmt.Sprintf("%d tunnels", c.tunnels()), func() error {
		out, err := c.GatewayA.Run("ip", "xfrm", "state", "count")
		if err != nil {
			return err
		}
		fields := strings.Fields(out)
		for i, f := range fields[:len(fields)-1] {
			if f == "count" {
				if n, err := strconv.Atoi(fields[i+1]); err == nil && n >= 2*c.tunnels() {
					return nil
				}
			}
		}
		time.Sleep(100 * time.Millisecond)
		return fmt.Errorf("%s", out)
	})
}

// cpuTime is what a process has used.
func cpuTime(p *lab.Process) (time.Duration, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID()), "stat"))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s", data)
	}
	var ticks time.Duration
	for _, f := range fields[11:13] { // utime and stime (proc_pid_stat(5))
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += time.Duration(n)
	}
	return ticks * time.Second / 100, nil
}
