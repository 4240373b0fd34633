//go:build lab && !race

package gobgp

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bordergw/bordergw/bgp"
	"github.com/bordergw/bordergw/internal/secret"
)

// bird is a real BIRD 2 on 127.0.0.40 with AS 65040.
type bird struct {
	b   *bench
	dir string
}

const birdConf = `
log "%[1]s/log" all;
router id 10.255.1.40;
protocol device {}
protocol static s4 { ipv4; %[3]s }
protocol static s6 { ipv6; route 2001:db8:40::/48 blackhole; }
protocol bgp border {
  local 127.0.0.40 port %[2]d as 65040;
  neighbor 127.0.0.1 port %[2]d as 65000;
  strict bind yes;
  multihop;
  connect retry time 2;
  error wait time 2, 4;
  graceful restart yes;
  debug { states, routes };
  %[4]s
  ipv4 { import all; export where source = RTS_STATIC; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address 2001:db8:40::1; };
}
`

func (b *bench) bird() *bird {
	b.Helper()
	path, err := exec.LookPath("bird")
	if err != nil {
		b.Fatalf("this test needs BIRD 2 (package bird2): %v", err)
	}
	r := &bird{b: b, dir: b.TempDir()}
	r.write("", "172.16.0.0/16")
	cmd := exec.Command(path, "-f", "-c", r.file("conf"), "-s", r.file("sock"), "-P", r.file("pid"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if b.Failed() {
			log, _ := os.ReadFile(r.file("log"))
			b.Logf("BIRD's log:\n%s", log)
		}
	})
	b.eventually(func() string {
		if out, err := exec.Command("birdc", "-s", r.file("sock"), "show status").CombinedOutput(); err != nil {
			return string(out)
		}
		return ""
	})
	return r
}

func (r *bird) file(name string) string { return filepath.Join(r.dir, name) }

func (r *bird) write(extra string, prefixes ...string) {
	r.b.Helper()
	routes := ""
	for _, p := range prefixes {
		routes += "route " + p + " blackhole; "
	}
	if err := os.WriteFile(r.file("conf"), fmt.Appendf(nil, birdConf, r.dir, r.b.port, routes, extra), 0o600); err != nil {
		r.b.Fatal(err)
	}
}

func (r *bird) ask(command string) string {
	r.b.Helper()
	// birdc fails when a route is not there, which is an answer too.
	out, err := exec.Command("birdc", "-s", r.file("sock"), command).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Network not found") {
		r.b.Fatalf("birdc %s: %v\n%s", command, err, out)
	}
	return string(out)
}

func (r *bird) says(command, want string) {
	r.b.Helper()
	r.b.eventually(func() string {
		if out := r.ask(command); !strings.Contains(out, want) {
			return fmt.Sprintf("no %q in\n%s", want, out)
		}
		return ""
	})
}

func TestBIRD(t *testing.T) {
	b := newBench(t, Options{})
	r := b.bird()
	med := uint32(70)
	n := bgp.Neighbor{
		Name: "tunnel/bird", Kind: bgp.Customer, Address: netip.MustParseAddr("127.0.0.40"), LocalAddress: us, PeerASN: 65040, Port: b.port,
		Keepalive: time.Second, Hold: 9 * time.Second, MED: &med, Prepend: 1, MaxPrefixes: 3, IPv4: true, IPv6: true,
	}
	s := b.speaker(n)
	s.Announcements = announcements(bgp.Customer, "10.0.0.0/16", "10.1.0.0/16")
	start := time.Now()
	b.apply(s)
	b.established("gw", "tunnel/bird")
	t.Logf("established %v after Apply", time.Since(start))
	b.learns("gw", "172.16.0.0/16: tunnel/bird", "2001:db8:40::/48: tunnel/bird")
	b.run("BIRD sees what is announced", func() {
		r.says("show route 10.0.0.0/16 all", "BGP.as_path: 65000 65000")
		r.says("show route 10.0.0.0/16 all", "BGP.med: 70")
		r.says("show route 10.0.0.0/16 all", "BGP.next_hop: 127.0.0.1")
	})
	b.run("withdraw", func() {
		s.Announcements = s.Announcements[:1]
		b.apply(s)
		r.says("show route 10.1.0.0/16", "Network not found")
	})
	b.run("learn and unlearn", func() {
		r.write("", "172.16.0.0/16", "172.17.0.0/16")
		r.ask("configure")
		b.learns("gw", "172.16.0.0/16: tunnel/bird", "172.17.0.0/16: tunnel/bird", "2001:db8:40::/48: tunnel/bird")
	})
	b.run("a wrong password keeps the session down, the right one brings it up", func() {
		r.write(`password "correct-horse";`, "172.16.0.0/16")
		r.ask("configure")
		b.eventually(func() string {
			if s := b.session("gw", "tunnel/bird"); s.State == bgp.Established {
				return fmt.Sprintf("%+v", s)
			}
			return ""
		})
		s.Neighbors[0].Password = secret.New("correct-horse")
		b.apply(s)
		b.established("gw", "tunnel/bird")
		b.learns("gw", "172.16.0.0/16: tunnel/bird", "2001:db8:40::/48: tunnel/bird")
	})
	b.run("removal is told", func() {
		s.Neighbors = nil
		b.apply(s)
		r.says("show protocols all border", "Received: Peer de-configured")
		r.says("show route 10.0.0.0/16", "Network not found")
	})
}

// TestBIRDKeepsRoutesOverARestart needs the forwarding bit: BIRD drops the routes of a neighbor that comes back without it.
func TestBIRDKeepsRoutesOverARestart(t *testing.T) {
	for _, restarting := range []bool{true, false} {
		t.Run(fmt.Sprintf("restarting=%v", restarting), func(t *testing.T) {
			b := newBench(t, Options{})
			r := b.bird()
			addr := netip.MustParseAddr("127.0.0.40")
			first := b.process(addr, 65040, false, "10.0.0.0/16")
			r.says("show protocols all border", "Established")
			r.says("show route 10.0.0.0/16", "border")
			_ = first.Process.Kill()
			_ = first.Wait()
			r.says("show protocols all border", "Neighbor graceful restart active")
			b.process(addr, 65040, restarting, "10.0.0.0/16")
			r.says("show protocols all border", "Established")
			r.says("show route 10.0.0.0/16", "border")
			if out := r.ask("show protocols all border"); strings.Contains(out, "Restart recovery") != restarting {
				t.Errorf("BIRD has heard of a restart, or has not:\n%s", out)
			}
			log, err := os.ReadFile(r.file("log"))
			if err != nil {
				t.Fatal(err)
			}
			// Of a neighbor that has kept nothing, BIRD loses the route too, but only if that announces it no sooner than BIRD cleans up.
			if restarting && strings.Contains(string(log), "border.ipv4 > removed") {
				t.Errorf("the route was lost on the way:\n%s", log)
			}
		})
	}
}
