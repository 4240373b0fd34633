//go:build lab

package charon

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bordergw/bordergw/dataplane/charon/diagnose"
	"github.com/bordergw/bordergw/dataplane/charon/vici"
	"github.com/bordergw/bordergw/internal/secret"
	"github.com/bordergw/bordergw/test/lab"
)

// The tests of this file need root, ip(8) and strongSwan's charon-systemd. Two charons run with the reference configuration in network
// namespaces of their own, joined by a veth pair. Where the kernel has no ESP, strongSwan's kernel-libipsec plugin does it.

const charonBinary = "/usr/sbin/charon-systemd"

// host is one end: a namespace, its charon and a driver.
type host struct {
	*testing.T
	netns, dir, conf string
	addr             netip.Addr
	lan              netip.Prefix
	process          *exec.Cmd
	d                *Driver
	events           <-chan Event
	// only replaces the events that drivers register for.
	only []string
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func newHosts(t *testing.T) (a, b *host) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	id := fmt.Sprintf("bgwt%d", os.Getpid())
	hosts := []*host{
		{T: t, netns: id + "a", addr: netip.MustParseAddr("192.0.2.1"), lan: netip.MustParsePrefix("10.1.0.0/16")},
		{T: t, netns: id + "b", addr: netip.MustParseAddr("192.0.2.2"), lan: netip.MustParsePrefix("10.2.0.0/16")},
	}
	for _, h := range hosts {
		command(t, "ip", "netns", "add", h.netns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", h.netns).Run() })
	}
	command(t, "ip", "link", "add", "v", "netns", hosts[0].netns, "type", "veth", "peer", "name", "v", "netns", hosts[1].netns)
	for _, h := range hosts {
		command(t, "ip", "-n", h.netns, "addr", "add", h.addr.String()+"/24", "dev", "v")
		command(t, "ip", "-n", h.netns, "addr", "add", h.lan.Addr().Next().String()+"/32", "dev", "lo")
		command(t, "ip", "-n", h.netns, "link", "set", "lo", "up")
		command(t, "ip", "-n", h.netns, "link", "set", "v", "up")
		h.configure()
		h.start()
	}
	return hosts[0], hosts[1]
}

// configure derives a configuration from the reference: another socket, a log file, and ESP outside the kernel where there is no other.
func (h *host) configure() {
	h.Helper()
	h.dir = h.TempDir()
	text, err := os.ReadFile("../../configs/strongswan.conf")
	if err != nil {
		h.Fatal(err)
	}
	conf := strings.Replace(string(text), "unix:///run/bordergw/charon.vici", "unix://"+h.socket(), 1)
	if !h.kernelHasESP() {
		conf = strings.Replace(conf, "kernel-netlink!", "kernel-libipsec! kernel-netlink", 1)
	}
	conf = strings.Replace(conf, "charon {", "charon {\n  filelog {\n    f {\n      path = "+filepath.Join(h.dir, "log")+
		"\n      flush_line = yes\n      ike_name = yes\n    }\n  }", 1)
	h.conf = filepath.Join(h.dir, "strongswan.conf")
	if err := os.WriteFile(h.conf, []byte(conf), 0o600); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		h.kill()
		if log, err := os.ReadFile(filepath.Join(h.dir, "log")); h.Failed() && err == nil {
			h.Logf("log of %s:\n%s", h.netns, log)
		}
	})
}

// kernelHasESP tries: the XFRM interface of the kernel may be there without the protocol.
func (h *host) kernelHasESP() bool {
	return exec.Command("ip", "-n", h.netns, "xfrm", "state", "add", "src", "127.0.0.1", "dst", "127.0.0.2", "proto", "esp", "spi", "0x100",
		"mode", "tunnel", "aead", "rfc4106(gcm(aes))", "0x"+strings.Repeat("01", 20), "128").Run() == nil &&
		exec.Command("ip", "-n", h.netns, "xfrm", "state", "flush").Run() == nil
}

func (h *host) socket() string { return filepath.Join(h.dir, "vici") }

func (h *host) start() {
	h.Helper()
	h.process = exec.Command("ip", "netns", "exec", h.netns, charonBinary)
	h.process.Env = append(os.Environ(), "STRONGSWAN_CONF="+h.conf)
	h.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.process.Start(); err != nil {
		h.Fatal(err)
	}
}

func (h *host) kill() {
	if h.process != nil {
		h.process.Process.Kill()
		h.process.Wait()
		h.process = nil
	}
}

// drive starts a driver and waits until it is connected.
func (h *host) drive() {
	h.Helper()
	h.d = New(Options{Socket: h.socket(), events: h.only})
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan Event, 10_000)
	var tasks sync.WaitGroup
	tasks.Go(func() { h.d.Watch(ctx, func(e Event) { events <- e }) })
	await(h.T, events, Resync, "")
	tasks.Go(func() {
		if err := h.d.Run(ctx); err != nil {
			h.Errorf("Run: %v", err)
		}
	})
	h.Cleanup(func() {
		cancel()
		tasks.Wait()
	})
	h.events = events
	await(h.T, events, Resync, "")
}

func (h *host) apply(tunnels ...Tunnel) {
	h.Helper()
	r, err := h.d.Apply(h.Context(), "gw", tunnels)
	if err != nil || len(r.Errors) > 0 {
		h.Fatalf("Apply: %v, %v", err, r.Errors)
	}
}

// until waits for events until the tunnel's state is as wanted.
func (h *host) until(tunnel string, what string, wanted func(State) bool) State {
	h.Helper()
	deadline := time.After(90 * time.Second)
	for {
		if st := h.d.State(tunnel); wanted(st) {
			return st
		}
		select {
		case <-h.events:
		case <-deadline:
			h.Fatalf("%s: not %s: %+v", tunnel, what, h.d.State(tunnel))
		}
	}
}

func (h *host) tunnel(peer *host) Tunnel {
	t := wanted("t")
	t.Local, t.Remote, t.LocalID, t.RemoteID = h.addr, peer.addr, h.addr.String(), peer.addr.String()
	t.LocalTS, t.RemoteTS = []netip.Prefix{h.lan}, []netip.Prefix{peer.lan}
	return t
}

// charon discards a connection with a key or value that it does not know: this one must know all that we send.
func TestConformanceRealTakesEveryKey(t *testing.T) {
	a, b := newHosts(t)
	a.drive()
	t.Logf("charon %s", a.d.Version())
	var set []Tunnel
	add := func(name string, change func(*Tunnel)) {
		tun := a.tunnel(b)
		change(&tun)
		tun.Name, tun.Initiate, tun.RemoteID = name, false, name+".example"
		set = append(set, tun)
	}
	add("plain", func(*Tunnel) {})
	add("volumes", func(t *Tunnel) { t.LifetimeBytes, t.LifetimePackets = 999_999_999_999_999, 1_000_000 })
	add("no-dpd", func(t *Tunnel) { t.DPDInterval, t.ReplayWindow = 0, 0 })
	add("window", func(t *Tunnel) { t.ReplayWindow = maxReplayWindow })
	add("dual-stack", func(t *Tunnel) {
		t.LocalTS = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		t.RemoteTS = t.LocalTS
	})
	add("ipv6", func(t *Tunnel) {
		t.Local, t.Remote, t.LocalID = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), "2001:db8::1"
	})
	add("keyid", func(t *Tunnel) { t.LocalID = "keyid:gateway one" })
	add("all-proposals", func(t *Tunnel) {
		t.IKEProposals = []string{"aes256gcm16-prfsha384-ecp384-ke1_mlkem768", "aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256",
			"aes256-sha256-modp2048", "aes128-sha256-modp2048", "aes128-sha1-modp1024"}
		t.ESPProposals = []string{"aes256gcm16-ecp384-none", "aes128gcm16-ecp256", "aes256-sha256-modp2048", "aes128-sha1"}
	})
	v1 := func(t *Tunnel) {
		t.Version, t.IKEProposals, t.ESPProposals = 1, []string{"aes256-sha256-modp2048"}, []string{"aes256-sha256-modp2048"}
	}
	add("v1", v1)
	add("v1-aggressive", func(t *Tunnel) { v1(t); t.Aggressive = true })
	a.apply(set...)
	listed := make(map[string]*vici.Message)
	a.d.mu.Lock()
	s := a.d.session
	a.d.mu.Unlock()
	if err := s.stream(t.Context(), "list-conns", "list-conn", func(m *vici.Message) {
		for name, conn := range m.Sections() {
			listed[name] = conn
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, tun := range set {
		conn := listed[Prefix+tun.Name]
		if conn == nil {
			t.Errorf("%s is not in charon", tun.Name)
			continue
		}
		child := conn.Section("children").Section(Prefix + tun.Name)
		if got := child.List("local-ts"); len(got) == 0 || tun.Version == 2 && len(got) != len(tun.LocalTS) {
			t.Errorf("%s: local-ts %v", tun.Name, got)
		}
		if got := conn.List("remote_addrs"); !slices.Equal(got, []string{tun.Remote.String()}) {
			t.Errorf("%s: remote_addrs %v", tun.Name, got)
		}
		if got := child.Get("rekey_time"); got != "3240" {
			t.Errorf("%s: rekey_time %s", tun.Name, got)
		}
	}
	keys, err := s.call(t.Context(), "get-shared", nil)
	if err != nil || len(keys.List("keys")) != len(set) {
		t.Errorf("keys %v, %v", keys.List("keys"), err)
	}
	// Loading the same again is no change, and what nobody wants goes.
	a.apply(set[:1]...)
	if err := a.d.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConformanceRealTunnelLife(t *testing.T) {
	a, b := newHosts(t)
	a.drive()
	b.drive()
	ta, tb := a.tunnel(b), b.tunnel(a)
	tb.Initiate = false
	b.apply(tb)
	a.apply(ta)
	up := func(st State) bool { return st.Up() && st.IKE == IKEEstablished }
	st := a.until("t", "up", up)
	if st.ESPSuite.Encryption != "AES_GCM_16" || st.ESPSuite.KeySize != 256 || st.IKESuite.DH != "ECP_384" || st.IKEVersion != 2 ||
		st.RemoteEndpoint.Addr() != b.addr || st.Children[0].IfID != 7 || st.Establishments != 1 {
		t.Errorf("state %+v", st)
	}
	b.until("t", "up", up)

	t.Log("rekeyings")
	a.d.mu.Lock()
	s := a.d.session
	a.d.mu.Unlock()
	for _, key := range []string{"child", "ike"} {
		before := a.d.State("t").Children[0]
		if _, err := s.call(t.Context(), "rekey", new(vici.Message).Set(key, "bgw-t")); err != nil {
			t.Fatal(err)
		}
		a.until("t", "rekeyed", func(st State) bool {
			return len(st.Children) == 1 && (st.Children[0].UniqueID != before.UniqueID || st.Children[0].IKEUniqueID != before.IKEUniqueID)
		})
	}
	if err := a.d.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := a.d.State("t"); len(st.Children) != 1 || len(st.Failures) > 0 {
		t.Errorf("after rekeyings %+v", st)
	}

	t.Log("change of settings")
	ta.ESPLifetime = 2 * time.Hour
	old := a.d.State("t").Children[0].UniqueID
	a.apply(ta)
	a.until("t", "replaced", func(st State) bool {
		if !st.Up() {
			t.Error("down during a change")
		}
		return len(st.Children) == 1 && st.Children[0].UniqueID != old
	})

	t.Log("charon of the other end killed and back")
	b.kill()
	b.start()
	b.until("t", "connected again", func(st State) bool { return st.Connected && st.Loaded })
	st = a.until("t", "down", func(st State) bool { return !st.Up() })
	if st.LastFailure.Reason != diagnose.DPDTimeout && st.LastFailure.Reason != "" {
		t.Errorf("last failure %+v", st.LastFailure)
	}
	a.until("t", "up again", up)
	if st := a.d.State("t"); st.Failures[diagnose.DPDTimeout] != 1 {
		t.Errorf("failures %v", st.Failures)
	}

	t.Log("closed by the other end")
	b.apply()
	a.until("t", "closed by peer", func(st State) bool { return st.Failures[diagnose.ClosedByPeer] > 0 })
	b.apply(tb)
	a.until("t", "up again", up)

	t.Log("down")
	a.apply()
	b.until("t", "down", func(st State) bool { return !st.Up() })
}

func TestConformanceRealReasons(t *testing.T) {
	a, b := newHosts(t)
	a.drive()
	b.drive()
	v1 := func(x *Tunnel) {
		x.Version, x.IKEProposals, x.ESPProposals = 1, []string{"aes256-sha256-modp2048"}, []string{"aes256-sha256-modp2048"}
	}
	tests := []struct {
		name   string
		change func(x, y *Tunnel)
		// initiator and responder are the reasons at either end; empty when that end cannot know.
		initiator, responder string
		v1                   bool
	}{
		{"key", func(_, y *Tunnel) { y.PSK = secret.New("another-one") }, diagnose.AuthenticationFailed, diagnose.AuthenticationFailed, false},
		{"identity", func(_, y *Tunnel) { y.RemoteID = "other.example" }, diagnose.AuthenticationFailed, diagnose.AuthenticationFailed, false},
		{"IKE proposals", func(_, y *Tunnel) { y.IKEProposals = []string{"aes128-sha256-modp2048"} }, diagnose.NoProposalChosen,
			diagnose.NoProposalChosen, false},
		{"ESP proposals", func(_, y *Tunnel) { y.ESPProposals = []string{"aes128-sha256"} }, diagnose.NoProposalChosen, diagnose.NoProposalChosen, false},
		{"selectors", func(_, y *Tunnel) { y.LocalTS = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")} },
			diagnose.TrafficSelectorsUnacceptable, diagnose.TrafficSelectorsUnacceptable, false},
		{"version", func(x, _ *Tunnel) { v1(x) }, diagnose.NoProposalChosen, diagnose.NoProposalChosen, true},
		{"silence", func(x, _ *Tunnel) { x.Remote = netip.MustParseAddr("192.0.2.77") }, diagnose.PeerUnreachable, "", false},
		{"IKEv1 key", func(x, y *Tunnel) { v1(x); v1(y); y.PSK = secret.New("another-one") }, diagnose.AuthenticationFailed,
			diagnose.AuthenticationFailed, true},
		{"IKEv1 selectors", func(x, y *Tunnel) { v1(x); v1(y); y.LocalTS = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")} },
			diagnose.TrafficSelectorsUnacceptable, diagnose.TrafficSelectorsUnacceptable, true},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.v1 && !lab.HasIKEv1(t) {
				t.SkipNow()
			}
			x, y := a.tunnel(b), b.tunnel(a)
			y.Initiate = false
			tt.change(&x, &y)
			x.Name, y.Name = fmt.Sprintf("t%d", i), fmt.Sprintf("t%d", i)
			b.apply(y)
			a.apply(x)
			failed := func(st State) bool { return len(st.Failures) > 0 }
			if st := a.until(x.Name, "failed", failed); st.LastFailure.Reason != tt.initiator {
				t.Errorf("initiator says %+v, want %s", st.LastFailure, tt.initiator)
			} else {
				t.Logf("initiator: %s", st.LastFailure.Message)
			}
			if tt.responder != "" {
				if st := b.until(y.Name, "failed", failed); st.LastFailure.Reason != tt.responder {
					t.Errorf("responder says %+v, want %s", st.LastFailure, tt.responder)
				} else {
					t.Logf("responder: %s", st.LastFailure.Message)
				}
			}
			a.apply()
			b.apply()
		})
	}
}
