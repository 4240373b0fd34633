package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/bordergw/bordergw/agent/server"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testView() *status.View {
	return &status.View{
		Host:     &apiv1.GetHostResponse{Host: "gw-a", Ready: true, CharonConnected: true},
		Gateways: []*apiv1.BorderGateway{{Name: "shop-prod", Status: &apiv1.BorderGatewayStatus{Programmed: true}}},
		Connections: []*apiv1.ConnectionView{{
			Connection: &apiv1.VPNConnection{Name: "shop-idc"},
			Tunnels:    []*apiv1.VPNTunnel{{Name: "shop-idc-1"}, {Name: "shop-idc-2"}},
		}},
		Tunnels: []*apiv1.VPNTunnel{
			{Name: "shop-idc-1", Spec: &apiv1.VPNTunnelSpec{Psk: &apiv1.SecretSource{File: "/etc/key"}}, Status: &apiv1.VPNTunnelStatus{Running: "UP"}},
			{Name: "shop-idc-2", Status: &apiv1.VPNTunnelStatus{Running: "DOWN"}},
		},
		Routes: []*apiv1.Route{{Gateway: "lab", Prefix: "10.1.0.0/16"}, {Gateway: "shop-prod", Prefix: "172.16.0.0/16"}},
		Logs:   map[string][]*apiv1.LogEntry{"shop-idc-1": {{Message: "IKE_SA_INIT request sent"}}},
	}
}

// running is a server on a real unix socket and a real TCP port.
type running struct {
	socket, metrics string
	stop            context.CancelFunc
	done            chan error
}

func start(t *testing.T, view func() *status.View) *running {
	t.Helper()
	r := &running{socket: filepath.Join(t.TempDir(), "run", "agent.sock"), done: make(chan error, 1)}
	api, err := server.ListenUnix(r.socket)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.metrics = metrics.Addr().String()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "bordergw_test 1") })
	s := server.New(server.Config{View: view, Metrics: page, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.done <- s.Serve(ctx, api, metrics) }()
	t.Cleanup(func() {
		r.stop()
		if err, open := <-r.done; open && err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// client returns an HTTP client for the socket; with h2 it speaks HTTP/2 with prior knowledge only.
func (r *running) client(t *testing.T, h2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: p, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", r.socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestEveryProtocol(t *testing.T) {
	v := testView()
	r := start(t, func() *status.View { return v })
	tests := map[string]struct {
		h2   bool
		opts []connect.ClientOption
	}{
		"connect":          {},
		"connect JSON":     {opts: []connect.ClientOption{connect.WithProtoJSON()}},
		"connect GET":      {opts: []connect.ClientOption{connect.WithHTTPGet()}},
		"connect over h2c": {h2: true},
		"gRPC over h2c":    {h2: true, opts: []connect.ClientOption{connect.WithGRPC()}},
		"gRPC-Web":         {opts: []connect.ClientOption{connect.WithGRPCWeb()}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			c := apiv1connect.NewAgentServiceClient(r.client(t, tc.h2), "http://agent", tc.opts...)
			host, err := c.GetHost(ctx, &apiv1.GetHostRequest{})
			check(t, err, host, v.Host)
			gateways, err := c.ListGateways(ctx, &apiv1.ListGatewaysRequest{})
			check(t, err, gateways, &apiv1.ListGatewaysResponse{Items: v.Gateways})
			connections, err := c.ListConnections(ctx, &apiv1.ListConnectionsRequest{})
			check(t, err, connections, &apiv1.ListConnectionsResponse{Items: v.Connections})
			tunnels, err := c.ListTunnels(ctx, &apiv1.ListTunnelsRequest{})
			check(t, err, tunnels, &apiv1.ListTunnelsResponse{Items: v.Tunnels})
			tunnel, err := c.GetTunnel(ctx, &apiv1.GetTunnelRequest{Name: "shop-idc-1"})
			check(t, err, tunnel, &apiv1.GetTunnelResponse{Tunnel: v.Tunnels[0], Log: v.Logs["shop-idc-1"]})
			routes, err := c.ListRoutes(ctx, &apiv1.ListRoutesRequest{Gateway: "shop-prod"})
			check(t, err, routes, &apiv1.ListRoutesResponse{Items: v.Routes[1:]})
			all, err := c.ListRoutes(ctx, &apiv1.ListRoutesRequest{})
			check(t, err, all, &apiv1.ListRoutesResponse{Items: v.Routes})

			_, err = c.GetTunnel(ctx, &apiv1.GetTunnelRequest{Name: "nobody"})
			if connect.CodeOf(err) != connect.CodeNotFound || !strings.Contains(err.Error(), `"nobody"`) {
				t.Errorf("GetTunnel of an unknown name: %v, want not_found with the name", err)
			}
			if _, err = c.GetTunnel(ctx, &apiv1.GetTunnelRequest{}); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("GetTunnel without a name: %v, want invalid_argument", err)
			}
		})
	}
	if diff := cmp.Diff(testView(), v, protocmp.Transform()); diff != "" {
		t.Errorf("the shared view was changed (-want +got):\n%s", diff)
	}
}

func check(t *testing.T, err error, got, want proto.Message) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestPlainJSON(t *testing.T) {
	r := start(t, testView)
	c := r.client(t, false)
	post := func(method, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/bordergw.v1.AgentService/"+method, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, read(t, resp)
	}
	if code, body := post("GetTunnel", `{"name":"shop-idc-1"}`); code != http.StatusOK || !strings.Contains(body, "IKE_SA_INIT request sent") {
		t.Errorf("GetTunnel = %d %s", code, body)
	}
	if code, body := post("GetTunnel", `{"name":"nobody"}`); code != http.StatusNotFound || !strings.Contains(body, `\"nobody\"`) {
		t.Errorf("GetTunnel of an unknown name = %d %s, want 404 with the name", code, body)
	}
	if code, _ := post("GetTunnel", `{"name":`); code != http.StatusBadRequest {
		t.Errorf("broken JSON = %d, want 400", code)
	}
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return string(body)
}

func TestBeforeTheFirstView(t *testing.T) {
	r := start(t, func() *status.View { return nil })
	c := apiv1connect.NewAgentServiceClient(r.client(t, false), "http://agent")
	if _, err := c.ListTunnels(t.Context(), &apiv1.ListTunnelsRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("ListTunnels = %v, want unavailable", err)
	}
}

func TestSecretValuesNeverLeave(t *testing.T) {
	const clear = "correct-horse-battery"
	secret := func() *apiv1.SecretSource { return &apiv1.SecretSource{Value: clear} }
	tunnel := &apiv1.VPNTunnel{Name: "t", Spec: &apiv1.VPNTunnelSpec{Psk: secret(), Bgp: &apiv1.BGP{Password: secret()}}}
	v := &status.View{
		Tunnels:     []*apiv1.VPNTunnel{tunnel},
		Connections: []*apiv1.ConnectionView{{Tunnels: []*apiv1.VPNTunnel{tunnel}}},
		Gateways: []*apiv1.BorderGateway{{Spec: &apiv1.BorderGatewaySpec{
			Attachments: []*apiv1.Attachment{{Peer: &apiv1.AttachmentPeer{Password: secret()}}},
		}}},
	}
	r := start(t, func() *status.View { return v })
	for _, method := range []string{"GetHost", "ListGateways", "ListConnections", "ListTunnels", "GetTunnel", "ListRoutes"} {
		body := `{}`
		if method == "GetTunnel" {
			body = `{"name":"t"}`
		}
		resp, err := r.client(t, false).Post("http://localhost/bordergw.v1.AgentService/"+method, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); resp.StatusCode != http.StatusOK || strings.Contains(got, clear) {
			t.Errorf("%s = %d %s, want an answer without the secret", method, resp.StatusCode, got)
		}
	}
	if tunnel.GetSpec().GetPsk().GetValue() != clear {
		t.Error("the shared message was changed")
	}
}

func TestShutdownIsBounded(t *testing.T) {
	r := start(t, testView)
	// A client that connects and never says anything must not hold up the end.
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST /bordergw.v1.AgentService/GetHost HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	close(r.done)
	if _, err := net.Dial("unix", r.socket); err == nil {
		t.Error("the socket still answers after Serve returned")
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	api, err := server.ListenUnix(filepath.Join(t.TempDir(), "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := metrics.Close(); err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{View: testView, Metrics: http.NotFoundHandler(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.Serve(t.Context(), api, metrics); err == nil || !strings.Contains(err.Error(), "serve metrics") {
		t.Errorf("Serve = %v, want the fault of the metrics listener", err)
	}
}
