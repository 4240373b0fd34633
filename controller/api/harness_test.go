package api_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/api"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/pki"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
	"github.com/bordergw/bordergw/controller/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const trustDomain = "bordergw"

// rig is a controller with its API on a port, and the certificates for it.
type rig struct {
	t     testing.TB
	dir   string
	url   string
	store *store.Store
	etcd  string
	token string
	// operator has an operator's certificate.
	operator apiv1connect.ResourceServiceClient
}

func start(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), etcd: storetest.Start(t)}
	if _, err := pki.Init(r.dir, pki.Options{
		TrustDomain: trustDomain, Agents: []string{"gw-a"}, Operators: []string{"alice"}, Viewers: []string{"bob"}, Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.store, err = store.Open(t.Context(), store.Options{
		Client: storetest.Client(t, r.etcd), Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(t),
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.store.Close)
	v, err := vault.Open(filepath.Join(r.dir, "encryption.keys"))
	if err != nil {
		t.Fatal(err)
	}
	h := &api.Resources{Log: slog.New(slog.DiscardHandler), Service: resource.New(resource.Options{
		Store: r.store, Vault: v, InsidePools: []netip.Prefix{apiv1.DefaultInsidePool()}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})}
	r.serve(h)
	r.operator = r.client("operator-alice", "")
	return r
}

func (r *rig) serve(h *api.Resources) {
	r.t.Helper()
	certificates, err := api.OpenCertificates(&apiv1.TLSConfig{
		Ca: filepath.Join(r.dir, "ca.crt"), Cert: filepath.Join(r.dir, "controller.crt"), Key: filepath.Join(r.dir, "controller.key"),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	token, line, err := access.NewToken(access.Identity{Role: access.Viewer, Name: "carol"})
	if err != nil {
		r.t.Fatal(err)
	}
	tokens, err := access.LoadTokens(writeFile(r.t, line))
	if err != nil {
		r.t.Fatal(err)
	}
	mux := http.NewServeMux()
	h.Register(mux)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- api.Serve(ctx, l, certificates.Server(), access.Authenticate(mux, trustDomain, tokens), h.Log)
	}()
	r.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.url, r.token = "https://"+l.Addr().String(), token
}

// http returns a client with a certificate, or without if the name is empty.
func (r *rig) http(cert string) *http.Client {
	r.t.Helper()
	pool, err := api.Authority(filepath.Join(r.dir, "ca.crt"))
	if err != nil {
		r.t.Fatal(err)
	}
	settings := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(r.dir, cert+".crt"), filepath.Join(r.dir, cert+".key"))
		if err != nil {
			r.t.Fatal(err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r *rig) client(cert, token string, opts ...connect.ClientOption) apiv1connect.ResourceServiceClient {
	if token != "" {
		opts = append(opts, connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				req.Header().Set("Authorization", "Bearer "+token)
				return next(ctx, req)
			}
		})))
	}
	return apiv1connect.NewResourceServiceClient(r.http(cert), r.url, opts...)
}

// apply writes resources that the test needs.
func (r *rig) apply(objects ...model.Object) *apiv1.ApplyResponse {
	r.t.Helper()
	resp, err := r.try(objects...)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func (r *rig) try(objects ...model.Object) (*apiv1.ApplyResponse, error) {
	req := &apiv1.ApplyRequest{}
	for _, o := range objects {
		req.Resources = append(req.Resources, model.Wrap(o))
	}
	return r.operator.Apply(r.t.Context(), req)
}

// told checks an error's code, and that its text and its details say the same.
func told(t *testing.T, err error, code connect.Code, want string) {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s: %s", err, code, want)
		return
	}
	if e.Code() != code || e.Message() != want {
		t.Errorf("got %s: %s\nwant %s: %s", e.Code(), e.Message(), code, want)
	}
	refusal := &model.Refusal{}
	for _, d := range e.Details() {
		if v, err := d.Value(); err == nil {
			if x, ok := v.(*apiv1.Refusal); ok {
				refusal.Findings = x.GetFindings()
			}
		}
	}
	if refusal.Error() != want {
		t.Errorf("the details say %q, the message %q", refusal.Error(), want)
	}
}
