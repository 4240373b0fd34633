package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const agentStart = 60 * time.Second

// AgentOptions describe one agent.
type AgentOptions struct {
	Addresses []string // cloud addresses that the host owns
	Underlay  string   // default: eth0
	Charon    *Charon  // the charon to drive; its socket goes into the configuration
	Manifests map[string]string
	// Source replaces the agent's source section, in YAML flow style; the default is the folder of the manifests.
	Source string
	// Extra lines for the configuration file.
	Extra    string
	LogLevel string // default: debug
	Env      []string
}

// Agent is a bordergw-agent with files of its own. The binaries are ./bin/bordergw-agent and ./bin/bordergwctl, or
// what BORDERGW_AGENT and BORDERGW_CTL name.
type Agent struct {
	host    *Host
	o       AgentOptions
	dir     string
	process *Process
}

// metricsPort is where the agent serves metrics, on the host's loopback address.
const metricsPort = "9469"

// Agent starts an agent in the host's namespace. Its API socket accepts connections when this returns.
func (h *Host) Agent(o AgentOptions) *Agent {
	h.lab.t.Helper()
	a := &Agent{host: h, o: o, dir: filepath.Join(h.dir, "agent")}
	err := os.MkdirAll(a.ManifestDir(), 0o755)
	if err == nil {
		err = os.MkdirAll(a.StateDir(), 0o700)
	}
	if err == nil {
		err = os.WriteFile(a.ConfigFile(), []byte(a.config()), 0o600)
	}
	h.lab.must(err, "%s: configure the agent", h.name)
	a.WriteManifests(o.Manifests)
	a.Start()
	h.lab.mu.Lock()
	h.lab.agents = append(h.lab.agents, a)
	h.lab.mu.Unlock()
	return a
}

// Paths of the agent's files.
func (a *Agent) Socket() string      { return filepath.Join(a.dir, "api") }
func (a *Agent) ConfigFile() string  { return filepath.Join(a.dir, "agent.yaml") }
func (a *Agent) ManifestDir() string { return filepath.Join(a.dir, "manifests.d") }
func (a *Agent) StateDir() string    { return filepath.Join(a.dir, "state") }

func (a *Agent) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "host: %s\naddresses: [%s]\n", a.host.name, quoted(a.o.Addresses))
	fmt.Fprintf(&b, "underlay: {interface: %s}\n", cmp.Or(a.o.Underlay, "eth0"))
	fmt.Fprintf(&b, "source: %s\n", cmp.Or(a.o.Source, "{file: {path: "+a.ManifestDir()+"}}"))
	if a.o.Charon != nil {
		fmt.Fprintf(&b, "charon: {socket: %s}\n", a.o.Charon.Socket())
	}
	fmt.Fprintf(&b, "api: {socket: %s}\nmetrics: {listen: \"127.0.0.1:%s\"}\nstate: %s\n", a.Socket(), metricsPort, a.StateDir())
	fmt.Fprintf(&b, "log: {level: %s, format: text}\n%s", cmp.Or(a.o.LogLevel, "debug"), a.o.Extra)
	return b.String()
}

// quoted joins values as YAML strings: an IPv6 address needs its quotes.
func quoted(values []string) string {
	var q []string
	for _, v := range values {
		q = append(q, fmt.Sprintf("%q", v))
	}
	return strings.Join(q, ", ")
}

// Start starts the agent again after Kill or Stop.
func (a *Agent) Start() {
	t := a.host.lab.t
	t.Helper()
	if a.process != nil && a.process.Alive() {
		t.Fatalf("lab: %s: the agent runs already", a.host.name)
	}
	a.process = a.host.Start("agent", ProcessOptions{Env: a.o.Env},
		program("BORDERGW_AGENT", "bordergw-agent"), "--config", a.ConfigFile())
	Eventually(t, agentStart, a.host.name+": the agent's API answers", func() error {
		if !a.process.Alive() {
			t.Fatalf("lab: %s: the agent ended:\n%s", a.host.name, a.process.LogTail(20))
		}
		conn, err := net.Dial("unix", a.Socket())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func program(env, name string) string { return cmp.Or(os.Getenv(env), filepath.Join("bin", name)) }

// Process is the agent that was started last.
func (a *Agent) Process() *Process { return a.process }

// Kill sends a signal; with SIGKILL it returns after the agent has ended.
func (a *Agent) Kill(signal syscall.Signal) { a.host.lab.t.Helper(); a.process.Kill(signal) }

// Stop ends the agent with SIGTERM and waits for it.
func (a *Agent) Stop() { a.host.lab.t.Helper(); a.process.Stop() }

// Restart kills the agent with SIGKILL and starts it again.
func (a *Agent) Restart() {
	a.host.lab.t.Helper()
	a.Kill(unix.SIGKILL)
	a.Start()
}

// WriteManifests makes the folder of manifests hold exactly these files, by name. Every file is replaced atomically.
func (a *Agent) WriteManifests(files map[string]string) {
	a.host.lab.t.Helper()
	for _, content := range files {
		a.host.lab.recordSecretsIn(content)
	}
	a.host.lab.must(writeFolder(a.ManifestDir(), files), "%s: write manifests", a.host.name)
}

func writeFolder(dir string, files map[string]string) error {
	for name, content := range files {
		// Written beside the folder: an agent that watches it must not see the temporary file.
		temporary := dir + ".new"
		if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
			return err
		}
		if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range old {
		if _, ok := files[entry.Name()]; !ok {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check runs the agent with --check and returns what it printed; the error is that of its exit code.
func (a *Agent) Check() (string, error) {
	return a.host.Run(program("BORDERGW_AGENT", "bordergw-agent"), "--config", a.ConfigFile(), "--check")
}

// Ctl runs bordergwctl against the agent and returns what it printed.
func (a *Agent) Ctl(args ...string) (string, error) {
	return a.host.Run(append([]string{program("BORDERGW_CTL", "bordergwctl"), "--socket", a.Socket()}, args...)...)
}

// CtlJSON runs bordergwctl with "-o json" and decodes what it printed.
func (a *Agent) CtlJSON(to any, args ...string) error { return decodeCtl(to, a.Ctl, args) }

func decodeCtl(to any, ctl func(...string) (string, error), args []string) error {
	out, err := ctl(append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(to); err != nil {
		return fmt.Errorf("bordergwctl %s: %w in %.200q", strings.Join(args, " "), err, out)
	}
	return nil
}

// Metrics fetches the agent's metrics page.
func (a *Agent) Metrics() (string, error) { return a.metrics(a.host.lab.t.Context()) }

func (a *Agent) metrics(ctx context.Context) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: a.host.dial}, Timeout: 20 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+metricsPort+"/metrics", nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	page, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: metrics: %s: %.200s", a.host.name, response.Status, page)
	}
	return string(page), nil
}
