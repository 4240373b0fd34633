package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/strongswan/govici/vici"
	"golang.org/x/sys/unix"
)

const (
	charonBinary  = "/usr/sbin/charon-systemd"
	swanctlBinary = "/usr/sbin/swanctl"
	// charonStart is generous: an emulated machine that is busy loads plugins slowly.
	charonStart = 60 * time.Second
	viciTimeout = 20 * time.Second
)

// CharonOptions describe one charon.
type CharonOptions struct {
	// Name tells several charons of one host apart. The default is "charon".
	Name string
	// Config replaces the generated strongswan.conf. "${socket}" in it becomes the path of the VICI socket.
	Config string
	// Plugins replaces the list of plugins.
	Plugins []string
	// Retransmission of IKE requests; a dead peer is known after the sum of Timeout × Base^n for n = 0…Tries.
	// The defaults are 1 s, 1.5 and 3: 8 s.
	RetransmitTimeout time.Duration
	RetransmitBase    float64
	RetransmitTries   int
	// LogLevel of all of charon's groups. The default is 1; 2 shows proposals and identities.
	LogLevel int
	// Extra lines for the section charon-systemd.
	Extra string
}

// Charon is a charon-systemd with a configuration, a VICI socket and connections of its own.
type Charon struct {
	host      *Host
	o         CharonOptions
	dir       string
	process   *Process
	tunnels   []CustomerTunnel
	ownConfig bool // LoadConns was used, so tunnels is not the whole configuration
}

// Charon starts a charon in the host's namespace. It is ready, which means that VICI answers, when this returns.
func (h *Host) Charon(o CharonOptions) *Charon {
	h.lab.t.Helper()
	if o.Name == "" {
		o.Name = "charon"
	}
	c := &Charon{host: h, o: o, dir: filepath.Join(h.dir, o.Name)}
	err := os.MkdirAll(c.dir, 0o755)
	for _, binary := range []string{charonBinary, swanctlBinary} {
		if err == nil {
			// Distributions confine the daemons at their own paths, with AppArmor, to the distribution's folders.
			err = copyFile(filepath.Join(c.dir, filepath.Base(binary)), binary)
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "strongswan.conf"), []byte(c.strongswanConf()), 0o600)
	}
	h.lab.must(err, "%s: configure charon", h.name)
	c.Restart()
	return c
}

// Socket is the path of the VICI socket.
func (c *Charon) Socket() string { return filepath.Join(c.dir, "vici") }

// Process is the charon that was started last.
func (c *Charon) Process() *Process { return c.process }

// Kill ends charon with SIGKILL. States and policies stay in the kernel.
func (c *Charon) Kill() { c.host.lab.t.Helper(); c.process.Kill(unix.SIGKILL) }

// Stop ends charon with SIGTERM: it closes its SAs, telling its peers.
func (c *Charon) Stop() { c.host.lab.t.Helper(); c.process.Stop() }

// Restart starts charon again, after killing it if it still runs. It knows no connections then: connections added with
// Tunnel come back with Reload.
func (c *Charon) Restart() {
	t := c.host.lab.t
	t.Helper()
	if c.process != nil && c.process.Alive() {
		c.Kill()
	}
	_ = os.Remove(c.Socket()) // a killed charon leaves it
	c.process = c.host.Start(c.o.Name, ProcessOptions{Env: c.env()}, filepath.Join(c.dir, filepath.Base(charonBinary)))
	Eventually(t, charonStart, c.host.name+": charon answers on VICI", func() error {
		if !c.process.Alive() {
			t.Fatalf("lab: %s: charon ended:\n%s", c.host.name, c.process.LogTail(20))
		}
		ctx, cancel := context.WithTimeout(t.Context(), viciTimeout)
		defer cancel()
		s, err := vici.NewSession(vici.WithSocketPath(c.Socket()))
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		_, err = s.Call(ctx, "version", nil)
		return err
	})
}

// Signal sends a signal to charon; SIGSTOP makes it a peer that does not answer.
func (c *Charon) Signal(s syscall.Signal) { c.host.lab.t.Helper(); c.process.Kill(s) }

// LoadConns replaces all connections and secrets of charon by those of a swanctl.conf.
func (c *Charon) LoadConns(swanctlConf string) {
	c.host.lab.t.Helper()
	c.ownConfig = true
	c.host.lab.recordSecretsIn(swanctlConf)
	c.host.lab.must(c.load(swanctlConf), "%s: load connections", c.host.name)
}

func (c *Charon) load(swanctlConf string) error {
	file := filepath.Join(c.dir, "swanctl.conf")
	if err := os.WriteFile(file, []byte(swanctlConf), 0o600); err != nil {
		return err
	}
	_, err := c.Swanctl("--load-all", "--file", file)
	return err
}

// Swanctl runs a swanctl command, such as "--list-sas", and returns what it printed.
func (c *Charon) Swanctl(args ...string) (string, error) {
	argv := append([]string{"env"}, c.env()...)
	argv = append(argv, filepath.Join(c.dir, filepath.Base(swanctlBinary)))
	return c.host.Run(append(append(argv, args...), "--uri", "unix://"+c.Socket())...)
}

// env keeps both programs away from the machine's own configuration.
func (c *Charon) env() []string {
	return []string{"STRONGSWAN_CONF=" + filepath.Join(c.dir, "strongswan.conf"), "SWANCTL_DIR=" + c.dir}
}

// strongswanConf writes the configuration of a charon that leaves routes to others, and logs to its output.
func (c *Charon) strongswanConf() string {
	if c.o.Config != "" {
		return strings.ReplaceAll(c.o.Config, "${socket}", c.Socket())
	}
	o := c.o
	if len(o.Plugins) == 0 {
		o.Plugins = []string{
			"random", "nonce", "openssl", "kdf", "pem", "pkcs1", "x509", "pubkey", "kernel-netlink", "socket-default",
			"vici", "counters",
		}
	}
	if o.RetransmitTimeout == 0 {
		o.RetransmitTimeout = time.Second
	}
	if o.RetransmitBase == 0 {
		o.RetransmitBase = 1.5
	}
	if o.RetransmitTries == 0 {
		o.RetransmitTries = 3
	}
	if o.LogLevel == 0 {
		o.LogLevel = 1
	}
	return fmt.Sprintf(`charon-systemd {
	load = %s
	install_routes = no
	process_route = no
	install_virtual_ip = no
	retransmit_timeout = %g
	retransmit_base = %g
	retransmit_tries = %d
	block_threshold = 0
	cookie_threshold = 0
	cookie_threshold_ip = 0
	journal {
		default = -1
	}
	syslog {
		daemon {
			default = -1
		}
	}
	filelog {
		stdout {
			default = %d
			ike_name = yes
			time_format = %%H:%%M:%%S
			time_add_ms = yes
			flush_line = yes
		}
	}
	plugins {
		vici {
			socket = unix://%s
		}
		kernel-netlink {
			roam_events = no
		}
	}
	%s
}
`, strings.Join(o.Plugins, " "), o.RetransmitTimeout.Seconds(), o.RetransmitBase, o.RetransmitTries, o.LogLevel,
		c.Socket(), o.Extra)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
