package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/api"
	"github.com/bordergw/bordergw/controller/config"
	bgwversion "github.com/bordergw/bordergw/internal/version"
)

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// site is a folder with everything that a controller needs.
type site struct {
	t                    testing.TB
	dir, listen, metrics string
	path                 string
}

func newSite(t testing.TB) *site {
	t.Helper()
	// Short, because a socket is made in it.
	dir, err := os.MkdirTemp("", "bgw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	var out, errs bytes.Buffer
	if code := run([]string{"init-pki", "--agent", "gw-a,gw-b", filepath.Join(dir, "pki")}, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	s := &site{t: t, dir: dir, listen: freePort(t), metrics: freePort(t), path: filepath.Join(dir, "controller.yaml")}
	s.configure("")
	return s
}

func (s *site) configure(more string) {
	s.t.Helper()
	text := fmt.Sprintf(`listen: %[2]q
tls: {ca: %[1]s/pki/ca.crt, cert: %[1]s/pki/controller.crt, key: %[1]s/pki/controller.key}
etcd: {data: %[1]s/etcd}
encryption: {keys: %[1]s/pki/encryption.keys}
metrics: {listen: %[3]q}
`, s.dir, s.listen, s.metrics) + more
	if err := os.WriteFile(s.path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start runs a controller; what it returns stops it and returns its log.
func (s *site) start() (stop func() string) {
	s.t.Helper()
	c, findings := config.Load(s.path)
	if c == nil {
		s.t.Fatal(findings)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := &lockedBuffer{}
	go func() { done <- serve(ctx, c, bgwversion.Read(""), log) }()
	stop = sync.OnceValue(func() string {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("%v\n%s", err, log.String())
		}
		return log.String()
	})
	s.t.Cleanup(func() { stop() })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		resp, err := http.Get("http://" + s.metrics + "/readyz")
		if err != nil {
			continue
		}
		ready := resp.StatusCode == http.StatusOK
		_ = resp.Body.Close()
		if ready {
			return stop
		}
	}
	s.t.Fatalf("not ready: %s", log.String())
	return nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *site) client(cert string) apiv1connect.ResourceServiceClient {
	s.t.Helper()
	pool, err := api.Authority(filepath.Join(s.dir, "pki", "ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "pki", cert+".crt"), filepath.Join(s.dir, "pki", cert+".key"))
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return apiv1connect.NewResourceServiceClient(&http.Client{Transport: transport}, "https://"+s.listen)
}

// The data folder outlives the controller, with keys of the file that were put in front meanwhile.
func TestRestart(t *testing.T) {
	s := newSite(t)
	stop := s.start()
	ctx := t.Context()
	_, err := s.client("operator-operator").Apply(ctx, &apiv1.ApplyRequest{Resources: []*apiv1.Resource{
		{Resource: &apiv1.Resource_BorderGateway{BorderGateway: &apiv1.BorderGateway{Name: "shop", Spec: &apiv1.BorderGatewaySpec{
			Attachments: []*apiv1.Attachment{{Name: "vpc", Interface: "vpc0", Prefixes: []string{"10.0.0.0/16"},
				Peer: &apiv1.AttachmentPeer{Address: "10.0.0.1", Asn: 64999, Password: &apiv1.SecretSource{Value: "a-peers-password"}}}},
		}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	var line, errs bytes.Buffer
	if code := run([]string{"new-key", "k2"}, &line, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	keys := filepath.Join(s.dir, "pki", "encryption.keys")
	old, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, append(line.Bytes(), old...), 0o600); err != nil {
		t.Fatal(err)
	}
	stop = s.start()
	got, err := s.client("operator-operator").GetBorderGateway(ctx, &apiv1.GetBorderGatewayRequest{Name: "shop"})
	if err != nil || got.GetBorderGateway().GetSpec().GetAttachments()[0].GetPeer().GetPassword() == nil {
		t.Errorf("after a restart: %v %v", got, err)
	}
	if log := stop(); !strings.Contains(log, `msg="secrets encrypted with the new key" resources=1 key=k2`) || strings.Contains(log, "a-peers-password") {
		t.Error(log)
	}
	// The old key is no longer needed.
	if err := os.WriteFile(keys, line.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	gw := got.GetBorderGateway()
	if gw, err := s.client("operator-operator").GetBorderGateway(ctx, &apiv1.GetBorderGatewayRequest{Name: "shop"}); err == nil {
		gw.BorderGateway.Spec.Description = "changed"
		if _, err := s.client("operator-operator").UpdateBorderGateway(ctx, &apiv1.UpdateBorderGatewayRequest{BorderGateway: gw.GetBorderGateway()}); err != nil {
			t.Error(err)
		}
	}
	// What was read before the keys were exchanged is old.
	_, err = s.client("operator-operator").UpdateBorderGateway(ctx, &apiv1.UpdateBorderGatewayRequest{BorderGateway: gw})
	if connect.CodeOf(err) != connect.CodeAborted {
		t.Error(err)
	}
	if _, err := s.client("agent-gw-b").ListBorderGateways(ctx, &apiv1.ListBorderGatewaysRequest{}); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("an agent reads the API: %v", err)
	}
}

// A second controller must not take the folder of the first one.
func TestOneFolderOneController(t *testing.T) {
	s := newSite(t)
	s.start()
	second := &site{t: t, dir: s.dir, listen: freePort(t), metrics: freePort(t), path: filepath.Join(s.dir, "second.yaml")}
	second.configure("")
	c, findings := config.Load(second.path)
	if c == nil {
		t.Fatal(findings)
	}
	if err := serve(t.Context(), c, bgwversion.Read(""), io.Discard); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Error(err)
	}
	// Over the socket it may.
	second.configure("")
	text, err := os.ReadFile(second.path)
	if err != nil {
		t.Fatal(err)
	}
	shared := strings.Replace(string(text), "etcd: {data: "+s.dir+"/etcd}", "etcd: {endpoints: ['unix://"+s.dir+"/etcd/etcd.sock']}", 1)
	if err := os.WriteFile(second.path, []byte(shared), 0o600); err != nil {
		t.Fatal(err)
	}
	second.start()
}

func TestUsage(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{"--help"}, 0, "", "usage: bordergw-controller [--config FILE]"},
		{[]string{"--version"}, 0, "bordergw-controller ", ""},
		{[]string{"--config", s.path, "--check"}, 0, "ok\n", ""},
		{[]string{"--config", "/nonexistent", "--check"}, 1, "/nonexistent:1: cannot be read: no such file or directory\n", ""},
		{[]string{"--config", "/nonexistent"}, 1, "", "/nonexistent:1: cannot be read"},
		{[]string{"serve"}, 2, "", `bordergw-controller: unexpected argument "serve"`},
		{[]string{"--unknown"}, 2, "", "flag provided but not defined"},
		{[]string{"init-pki"}, 2, "", "bordergw-controller init-pki: 1 arguments are needed"},
		{[]string{"init-pki", "--agent", "a/b", s.dir + "/x"}, 1, "", "agent-a/b: "},
		{[]string{"new-token", "viewer", "bob"}, 0, "token, shown only now: bgw_", ""},
		{[]string{"new-token", "agent", "gw-a"}, 1, "", `the role must be operator or viewer, not "agent"`},
		{[]string{"new-key", "a b"}, 1, "", "the key's id must be"},
	} {
		var out, errs bytes.Buffer
		if code := run(tc.args, &out, &errs); code != tc.code || !strings.HasPrefix(out.String(), tc.out) || !strings.Contains(errs.String(), tc.errs) {
			t.Errorf("%v: %d\n%s%s", tc.args, code, out.String(), errs.String())
		}
	}
	if err := os.Chmod(filepath.Join(s.dir, "pki", "encryption.keys"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := run([]string{"--config", s.path, "--check"}, &out, io.Discard); code != 1 || !strings.Contains(out.String(), "chmod 600 it") {
		t.Errorf("%d %s", code, out.String())
	}
}
