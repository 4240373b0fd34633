package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// frrFolder is where the package has its daemons.
const frrFolder = "/usr/lib/frr"

const frrTimeout = 60 * time.Second

// FRR is zebra, bgpd and bfdd in a host's namespace, apart from those of other hosts by a path space.
type FRR struct {
	host  *Host
	space string
}

// FRRConf describes an FRR with one eBGP neighbour. Everything learned goes to the kernel.
type FRRConf struct {
	RouterID string
	ASN      uint32
	Neighbor string // its address
	Remote   uint32 // its ASN
	Announce []string
	Hold     int // seconds; default 30
	Password string
	BFD      bool // 300 ms × 3, FRR's default
	Extra    string
}

// String writes the configuration of BGP.
func (c FRRConf) String() string {
	var b strings.Builder
	hold := c.Hold
	if hold == 0 {
		hold = 30
	}
	fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check\n", c.ASN, c.RouterID)
	fmt.Fprintf(&b, " neighbor %[1]s remote-as %[2]d\n neighbor %[1]s timers %[3]d %[4]d\n neighbor %[1]s timers connect 2\n",
		c.Neighbor, c.Remote, max(1, hold/3), hold)
	if c.Password != "" {
		fmt.Fprintf(&b, " neighbor %s password %s\n", c.Neighbor, c.Password)
	}
	if c.BFD {
		fmt.Fprintf(&b, " neighbor %s bfd\n", c.Neighbor)
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		fmt.Fprintf(&b, " address-family %s unicast\n  neighbor %s activate\n", family, c.Neighbor)
		for _, prefix := range c.Announce {
			if strings.Contains(prefix, ":") == (family == "ipv6") {
				fmt.Fprintf(&b, "  network %s\n", prefix)
			}
		}
		b.WriteString(" exit-address-family\n")
	}
	fmt.Fprintf(&b, "%sexit\n", c.Extra)
	return b.String()
}

// FRR starts zebra, bgpd and bfdd, and mgmtd where FRR has it. They are configured when this returns.
func (h *Host) FRR(conf FRRConf) *FRR {
	t := h.lab.t
	t.Helper()
	f := &FRR{host: h, space: filepath.Base(h.lab.run) + "-" + h.name}
	h.lab.must(f.folders(), "%s: FRR's folders", h.name)
	t.Cleanup(func() { _ = os.RemoveAll(f.sockets()) })
	daemons := []string{"zebra", "bfdd", "bgpd"}
	// From FRR 10 on, zebra is configured by mgmtd, and does nothing but complain without it.
	if _, err := os.Stat(filepath.Join(frrFolder, "mgmtd")); err == nil {
		daemons = slices.Insert(daemons, 0, "mgmtd")
	}
	for _, d := range daemons {
		p := h.Start("frr-"+d, ProcessOptions{}, filepath.Join(frrFolder, d), "-N", f.space, "--log", "stdout", "-A", "127.0.0.1")
		Eventually(t, frrTimeout, h.name+": "+d+" answers", func() error {
			if !p.Alive() {
				t.Fatalf("lab: %s: %s ended:\n%s", h.name, d, p.LogTail(20))
			}
			_, err := os.Stat(filepath.Join(f.sockets(), d+".vty"))
			return err
		})
	}
	file := filepath.Join(f.sockets(), "frr.conf")
	h.lab.must(os.WriteFile(file, []byte("ip nht resolve-via-default\n"+conf.String()), 0o600), "%s: %s", h.name, file)
	out, err := h.Run("vtysh", "-N", f.space, "-f", file)
	h.lab.must(err, "%s: FRR's configuration: %s", h.name, out)
	return f
}

func (f *FRR) sockets() string { return filepath.Join("/var/run/frr", f.space) }

// folders makes what the daemons, which run as the user frr, need to be there.
func (f *FRR) folders() error {
	u, err := user.Lookup("frr")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.sockets(), 0o755); err != nil {
		return err
	}
	return os.Chown(f.sockets(), uid, gid)
}

// Show decodes what "show <what> json" prints.
func (f *FRR) Show(into any, what string) error {
	out, err := f.host.Run("vtysh", "-N", f.space, "-c", "show "+what+" json")
	if err != nil {
		return fmt.Errorf("%s: FRR: %w: %s", f.host.name, err, out)
	}
	// vtysh complains about a missing vtysh.conf before it answers.
	if i := strings.IndexAny(out, "{["); i > 0 {
		out = out[i:]
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("%s: FRR: show %s: %w: %s", f.host.name, what, err, out)
	}
	return nil
}

// Established returns nil when the session with the neighbour is established.
func (f *FRR) Established(neighbor string) error {
	var out map[string]struct{ BGPState string }
	if err := f.Show(&out, "bgp neighbors "+neighbor); err != nil {
		return err
	}
	if state := out[neighbor].BGPState; state != "Established" {
		return fmt.Errorf("%s: the session with %s is %q", f.host.name, neighbor, state)
	}
	return nil
}

// FRRRoute is one path of a prefix in FRR's BGP table.
type FRRRoute struct {
	Path   string // AS_PATH
	Metric *int   // MED
	Valid  bool
}

// Learned returns the paths learned from the neighbour by prefix, of one family: "ipv4" or "ipv6".
func (f *FRR) Learned(family, neighbor string) (map[string]FRRRoute, error) {
	var out struct {
		Routes map[string][]struct {
			FRRRoute
			PeerID string
		}
	}
	if err := f.Show(&out, "bgp "+family+" unicast"); err != nil {
		return nil, err
	}
	learned := map[string]FRRRoute{}
	for prefix, paths := range out.Routes {
		for _, p := range paths {
			if p.PeerID == neighbor {
				learned[prefix] = p.FRRRoute
			}
		}
	}
	return learned, nil
}

// HasRoutes returns nil when exactly these IPv4 prefixes were learned from the neighbour.
func (f *FRR) HasRoutes(neighbor string, prefixes ...string) error {
	learned, err := f.Learned("ipv4", neighbor)
	if err != nil {
		return err
	}
	var got []string
	for p := range learned {
		got = append(got, p)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(prefixes))
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: routes from %s are %q, want %q", f.host.name, neighbor, got, want)
	}
	return nil
}
