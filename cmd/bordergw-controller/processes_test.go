package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/api"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

// process is a program that can be killed and started again with the same arguments.
type process struct {
	t    testing.TB
	name string
	argv []string
	// ready asks it whether it serves.
	ready func(context.Context) error
	log   *os.File
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
}

// kill ends it as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// serves waits until it does.
func (p *process) serves(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("%s has ended", p.name)
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w", p.name, err)
		}
	}
}

// cluster is an etcd of three members and two controllers on it, each a process.
type cluster struct {
	t           *testing.T
	site        *site
	members     []*process
	controllers []*process
	apis        []apiv1connect.ResourceServiceClient
}

// build makes programs, without the race detector, and returns their folder.
func build(ctx context.Context, t testing.TB, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + "/"}, packages...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// newCluster builds the programs, makes a PKI and starts everything.
func newCluster(ctx context.Context, t *testing.T, quotas string) *cluster {
	t.Helper()
	c := &cluster{t: t, site: newSite(t)}
	programs := build(ctx, t, ".", "../../controller/store/storetest/member")
	var clients, peers []string
	for i := range 3 {
		clients = append(clients, "https://"+freePort(t))
		peers = append(peers, fmt.Sprintf("m%d=http://%s", i, freePort(t)))
	}
	pki := filepath.Join(c.site.dir, "pki")
	for i, url := range clients {
		name := fmt.Sprintf("m%d", i)
		c.members = append(c.members, c.site.process(name, healthy(c.site.transport(), url+"/health"),
			filepath.Join(programs, "member"), name, filepath.Join(storetest.Dir(t), name), url, strings.Join(peers, ","), pki))
	}
	for i := range 2 {
		s := *c.site
		s.listen, s.metrics, s.path = freePort(t), freePort(t), filepath.Join(s.dir, fmt.Sprintf("controller-%d.yaml", i))
		config := fmt.Sprintf(`listen: %[2]q
tls: {ca: %[1]s/pki/ca.crt, cert: %[1]s/pki/controller.crt, key: %[1]s/pki/controller.key}
etcd: {endpoints: [%[4]s], tls: {ca: %[1]s/pki/ca.crt, cert: %[1]s/pki/operator-operator.crt, key: %[1]s/pki/operator-operator.key}}
encryption: {keys: %[1]s/pki/encryption.keys}
metrics: {listen: %[3]q}
quotas: %[5]s
`, s.dir, s.listen, s.metrics, strings.Join(clients, ", "), quotas)
		if err := os.WriteFile(s.path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		c.controllers = append(c.controllers, c.site.process(fmt.Sprintf("controller-%d", i), healthy(http.DefaultTransport, "http://"+s.metrics+"/readyz"),
			filepath.Join(programs, "bordergw-controller"), "--config", s.path))
		c.apis = append(c.apis, s.operator())
	}
	for _, p := range append(c.members, c.controllers...) {
		p.start()
	}
	for _, p := range append(c.members, c.controllers...) {
		if err := p.serves(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// process is one that ends with the test, whose log is shown when it fails.
func (s *site) process(name string, ready func(context.Context) error, argv ...string) *process {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{t: s.t, name: name, argv: argv, ready: ready, log: log}
	s.t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		_ = log.Close()
		if content, err := os.ReadFile(log.Name()); err == nil && s.t.Failed() {
			s.t.Logf("== %s\n%s", name, content[max(0, len(content)-4000):])
		}
	})
	return p
}

// healthy is what a program says at an address.
func healthy(transport http.RoundTripper, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	}
}

// operator is a client for many requests at once.
func (s *site) operator() apiv1connect.ResourceServiceClient {
	s.t.Helper()
	return apiv1connect.NewResourceServiceClient(&http.Client{Transport: s.transport()}, "https://"+s.listen)
}

// transport is an operator's.
func (s *site) transport() *http.Transport {
	s.t.Helper()
	pool, err := api.Authority(filepath.Join(s.dir, "pki", "ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	pki := filepath.Join(s.dir, "pki", "operator-operator")
	pair, err := tls.LoadX509KeyPair(pki+".crt", pki+".key")
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return transport
}
