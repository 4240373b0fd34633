//go:build !race

package gobgp

// Graceful restart is not for the race detector: when a session is lost, GoBGP v4.8.0 marks the paths that it keeps stale in place
// (AdjRib.StaleAll) while whoever watches or lists paths copies that mark. The driver does not look at it.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bordergw/bordergw/bgp"
)

// speakerEnv makes the test binary a speaker that can be killed: "<port> <neighbor's address> <neighbor's ASN> <restarting> <prefix>".
const speakerEnv = "BORDERGW_TEST_SPEAKER"

func TestMain(m *testing.M) {
	if conf := os.Getenv(speakerEnv); conf != "" {
		if err := speak(conf); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// speak runs a speaker until SIGTERM, after which it ends as an agent does that is to be replaced.
func speak(conf string) error {
	var port uint16
	var addr, prefix string
	var asn uint32
	var restarting bool
	if _, err := fmt.Sscan(conf, &port, &addr, &asn, &restarting, &prefix); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	_, err := d.Apply(ctx, bgp.Speaker{
		Gateway: "gw", Forwarding: restarting, ASN: 65000, RouterID: netip.MustParseAddr("10.255.0.1"), ListenAddresses: []netip.Addr{us}, Port: port,
		Announcements: announcements(bgp.Customer, prefix),
		Neighbors: []bgp.Neighbor{{
			Name: "tunnel/a", Kind: bgp.Customer, Address: netip.MustParseAddr(addr), LocalAddress: us, PeerASN: asn, Port: port,
			Keepalive: time.Second, Hold: 9 * time.Second, RestartTime: 60 * time.Second, IPv4: true,
		}},
	})
	if err != nil {
		return err
	}
	if err := d.Run(ctx); err != nil {
		return err
	}
	return d.Close(context.Background(), true)
}

// process starts a speaker of its own process.
func (b *bench) process(neighbor netip.Addr, asn uint32, restarting bool, prefix string) *exec.Cmd {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %v %d %v %s", speakerEnv, b.port, neighbor, asn, restarting, prefix))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// TestRestart kills or stops a speaker and starts it again. The neighbor keeps its route all the time.
func TestRestart(t *testing.T) {
	for name, sig := range map[string]os.Signal{"killed": syscall.SIGKILL, "stopped to be replaced": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Options{})
			r := b.router(11, 65010, gracefulRestart(false))
			const fresh = "10.0.0.0/16 via 127.0.0.1 path [65000]"
			var seen []string
			until := func(want string) {
				t.Helper()
				b.eventually(func() string {
					got := strings.Join(r.table(), ", ")
					if len(seen) > 0 && !strings.HasPrefix(got, fresh) {
						t.Fatalf("the neighbor has lost the route: %q after %q", got, seen)
					}
					if got == want {
						seen = append(seen, got)
						return ""
					}
					return fmt.Sprintf("table %q, want %q", got, want)
				})
			}
			first := b.process(r.addr, r.asn, false, "10.0.0.0/16")
			until(fresh)
			if err := first.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = first.Wait()
			until(fresh + " stale")
			b.process(r.addr, r.asn, true, "10.0.0.0/16")
			until(fresh)
		})
	}
}

// TestHelper keeps the routes of a neighbor that restarts, and drops what it does not announce again.
func TestHelper(t *testing.T) {
	b := newBench(t, Options{})
	r := b.router(11, 65010, gracefulRestart(false))
	n := r.neighbor("tunnel/a", bgp.Customer)
	b.apply(b.speaker(n))
	b.established("gw", "tunnel/a")
	r.announce(route{prefix: "172.16.0.0/16"}, route{prefix: "172.17.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/a")
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/a"); !s.EORReceived {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	r.vanish()
	b.eventually(func() string {
		if s := b.session("gw", "tunnel/a"); s.State == bgp.Established || !strings.Contains(s.Message, "routes are kept") {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	b.learns("gw", "172.16.0.0/16: tunnel/a", "172.17.0.0/16: tunnel/a")
	again := b.router(11, 65010, gracefulRestart(true))
	again.announce(route{prefix: "172.16.0.0/16"})
	b.learns("gw", "172.16.0.0/16: tunnel/a")
	b.established("gw", "tunnel/a")
}

// TestPrefixLimitWithGracefulRestart: the end of a session because of the limit keeps no routes.
func TestPrefixLimitWithGracefulRestart(t *testing.T) { testPrefixLimit(t, 30*time.Second) }
