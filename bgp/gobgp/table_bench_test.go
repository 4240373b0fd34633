package gobgp

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/bgp"
)

// BenchmarkLearn learns a table from two neighbors, which are BIRDs: from the moment at which they may announce until every prefix has both
// paths.
func BenchmarkLearn(b *testing.B) {
	for _, routes := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			port := l.Addr().(*net.TCPAddr).Port
			_ = l.Close()
			tables := [2]*table{newTable(b, port, routes, 50), newTable(b, port, routes, 51)}
			ask := func(command string) {
				for _, t := range tables {
					t.ask(command)
				}
			}
			d := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
			s := bgp.Speaker{Gateway: "gw", ASN: 65000, RouterID: netip.MustParseAddr("10.255.0.1"), ListenAddresses: []netip.Addr{us}, Port: uint16(port)}
			for i := range 2 {
				s.Neighbors = append(s.Neighbors, bgp.Neighbor{Name: fmt.Sprintf("tunnel/%d", i), Kind: bgp.Customer, LocalAddress: us, Port: uint16(port),
					Address: netip.AddrFrom4([4]byte{127, 0, 0, byte(50 + i)}), PeerASN: 65040, IPv4: true, MaxPrefixes: uint32(routes)})
			}
			if _, err := d.Apply(b.Context(), s); err != nil {
				b.Fatal(err)
			}
			until := func(what string, is func() bool) {
				for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						out, _ := exec.Command("birdc", "-s", filepath.Join(tables[1].dir, "sock"), "show protocols all").CombinedOutput()
						b.Fatalf("not within a minute: %s\n%s", what, out)
					}
				}
			}
			until("sessions", func() bool {
				all := d.Sessions("gw")
				return len(all) == 2 && all[0].State == bgp.Established && all[1].State == bgp.Established
			})
			learned := 0
			begin := processTime(b)
			for b.Loop() {
				ask("enable announce")
				// The view is read once, at the end: what readers cost is not measured here.
				until("all routes", func() bool {
					v := d.find("gw").view
					v.mu.Lock()
					defer v.mu.Unlock()
					n := 0
					for addr := range v.rib.held {
						n += int(v.rib.accepted(addr))
					}
					return n == 2*routes
				})
				learned += 2 * routes
				b.StopTimer()
				ask("disable announce")
				until("no routes", func() bool { return len(d.Routes("gw")) == 0 })
				b.StartTimer()
			}
			b.ReportMetric((processTime(b)-begin).Seconds()*1e6/float64(learned), "cpu-µs/path")
			if err := d.Close(b.Context(), false); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func processTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// table is a BIRD with many routes that announces them while the protocol "announce" is enabled.
type table struct {
	b   *testing.B
	dir string
}

func newTable(b *testing.B, port, routes, host int) *table {
	b.Helper()
	t := &table{b: b, dir: b.TempDir()}
	var conf strings.Builder
	fmt.Fprintf(&conf, "router id 10.255.1.%d;\nprotocol device {}\nprotocol static announce { disabled; ipv4;\n", host)
	for i := range routes {
		fmt.Fprintf(&conf, "route %d.%d.%d.0/24 blackhole;\n", 20+i>>16, i>>8&255, i&255)
	}
	conf.WriteString("}\n")
	fmt.Fprintf(&conf, "protocol bgp border { local 127.0.0.%[1]d port %[2]d as 65040; neighbor 127.0.0.1 port %[2]d as 65000; strict bind yes; multihop; "+
		"connect retry time 1; ipv4 { import none; export where source = RTS_STATIC; }; }\n", host, port)
	file := filepath.Join(t.dir, "conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("bird", "-f", "-c", file, "-s", filepath.Join(t.dir, "sock"), "-P", filepath.Join(t.dir, "pid"))
	if err := cmd.Start(); err != nil {
		b.Fatalf("this benchmark needs BIRD 2 (package bird2): %v", err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for range 200 {
		if exec.Command("birdc", "-s", filepath.Join(t.dir, "sock"), "show status").Run() == nil {
			return t
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatal("BIRD does not answer")
	return nil
}

func (t *table) ask(command string) {
	t.b.Helper()
	if out, err := exec.Command("birdc", "-s", filepath.Join(t.dir, "sock"), command).CombinedOutput(); err != nil {
		t.b.Fatalf("birdc %s: %v\n%s", command, err, out)
	}
}
