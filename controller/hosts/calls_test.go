package hosts_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/agent/local"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/audit"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/relay"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

// operations is what an agent is asked for: drains go on until the test ends them, logs have 300 lines.
type operations struct {
	mu    sync.Mutex
	asked []string
	steps chan *apiv1.DrainProgress
	// left gets a word when nobody waits for a call any more.
	left chan string
}

func newOperations() *operations {
	return &operations{steps: make(chan *apiv1.DrainProgress, 1), left: make(chan string, 10)}
}

func (o *operations) note(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, fmt.Sprintf(format, args...))
}

func (o *operations) noted() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.asked
	o.asked = nil
	return out
}

func (o *operations) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	o.note("%s %s %q forced %v, up elsewhere %v", by, req.GetAction(), req.GetTunnel(), req.GetForce(), req.GetConnectionsUpElsewhere())
	if len(req.GetConnectionsUpElsewhere()) == 0 && !req.GetForce() {
		return nil, &local.Error{Kind: local.Refused, Message: "the last one; force is needed"}
	}
	return &apiv1.ChangeResponse{Notes: []string{"so be it"}, Tunnels: []*apiv1.ChangedTunnel{{Name: "shop-1"}}}, nil
}

func (o *operations) Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	o.note("%s drains %q in %s, up elsewhere %v", by, req.GetTunnel(), req.GetTimeout().AsDuration(), req.GetConnectionsUpElsewhere())
	for {
		select {
		case <-ctx.Done():
			o.left <- "drain"
			return ctx.Err()
		case p, more := <-o.steps:
			if !more {
				return nil
			}
			if err := send(p); err != nil {
				return err
			}
		}
	}
}

const lines = 300

func (o *operations) WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error {
	for i := range lines {
		if err := send(&apiv1.LogEntry{Message: fmt.Sprint(req.GetTunnel(), " ", i)}); err != nil {
			return err
		}
	}
	if req.GetFollow() {
		<-ctx.Done()
		o.left <- "log"
	}
	return nil
}

// hostService is the API of a controller, as alice sees it.
func (c *controller) hostService() apiv1connect.HostServiceClient {
	_, handler := apiv1connect.NewHostServiceHandler(&relay.Service{Relay: &relay.Relay{Store: c.Store, Log: storetest.Log(c.w.t)}})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(rw, r.WithContext(access.With(r.Context(), access.Identity{Role: access.Operator, Name: "alice"}, "192.0.2.1")))
	}))
	c.w.t.Cleanup(srv.Close)
	transport := &http.Transport{}
	c.w.t.Cleanup(transport.CloseIdleConnections)
	return apiv1connect.NewHostServiceClient(&http.Client{Transport: transport}, srv.URL)
}

func (o *operations) gone(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-o.left:
		if got != want {
			t.Errorf("%s has ended, not %s", got, want)
		}
	case <-time.After(patience):
		t.Fatal("the agent is not told that nobody waits any more")
	}
}

// What an operator asks of one controller reaches an agent whose session is at another one, and the answers come back.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	one, two := w.controller("one"), w.controller("two")
	one.apply(&apiv1.GatewayHost{Name: "gw-a", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.1"}}},
		&apiv1.GatewayHost{Name: "gw-b", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.2"}}},
		&apiv1.GatewayHost{Name: "gw-c", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.3"}}})
	one.apply(shop()...)
	a, b := w.agent("gw-a", "", "198.51.100.1", one), w.agent("gw-b", "", "198.51.100.2", two)
	api, ctx := two.hostService(), t.Context()
	two.connection("shop", func(st *apiv1.VPNConnectionStatus) bool { return st.GetTunnelsUp() == 2 })

	resp, err := api.Change(ctx, &apiv1.HostChangeRequest{Tunnel: "shop-1", Action: apiv1.ActionDisable})
	if err != nil || resp.GetNotes()[0] != "so be it" || resp.GetTunnels()[0].GetName() != "shop-1" {
		t.Errorf("%v, %v", resp, err)
	}
	b.turn("shop-2", false)
	two.connection("shop", func(st *apiv1.VPNConnectionStatus) bool { return st.GetTunnelsUp() == 1 })
	for _, tc := range []struct {
		name string
		req  *apiv1.HostChangeRequest
		code connect.Code
		want string
	}{
		{"refused by the agent", &apiv1.HostChangeRequest{Tunnel: "shop-1", Action: apiv1.ActionDisable}, connect.CodeFailedPrecondition, "the last one; force is needed"},
		{"no such tunnel", &apiv1.HostChangeRequest{Tunnel: "none", Action: apiv1.ActionDisable}, connect.CodeNotFound, `tunnel "none" not found`},
		{"no such host", &apiv1.HostChangeRequest{Host: "none", Action: apiv1.ActionEnable}, connect.CodeNotFound, `host "none" not found`},
		{"no target", &apiv1.HostChangeRequest{Action: apiv1.ActionEnable}, connect.CodeInvalidArgument, "tunnel, host: exactly one of the two is required"},
		{"two targets", &apiv1.HostChangeRequest{Tunnel: "a", Host: "b", Action: apiv1.ActionEnable}, connect.CodeInvalidArgument, "tunnel, host: exactly one"},
		{"no such action", &apiv1.HostChangeRequest{Tunnel: "shop-1", Action: "EXPLODE"}, connect.CodeInvalidArgument, `action: "EXPLODE" is none of DISABLE, ENABLE, ABORT`},
		{"never heard of", &apiv1.HostChangeRequest{Host: "gw-c", Action: apiv1.ActionEnable}, connect.CodeUnavailable, "host gw-c has never reported"},
	} {
		if _, err := api.Change(ctx, tc.req); connect.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := api.Change(ctx, &apiv1.HostChangeRequest{Tunnel: "shop-1", Action: apiv1.ActionDisable, Force: true}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{
		`operator/alice DISABLE "shop-1" forced false, up elsewhere [shop]`, `operator/alice DISABLE "shop-1" forced false, up elsewhere []`,
		`operator/alice DISABLE "shop-1" forced true, up elsewhere []`,
	}, a.operations.noted()); diff != "" {
		t.Error(diff)
	}

	log, err := api.WatchLog(ctx, &apiv1.WatchLogRequest{Tunnel: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; log.Receive(); n++ {
		if want := fmt.Sprint("shop-1 ", n); log.Msg().GetMessage() != want {
			t.Fatalf("line %d is %q", n, log.Msg().GetMessage())
		}
	}
	if log.Err() != nil || n != lines || log.Close() != nil {
		t.Errorf("%d lines, %v", n, log.Err())
	}

	// A stream begins with its first message.
	step := func(stage string) { a.operations.steps <- &apiv1.DrainProgress{Tunnel: "shop-1", Stage: stage} }
	step(apiv1.DrainAnnouncedWorse)
	drain, err := api.Drain(ctx, &apiv1.HostDrainRequest{Host: "gw-a", Timeout: durationpb.New(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{apiv1.DrainAnnouncedWorse, apiv1.DrainWithdrawn} {
		if !drain.Receive() || drain.Msg().GetStage() != stage {
			t.Fatalf("%v, %v", drain.Msg(), drain.Err())
		}
		if stage == apiv1.DrainAnnouncedWorse {
			step(apiv1.DrainWithdrawn)
		}
	}
	close(a.operations.steps)
	if drain.Receive() || drain.Err() != nil || drain.Close() != nil {
		t.Errorf("after its end: %v, %v", drain.Msg(), drain.Err())
	}
	if diff := cmp.Diff([]string{`operator/alice drains "" in 1m0s, up elsewhere []`}, a.operations.noted()); diff != "" {
		t.Error(diff)
	}

	items, _, err := audit.List(ctx, one.Store, audit.Filter{Kind: "VPNTunnel", Name: "shop-1"}, "", 4)
	if err != nil {
		t.Fatal(err)
	}
	more, _, err := audit.List(ctx, one.Store, audit.Filter{Kind: "GatewayHost", Name: "gw-a"}, "", 2)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range append(items, more...) {
		got = append(got, strings.Join([]string{e.GetActor(), e.GetPeer(), e.GetAction(), e.GetObject(), e.GetMessage()}, " "))
	}
	if diff := cmp.Diff([]string{
		"operator/alice 192.0.2.1 DISABLE VPNTunnel/shop-1 done",
		"operator/alice 192.0.2.1 DISABLE VPNTunnel/shop-1 asked for, forced",
		"operator/alice 192.0.2.1 DISABLE VPNTunnel/shop-1 failed_precondition: the last one; force is needed",
		"operator/alice 192.0.2.1 DISABLE VPNTunnel/shop-1 asked for",
		"operator/alice 192.0.2.1 DRAIN GatewayHost/gw-a done",
		"operator/alice 192.0.2.1 DRAIN GatewayHost/gw-a asked for, timeout 1m0s",
	}, got); diff != "" {
		t.Errorf("audit log: %s", diff)
	}
	one.until("what is left of calls", func(r store.Reader) bool {
		return len(r.All(fleet.KindCall)) == 0 && len(r.All(fleet.KindReply)) == 0
	}, func() string { return "there" })
}

// What ends in the middle says so, on both sides.
func TestCallsBrokenOff(t *testing.T) {
	w := newWorld(t)
	c := w.controller("one")
	c.apply(&apiv1.GatewayHost{Name: "gw-b", Spec: &apiv1.GatewayHostSpec{Addresses: []string{"198.51.100.2"}}})
	c.apply(shop()...)
	a := w.agent("gw-a", "", "198.51.100.1", c)
	api := c.hostService()
	up := func() {
		c.connection("shop", func(st *apiv1.VPNConnectionStatus) bool { return st.GetTunnelsUp() == 1 })
	}
	up()
	ctx, leave := context.WithCancel(t.Context())
	log, err := api.WatchLog(ctx, &apiv1.WatchLogRequest{Tunnel: "shop-1", Follow: true})
	if err != nil || !log.Receive() {
		t.Fatal(err, log.Err())
	}
	leave()
	a.operations.gone(t, "log")
	_ = log.Close()

	a.operations.steps <- &apiv1.DrainProgress{Stage: apiv1.DrainAnnouncedWorse}
	drain, err := api.Drain(t.Context(), &apiv1.HostDrainRequest{Tunnel: "shop-1"})
	if err != nil {
		t.Fatal(err)
	}
	if !drain.Receive() {
		t.Fatal(drain.Err())
	}
	a.stop()
	a.operations.gone(t, "drain")
	// An agent that knows only the first version, and a session that is not the one that was asked.
	a.options.Versions = []uint32{1}
	a.start()
	if drain.Receive() || connect.CodeOf(drain.Err()) != connect.CodeUnavailable || !strings.Contains(drain.Err().Error(), "the session with host gw-a has ended; what was begun goes on") {
		t.Errorf("%v, %v", drain.Msg(), drain.Err())
	}
	_ = drain.Close()
	_, err = api.Change(t.Context(), &apiv1.HostChangeRequest{Tunnel: "shop-1", Action: apiv1.ActionEnable})
	const old = "host gw-a cannot be asked through controllers: its agent (version test) or controller one, which has its session, is too old; ask the agent on the host itself"
	if connect.CodeOf(err) != connect.CodeUnimplemented || !strings.Contains(err.Error(), old) {
		t.Error(err)
	}
	a.stop()
	c.until("the silence", func(r store.Reader) bool { return r.Get(fleet.Presence("gw-a")) == nil }, func() string { return "there" })
	_, err = api.Change(t.Context(), &apiv1.HostChangeRequest{Tunnel: "shop-1", Action: apiv1.ActionEnable})
	if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "host gw-a does not report") {
		t.Error(err)
	}
}
