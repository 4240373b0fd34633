package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const plutoStart = 60 * time.Second

// LibreswanConn is the customer's end of a site-to-site tunnel in libreswan: a pre-shared key, everything in the traffic selectors, and an
// XFRM interface to route into.
type LibreswanConn struct {
	Name          string
	Local, Remote string // outer addresses, which are the identities too
	PSK           string
	Inside        string // address of the interface ipsec2, as a prefix
	// Options are more lines of the conn section, "ikev2=yes" for example (ipsec.conf(5)).
	Options []string
}

// Libreswan is a pluto with one connection: a second implementation of IKE. The machine does not have it installed, because Debian's
// package conflicts with strongSwan's; it is unpacked in the folder that BORDERGW_LIBRESWAN names.
type Libreswan struct {
	host    *Host
	conn    LibreswanConn
	dir     string
	process *Process
}

// Libreswan starts a pluto in the host's namespace that has loaded the connection and waits for the peer.
func (h *Host) Libreswan(c LibreswanConn) *Libreswan {
	t := h.lab.t
	t.Helper()
	h.lab.Secret(c.PSK)
	p := &Libreswan{host: h, conn: c, dir: filepath.Join(h.dir, "pluto")}
	// pluto uses a device of this name that is there already. It refuses to work when ipsec1 is, which it makes as a trial.
	h.Xfrm("ipsec2", 2, "eth0", 1400)
	h.Address("ipsec2", c.Inside)
	for _, dir := range []string{p.path("run"), p.path("nss"), p.path("empty")} {
		h.lab.must(os.MkdirAll(dir, 0o700), "%s: configure pluto", h.name)
	}
	for name, content := range map[string]string{"ipsec.conf": p.conf(), "ipsec.secrets": fmt.Sprintf("%s %s : PSK %q\n", c.Local, c.Remote, c.PSK)} {
		h.lab.must(os.WriteFile(p.path(name), []byte(content), 0o600), "%s: configure pluto", h.name)
	}
	_, err := h.Run("certutil", "-N", "-d", "sql:"+p.path("nss"), "--empty-password")
	h.lab.must(err, "%s: pluto's database of certificates", h.name)
	// pluto insists on finding its helpers where they were built for.
	mount := "mount -t overlay overlay -o lowerdir=" + filepath.Dir(filepath.Dir(plutoProgram("pluto"))) + ":/usr/libexec /usr/libexec"
	p.process = h.Start("pluto", ProcessOptions{}, "unshare", "--mount", "sh", "-c", mount+` && exec "$@"`, "sh", plutoProgram("pluto"), "--nofork", "--stderrlog", "--no-dnssec", "--config", p.path("ipsec.conf"),
		"--rundir", p.path("run"), "--nssdir", p.path("nss"), "--secretsfile", p.path("ipsec.secrets"), "--ipsecdir", p.path("empty"))
	Eventually(t, plutoStart, h.name+": pluto has its connection", func() error {
		if !p.process.Alive() {
			t.Fatalf("lab: %s: pluto ended:\n%s", h.name, p.process.LogTail(20))
		}
		if _, err := p.whack("--listen"); err != nil {
			return err
		}
		_, err := h.Run(plutoProgram("addconn"), "--ctlsocket", p.path("run", "pluto.ctl"), "--config", p.path("ipsec.conf"), c.Name)
		return err
	})
	return p
}

func (p *Libreswan) path(elements ...string) string {
	return filepath.Join(append([]string{p.dir}, elements...)...)
}

func plutoProgram(name string) string {
	return filepath.Join(os.Getenv("BORDERGW_LIBRESWAN"), "usr", "libexec", "ipsec", name)
}

func (p *Libreswan) conf() string {
	c := p.conn
	lines := append([]string{
		"authby=secret", "auto=add", "left=" + c.Local, "leftid=" + c.Local, "right=" + c.Remote, "rightid=" + c.Remote,
		"leftsubnet=0.0.0.0/0", "rightsubnet=0.0.0.0/0", "ipsec-interface=2", "mobike=no",
		// Routes are the scenario's.
		"leftupdown=/bin/true",
	}, c.Options...)
	return "config setup\n\tprotostack=xfrm\n\tikev1-policy=accept\n\nconn " + c.Name + "\n\t" + strings.Join(lines, "\n\t") + "\n"
}

// Initiate negotiates the connection from this end and waits for the outcome.
func (p *Libreswan) Initiate() error {
	_, err := p.whack("--name", p.conn.Name, "--initiate")
	return err
}

// Terminate closes the connection, telling the peer.
func (p *Libreswan) Terminate() error {
	_, err := p.whack("--name", p.conn.Name, "--terminate")
	return err
}

// TrafficStatus is what pluto says of its IPsec SAs.
func (p *Libreswan) TrafficStatus() (string, error) { return p.whack("--trafficstatus") }

func (p *Libreswan) whack(args ...string) (string, error) {
	return p.host.Run(append([]string{plutoProgram("whack"), "--rundir", p.path("run")}, args...)...)
}
