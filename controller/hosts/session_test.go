package hosts_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/agent/source/remote"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/internal/seal"
)

// line is an agent's end of a conversation that the test leads by hand.
type line struct {
	t      *testing.T
	stream remote.Stream
	stop   context.CancelFunc
}

func (w *world) line(c *controller, certificate string) *line {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	stream, err := remote.DialTLS(w.ca.issue(certificate))(ctx, c.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { stop(); stream.Close() })
	return &line{w.t, stream, stop}
}

func (l *line) say(m *apiv1.ConnectRequest) {
	l.t.Helper()
	if err := l.stream.Send(m); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) report(complete bool, names ...string) {
	l.t.Helper()
	r := &apiv1.StatusReport{Complete: complete}
	for _, name := range names {
		r.Tunnels = append(r.Tunnels, &apiv1.TunnelReport{Name: name, Status: &apiv1.VPNTunnelStatus{Running: "UP", Host: "somebody-else"}})
	}
	l.say(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Status{Status: r}})
}

// hear waits for a message that is no heartbeat.
func (l *line) hear() (*apiv1.ConnectResponse, error) {
	for {
		m, err := l.stream.Receive()
		if err != nil || m.GetHeartbeat() == nil {
			return m, err
		}
	}
}

func (l *line) snapshot() *apiv1.Snapshot {
	l.t.Helper()
	m, err := l.hear()
	if err != nil || m.GetSnapshot() == nil {
		l.t.Fatalf("no snapshot: %v, %v", m, err)
	}
	return m.GetSnapshot()
}

// end waits for the end of the session and returns its error's code and text.
func (l *line) end() (connect.Code, string) {
	l.t.Helper()
	for {
		if _, err := l.hear(); err != nil {
			return connect.CodeOf(err), err.Error()
		}
	}
}

func hello(t *testing.T, host string, addresses ...string) *apiv1.Hello {
	t.Helper()
	key, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return &apiv1.Hello{Versions: []uint32{1}, Host: host, Addresses: addresses, PublicKey: key.Public().Bytes()}
}

func (l *line) greet(h *apiv1.Hello) *apiv1.Welcome {
	l.t.Helper()
	l.say(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Hello{Hello: h}})
	m, err := l.hear()
	if err != nil || m.GetWelcome() == nil {
		l.t.Fatalf("no Welcome: %v, %v", m, err)
	}
	return m.GetWelcome()
}

func TestRefusedSessions(t *testing.T) {
	w := newWorld(t)
	c := w.controller("one")
	w.line(c, "gw-a").greet(hello(t, "gw-a", "198.51.100.1"))
	for _, tc := range []struct {
		name, certificate string
		hello             func(*apiv1.Hello)
		code              connect.Code
		says              string
	}{
		{"certificate of another host", "gw-b", func(h *apiv1.Hello) { h.Host = "gw-a" }, connect.CodePermissionDenied,
			`host: the certificate is that of host "gw-b", the agent says that it is "gw-a"`},
		{"address of another host", "gw-b", func(h *apiv1.Hello) { h.Addresses = []string{"198.51.100.1"} }, connect.CodeFailedPrecondition, "198.51.100.1"},
		{"newer agent", "gw-b", func(h *apiv1.Hello) { h.Versions = []uint32{8, 9} }, connect.CodeFailedPrecondition,
			"versions: the agent speaks versions [8 9] of the protocol, this controller [1 2]"},
		{"no key", "gw-b", func(h *apiv1.Hello) { h.PublicKey = nil }, connect.CodeInvalidArgument, "publicKey: "},
		{"key of nonsense", "gw-b", func(h *apiv1.Hello) { h.PublicKey = []byte{1, 2, 3} }, connect.CodeInvalidArgument, "publicKey: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := hello(t, "gw-b", "198.51.100.2")
			tc.hello(h)
			l := w.line(c, tc.certificate)
			l.say(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Hello{Hello: h}})
			if code, text := l.end(); code != tc.code || !strings.Contains(text, tc.says) {
				t.Errorf("%s: %s", code, text)
			}
		})
	}
	t.Run("no Hello", func(t *testing.T) {
		l := w.line(c, "gw-b")
		l.report(true)
		if code, text := l.end(); code != connect.CodeInvalidArgument {
			t.Errorf("%s: %s", code, text)
		}
	})
}

// An agent of yesterday speaks to a controller of tomorrow, and the other way round.
func TestVersions(t *testing.T) {
	w := newWorld(t)
	c := w.controller("new", func(o *hosts.Options) { o.Versions = []uint32{2, 1} })
	for _, tc := range []struct {
		agent []uint32
		want  uint32
	}{{[]uint32{1}, 1}, {[]uint32{1, 2}, 2}, {[]uint32{3, 2, 1}, 2}} {
		h := hello(t, "gw-a", "198.51.100.1")
		h.Versions = tc.agent
		if got := w.line(c, "gw-a").greet(h).GetVersion(); got != tc.want {
			t.Errorf("agent %v: version %d, not %d", tc.agent, got, tc.want)
		}
	}
	// The whole of an agent that knows only version 1.
	c.apply(&apiv1.GatewayHost{Name: "gw-b", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.2"}}})
	c.apply(shop()...)
	a := w.agent("gw-b", "", "198.51.100.2", c)
	a.stop()
	a.options.Versions = []uint32{1}
	a.start()
	a.next(func(s *apiv1.Set) bool { return len(s.Tunnels) == 1 })
	c.until("the report", func(r store.Reader) bool { return r.Get(fleet.TunnelStatusRef("shop-2")) != nil }, func() string { return "" })
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	c := w.controller("one")
	c.apply(&apiv1.GatewayHost{Name: "gw-a", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.1"}}},
		&apiv1.GatewayHost{Name: "gw-b", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.2"}}})
	c.apply(shop()...)
	h := hello(t, "gw-a", "198.51.100.1")
	first := w.line(c, "gw-a")
	if got := first.greet(h); got.GetLease().AsDuration() != lease || got.GetController() != "one" {
		t.Errorf("Welcome %v", got)
	}
	snapshot := first.snapshot()
	state := func() (present bool, host string) {
		c.Store.View(func(r store.Reader) {
			present = r.Get(fleet.Presence("gw-a")) != nil
			if rec := r.Get(fleet.TunnelStatusRef("shop-1")); rec != nil {
				host = rec.Value.GetTunnelStatus().GetHost()
			}
		})
		return present, host
	}

	t.Run("no presence before a complete report", func(t *testing.T) {
		first.report(false, "shop-1")
		first.say(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Answer{Answer: &apiv1.SnapshotAnswer{Revision: 3}}})
		c.until("the answer", func(r store.Reader) bool { return fleet.HostStatus(r, "gw-a").GetRevision() == 3 }, func() string { return "" })
		if present, host := state(); present || host != "" {
			t.Errorf("present %v, status of %q", present, host)
		}
	})
	t.Run("reports on own tunnels only, in the own name", func(t *testing.T) {
		first.report(true, "shop-1", "shop-2", "nonsense")
		c.until("the presence", func(r store.Reader) bool { return r.Get(fleet.Presence("gw-a")) != nil }, func() string { return "" })
		if present, host := state(); !present || host != "gw-a" {
			t.Errorf("present %v, status of %q", present, host)
		}
		c.Store.View(func(r store.Reader) {
			if n := len(r.All(fleet.KindTunnelStatus)); n != 1 {
				t.Errorf("%d statuses", n)
			}
		})
	})
	t.Run("what is refused is told with the tunnel", func(t *testing.T) {
		first.say(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Answer{Answer: &apiv1.SnapshotAnswer{Revision: 4,
			Findings: []*apiv1.Finding{{Object: "VPNTunnel/shop-1", Field: "spec.mtu", Message: "is too high here"}}}}})
		c.until("the answer", func(r store.Reader) bool { return fleet.HostStatus(r, "gw-a").GetRevision() == 4 }, func() string { return "" })
		c.Store.View(func(r store.Reader) {
			if diff := cmp.Diff([]string{"VPNTunnel/shop-1: spec.mtu: is too high here"}, fleet.HostStatus(r, "gw-a").GetRefused()); diff != "" {
				t.Error(diff)
			}
			st := fleet.TunnelStatus(r, fleet.Object[*apiv1.VPNTunnel](r, apiv1.KindVPNTunnel, "shop-1"))
			if len(st.GetConditions()) != 1 || st.GetConditions()[0].GetType() != apiv1.ConditionRefusedByHost {
				t.Errorf("status %v", st)
			}
		})
	})
	t.Run("another session ends the first", func(t *testing.T) {
		h.Revision, h.Digest = snapshot.GetRevision(), snapshot.GetDigest()
		second := w.line(c, "gw-a")
		second.greet(h)
		if code, text := first.end(); code != connect.CodeAborted {
			t.Errorf("%s: %s", code, text)
		}
		if got := second.snapshot(); !got.GetUnchanged() || got.GetRevision() != snapshot.GetRevision() || len(got.GetTunnels()) > 0 {
			t.Errorf("snapshot %v", got)
		}
		// Silent for longer than the lease.
		if code, text := second.end(); !strings.Contains(text, "the host is silent") {
			t.Errorf("%s: %s", code, text)
		}
		c.until("the silence", func(r store.Reader) bool {
			return fleet.HostStatus(r, "gw-a").GetState() == apiv1.HostIsSilent
		}, func() string { return "" })
	})
	t.Run("a key that was rotated", func(t *testing.T) {
		rotated := hello(t, "gw-a", "198.51.100.1")
		rotated.Revision, rotated.Digest = snapshot.GetRevision(), snapshot.GetDigest()
		l := w.line(c, "gw-a")
		l.greet(rotated)
		if got := l.snapshot(); got.GetUnchanged() || len(got.GetTunnels()) != 1 {
			t.Errorf("snapshot %v", got)
		}
	})
	t.Run("a store that was put back", func(t *testing.T) {
		ahead := hello(t, "gw-a", "198.51.100.1")
		ahead.Revision, ahead.Digest = 1<<40, []byte("of a store that is no more")
		l := w.line(c, "gw-a")
		l.greet(ahead)
		if got := l.snapshot(); !got.GetReset_() || got.GetRevision() >= 1<<40 || len(got.GetTunnels()) != 1 {
			t.Errorf("snapshot %v", got)
		}
	})
	t.Run("tunnels that are gone", func(t *testing.T) {
		l := w.line(c, "gw-a")
		l.greet(hello(t, "gw-a", "198.51.100.1"))
		l.snapshot()
		l.report(true, "shop-1")
		change(c, apiv1.KindVPNTunnel, "shop-1", func(o *apiv1.VPNTunnel) { o.Spec.AdminState = apiv1.AdminStateDown })
		for l.snapshot().GetTunnels()[0].GetSpec().GetAdminState() != apiv1.AdminStateDown {
		}
		if err := c.Delete(t.Context(), resource.Write{}, store.Ref{Kind: apiv1.KindVPNTunnel, Name: "shop-1"}, ""); err != nil {
			t.Fatal(err)
		}
		if got := l.snapshot(); len(got.GetTunnels()) != 0 || len(got.GetConnections()) != 1 {
			t.Errorf("snapshot %v", got)
		}
		c.until("the statuses", func(r store.Reader) bool { return r.Get(fleet.TunnelStatusRef("shop-1")) == nil }, func() string { return "" })
	})
}

// What an operator says about a host stays when its agent announces itself.
func TestRegistration(t *testing.T) {
	w := newWorld(t)
	c := w.controller("one")
	spec := func() (out *apiv1.GatewayHostSpec, revision int64) {
		c.Store.View(func(r store.Reader) {
			rec := r.Get(store.Ref{Kind: apiv1.KindGatewayHost, Name: "gw-a"})
			out, revision = rec.Value.GetResource().GetGatewayHost().GetSpec(), rec.Revision
		})
		return out, revision
	}
	h := hello(t, "gw-a", "198.51.100.1")
	h.Zone = "z1"
	w.line(c, "gw-a").greet(h)
	if got, _ := spec(); !cmp.Equal(got.GetAddresses(), []string{"198.51.100.1"}) || got.GetZone() != "z1" {
		t.Errorf("%v", got)
	}
	change(c, apiv1.KindGatewayHost, "gw-a", func(o *apiv1.GatewayHost) { o.Spec.Cordoned, o.Spec.Description = true, "to be replaced" })
	_, before := spec()
	w.line(c, "gw-a").greet(h)
	if got, after := spec(); after != before || !got.GetCordoned() {
		t.Errorf("an announcement with nothing new is written: %v", got)
	}
	h.Addresses, h.Zone = append(h.Addresses, "198.51.100.9"), ""
	w.line(c, "gw-a").greet(h)
	if got, _ := spec(); len(got.GetAddresses()) != 2 || got.GetZone() != "z1" || !got.GetCordoned() || got.GetDescription() != "to be replaced" {
		t.Errorf("%v", got)
	}
	// An address that connections have is not given up by a slip in a configuration file.
	c.apply(&apiv1.GatewayHost{Name: "gw-b", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.2"}}})
	c.apply(shop()...)
	h.Addresses = []string{"198.51.100.9"}
	l := w.line(c, "gw-a")
	l.say(&apiv1.ConnectRequest{Message: &apiv1.ConnectRequest_Hello{Hello: h}})
	if code, text := l.end(); code != connect.CodeFailedPrecondition || !strings.Contains(text, "198.51.100.1 cannot be taken away while VPNConnection shop has it") {
		t.Errorf("%s: %s", code, text)
	}
}
