package lab

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
	Extra    string
	LogLevel string // default: debug
}

// Controller is a bordergw-controller with an embedded etcd, a PKI of its own and one operator, whose bordergwctl has it as its context.
// The binary is ./bin/bordergw-controller, or what BORDERGW_CONTROLLER names.
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
	h.lab.must(os.WriteFile(c.contexts(), []byte(c.context()), 0o600), "%s: configure bordergwctl", h.name)
	c.Start()
	return c
}

func (c *Controller) pki(name string) string { return filepath.Join(c.dir, "pki", name) }

// ConfigFile is the controller's configuration, DataDir its etcd's folder.
func (c *Controller) ConfigFile() string { return filepath.Join(c.dir, "controller.yaml") }
func (c *Controller) DataDir() string    { return filepath.Join(c.dir, "etcd") }
func (c *Controller) contexts() string   { return filepath.Join(c.dir, "contexts.yaml") }

func (c *Controller) endpoint() string { return net.JoinHostPort(c.o.Address, controllerPort) }

func (c *Controller) config() string {
	return fmt.Sprintf("listen: %q\ntls: {ca: %s, cert: %s, key: %s}\netcd: {data: %s}\nencryption: {keys: %s}\nlog: {level: %s, format: text}\n%s",
		c.endpoint(), c.pki("ca.crt"), c.pki("controller.crt"), c.pki("controller.key"), c.DataDir(), c.pki("encryption.keys"),
		cmp.Or(c.o.LogLevel, "debug"), c.o.Extra)
}

// context is the operator's file of contexts.
func (c *Controller) context() string {
	return fmt.Sprintf("currentContext: lab\ncontexts:\n- {name: lab, server: \"https://%s\", ca: %s, cert: %s, key: %s}\n",
		c.endpoint(), c.pki("ca.crt"), c.pki("operator-operator.crt"), c.pki("operator-operator.key"))
}

// Ctl runs bordergwctl as the operator, with the controller as the current context, and returns what it printed.
func (c *Controller) Ctl(args ...string) (string, error) {
	return c.host.Run(append([]string{"env", "BORDERGWCTL_CONFIG=" + c.contexts(), program("BORDERGW_CTL", "bordergwctl")}, args...)...)
}

// CtlJSON runs bordergwctl with "-o json" and decodes what it printed.
func (c *Controller) CtlJSON(to any, args ...string) error {
	return decodeCtl(to, c.Ctl, args)
}

// Apply gives manifests to the controller, by name, with bordergwctl apply in one transaction, and returns what it printed.
func (c *Controller) Apply(files map[string]string, flags ...string) (string, error) {
	c.host.lab.t.Helper()
	dir := filepath.Join(c.dir, "manifests")
	c.host.lab.must(os.MkdirAll(dir, 0o700), "%s: write manifests", c.host.name)
	for _, content := range files {
		c.host.lab.recordSecretsIn(content)
	}
	c.host.lab.must(writeFolder(dir, files), "%s: write manifests", c.host.name)
	return c.Ctl(append([]string{"apply", "-f", dir}, flags...)...)
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

// API returns the address of the API and a client for it with the operator's certificate, for what bordergwctl does not do. It sets no
// limit to how long an answer takes: there are streams.
func (c *Controller) API() (url string, client *http.Client) {
	c.host.lab.t.Helper()
	ca, err := os.ReadFile(c.pki("ca.crt"))
	c.host.lab.must(err, "the controller's CA")
	pair, err := tls.LoadX509KeyPair(c.pki("operator-operator.crt"), c.pki("operator-operator.key"))
	c.host.lab.must(err, "the operator's certificate")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return "https://" + c.endpoint(), &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.host.dial(ctx, network, address)
		},
	}}
}
