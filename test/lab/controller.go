package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// controllerPort is where a controller's API is.
const controllerPort = "9470"

// ControllerOptions describe one controller.
type ControllerOptions struct {
	// Address of the host at which agents and people reach the API.
	Address string
	// Agents are the hosts that get a certificate.
	Agents []string
	// Extra lines for the configuration file.
	Extra string
}

// Controller is a bordergw-controller with an embedded etcd, a PKI of its own and one operator. The binary is
// ./bin/bordergw-controller, or what BORDERGW_CONTROLLER names.
type Controller struct {
	host    *Host
	o       ControllerOptions
	dir     string
	process *Process
}

// Controller starts a controller in the host's namespace. Its API accepts connections when this returns.
func (h *Host) Controller(o ControllerOptions) *Controller {
	h.lab.t.Helper()
	c := &Controller{host: h, o: o, dir: filepath.Join(h.dir, "ctl")}
	h.lab.must(os.MkdirAll(c.dir, 0o700), "%s: configure the controller", h.name)
	out, err := h.Run(program("BORDERGW_CONTROLLER", "bordergw-controller"), "init-pki", "--server", o.Address,
		"--agent", strings.Join(o.Agents, ","), c.pki(""))
	h.lab.must(err, "%s: init-pki: %s", h.name, out)
	h.lab.must(os.WriteFile(c.ConfigFile(), []byte(c.config()), 0o600), "%s: configure the controller", h.name)
	c.Start()
	return c
}

func (c *Controller) pki(name string) string { return filepath.Join(c.dir, "pki", name) }

// ConfigFile is the controller's configuration, DataDir its etcd's folder.
func (c *Controller) ConfigFile() string { return filepath.Join(c.dir, "controller.yaml") }
func (c *Controller) DataDir() string    { return filepath.Join(c.dir, "etcd") }

func (c *Controller) endpoint() string { return net.JoinHostPort(c.o.Address, controllerPort) }

func (c *Controller) config() string {
	return fmt.Sprintf("listen: %q\ntls: {ca: %s, cert: %s, key: %s}\netcd: {data: %s}\nencryption: {keys: %s}\nlog: {level: debug, format: text}\n%s",
		c.endpoint(), c.pki("ca.crt"), c.pki("controller.crt"), c.pki("controller.key"), c.DataDir(), c.pki("encryption.keys"), c.o.Extra)
}

// Start starts the controller again after Kill or Stop.
func (c *Controller) Start() {
	t := c.host.lab.t
	t.Helper()
	c.process = c.host.Start("controller", ProcessOptions{}, program("BORDERGW_CONTROLLER", "bordergw-controller"), "--config", c.ConfigFile())
	Eventually(t, agentStart, c.host.name+": the controller's API answers", func() error {
		if !c.process.Alive() {
			t.Fatalf("lab: %s: the controller ended:\n%s", c.host.name, c.process.LogTail(20))
		}
		conn, err := c.host.dial(t.Context(), "tcp", c.endpoint())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Process is the controller that was started last.
func (c *Controller) Process() *Process { return c.process }

// AgentSource is the source section of a host's agent, for AgentOptions.
func (c *Controller) AgentSource(host string) string {
	return fmt.Sprintf("{controller: {endpoints: [%q], ca: %s, cert: %s, key: %s}}", c.endpoint(), c.pki("ca.crt"), c.pki("agent-"+host+".crt"), c.pki("agent-"+host+".key"))
}

// API returns the address of the API and a client for it with the operator's certificate.
func (c *Controller) API() (url string, client *http.Client) {
	c.host.lab.t.Helper()
	ca, err := os.ReadFile(c.pki("ca.crt"))
	c.host.lab.must(err, "the controller's CA")
	pair, err := tls.LoadX509KeyPair(c.pki("operator-operator.crt"), c.pki("operator-operator.key"))
	c.host.lab.must(err, "the operator's certificate")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return "https://" + c.endpoint(), &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.host.dial(ctx, network, address)
		},
	}}
}
