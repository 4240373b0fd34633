package hosts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/source/remote"
	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/hosts"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
	"github.com/bordergw/bordergw/controller/vault"
	"github.com/bordergw/bordergw/internal/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pskMark = "kept-from-all-eyes-"
	lease   = 3 * time.Second
	// patience is for a machine that does other things, too.
	patience = time.Minute
)

// world is an etcd, controllers on it, and agents that have real sources and tunnels that the test plays.
type world struct {
	t        *testing.T
	endpoint string
	ca       *authority
	vault    *vault.Vault
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, endpoint: storetest.Start(t), ca: newAuthority(t)}
	path := filepath.Join(t.TempDir(), "keys")
	line, err := vault.NewKey("k1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.vault, err = vault.Open(path); err != nil {
		t.Fatal(err)
	}
	return w
}

// controller is one of several.
type controller struct {
	*resource.Service
	w      *world
	client *clientv3.Client
	server *hosts.Server
	eval   *availability.Evaluator
	addr   string
	kill   func()
}

type peerKey struct{}

func (w *world) controller(name string, change ...func(*hosts.Options)) *controller {
	w.t.Helper()
	client, err := store.Connect(store.ConnectOptions{Endpoints: []string{w.endpoint}, Log: storetest.Log(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := store.Open(w.t.Context(), store.Options{Client: client, Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &controller{w: w, client: client}
	c.Service = resource.New(resource.Options{Store: s, Vault: w.vault, InsidePools: []netip.Prefix{apiv1.DefaultInsidePool()},
		Now: time.Now, Log: storetest.Log(w.t)})
	opts := hosts.Options{
		Store: s, Name: name, Log: storetest.Log(w.t).With("controller", name), Lease: lease, Heartbeat: lease / 6, Counters: lease / 6,
		Reveal: c.Secret,
		HostOf: func(ctx context.Context) (string, error) {
			host, ok := ctx.Value(peerKey{}).(string)
			if !ok {
				return "", errors.New("no certificate")
			}
			return host, nil
		},
		Register: hosts.Registrar(c.Service),
	}
	for _, f := range change {
		f(&opts)
	}
	c.server = hosts.New(opts)
	c.Counters = c.server.Counters
	c.eval = availability.New(availability.Options{Store: s, Log: storetest.Log(w.t).With("controller", name)})
	_, handler := apiv1connect.NewSessionServiceHandler(c.server)
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	srv := &http.Server{TLSConfig: w.ca.server(), Protocols: protocols, ReadHeaderTimeout: patience,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), peerKey{}, r.TLS.PeerCertificates[0].Subject.CommonName)))
		})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	c.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			w.t.Errorf("serve: %v", err)
		}
	})
	wg.Go(func() {
		if err := c.eval.Run(ctx); err != nil {
			w.t.Errorf("evaluate: %v", err)
		}
	})
	c.kill = sync.OnceFunc(func() {
		// Nobody is told anything: connections break.
		_ = srv.Close()
		c.server.Close()
		cancel()
		wg.Wait()
		s.Close()
		_ = client.Close()
	})
	w.t.Cleanup(c.kill)
	return c
}

func (c *controller) apply(objects ...model.Object) {
	c.w.t.Helper()
	if _, _, err := c.Apply(c.w.t.Context(), resource.Write{Actor: resource.Actor{Name: "operator/test"}}, objects); err != nil {
		c.w.t.Fatal(err)
	}
}

// change writes a resource anew.
func change[T model.Object](c *controller, kind, name string, fn func(T)) {
	c.w.t.Helper()
	var o T
	if err := c.Store.Sync(c.w.t.Context()); err != nil {
		c.w.t.Fatal(err)
	}
	c.Store.View(func(r store.Reader) { o, _ = proto.Clone(fleet.Object[T](r, kind, name)).(T) })
	fn(o)
	c.apply(o)
}

// connection waits until a controller's verdict is as wanted.
func (c *controller) connection(name string, want func(*apiv1.VPNConnectionStatus) bool) *apiv1.VPNConnectionStatus {
	c.w.t.Helper()
	var st *apiv1.VPNConnectionStatus
	c.until("connection "+name, func(r store.Reader) bool {
		st = fleet.ConnectionStatus(r, name)
		return want(st)
	}, func() string { return fmt.Sprint(st) })
	return st
}

func (c *controller) until(what string, want func(store.Reader) bool, now func() string) {
	c.w.t.Helper()
	sub := c.Store.Subscribe()
	defer sub.Close()
	limit := time.After(patience)
	for {
		ok := false
		c.Store.View(func(r store.Reader) { ok = want(r) })
		if ok {
			return
		}
		select {
		case <-sub.Wake():
			sub.Take()
		case <-limit:
			c.w.t.Fatalf("%s does not become as wanted; it is %s", what, now())
		}
	}
}

// agent is a host's: the source is real, tunnels are up or down as the test says.
type agent struct {
	t       *testing.T
	name    string
	address string
	sets    chan *apiv1.Set
	source  *remote.Source
	options remote.Options
	stop    func()
	// operations is what operators ask of it.
	operations *operations

	mu    sync.Mutex
	set   *apiv1.Set
	view  *status.View
	newer chan struct{}
	down  map[string]bool
	// received is everything that came down to this host.
	received []*apiv1.ConnectResponse
}

func (w *world) agent(name, zone, address string, controllers ...*controller) *agent {
	w.t.Helper()
	dir := w.t.TempDir()
	keys, err := seal.OpenKeyring(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	a := &agent{t: w.t, name: name, address: address, sets: make(chan *apiv1.Set, 100), view: &status.View{Host: &apiv1.GetHostResponse{}},
		newer: make(chan struct{}), down: map[string]bool{}, operations: newOperations()}
	dial := remote.DialTLS(w.ca.issue(name))
	a.options = remote.Options{
		Dial: func(ctx context.Context, endpoint string) (remote.Stream, error) {
			s, err := dial(ctx, endpoint)
			if err != nil {
				return nil, err
			}
			return tap{s, a}, nil
		},
		Host: remote.Host{Name: name, Zone: zone, Addresses: []string{address}}, Keys: keys, State: dir,
		Capabilities: func() *apiv1.HostCapabilities { return &apiv1.HostCapabilities{AgentVersion: "test"} },
		Admit:        apiv1.AdmitOptions{Owns: func(x netip.Addr) bool { return x.String() == address }},
		MLKEM:        func() apiv1.Capability { return apiv1.CapabilityUnknown },
		Published:    a.published, Operations: a.operations, Log: storetest.Log(w.t).With("agent", name), Patience: time.Hour,
	}
	for _, c := range controllers {
		a.options.Endpoints = append(a.options.Endpoints, c.addr)
	}
	w.t.Cleanup(func() { a.stop() })
	a.start()
	return a
}

// start begins a life of the agent.
func (a *agent) start() {
	a.source = remote.New(a.options)
	ctx, cancel := context.WithCancel(a.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.source.Run(ctx, a.take); err != nil {
			a.t.Errorf("source: %v", err)
		}
	})
	a.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.view = &status.View{Host: &apiv1.GetHostResponse{}}
	})
}

// take is what an agent does with a Set, in no time.
func (a *agent) take(set *apiv1.Set) {
	a.mu.Lock()
	a.set = set
	a.mu.Unlock()
	a.publish()
	a.sets <- set
}

// publish makes a view of what is in force.
func (a *agent) publish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &status.View{Host: &apiv1.GetHostResponse{Ready: true}}
	for _, name := range apiv1.Names(a.set.Tunnels) {
		st := &apiv1.VPNTunnelStatus{Admin: "UP", Running: apiv1.RunningUp, Since: timestamppb.Now(), Counters: &apiv1.Counters{BytesIn: 7}}
		if a.down[name] {
			st.Running, st.Reason = apiv1.RunningDown, apiv1.ReasonDPDTimeout
		}
		v.Tunnels = append(v.Tunnels, &apiv1.VPNTunnel{Name: name, Spec: a.set.Tunnels[name].GetSpec(), Status: st})
	}
	a.view = v
	close(a.newer)
	a.newer = make(chan struct{})
}

func (a *agent) turn(tunnel string, up bool) {
	a.mu.Lock()
	a.down[tunnel] = !up
	a.mu.Unlock()
	a.publish()
}

func (a *agent) published() (*status.View, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.view, a.newer
}

// next waits for a Set that is as wanted.
func (a *agent) next(want func(*apiv1.Set) bool) *apiv1.Set {
	a.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case set := <-a.sets:
			if want(set) {
				return set
			}
		case <-limit:
			a.t.Fatalf("%s gets no such snapshot; its status is %v", a.name, a.source.Status())
		}
	}
}

// tap notes what comes down.
type tap struct {
	remote.Stream
	a *agent
}

func (t tap) Receive() (*apiv1.ConnectResponse, error) {
	m, err := t.Stream.Receive()
	if err == nil {
		t.a.mu.Lock()
		t.a.received = append(t.a.received, m)
		t.a.mu.Unlock()
	}
	return m, err
}

func (a *agent) heard() []*apiv1.ConnectResponse {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.received
}

// shop is a tenant with two tunnels, one on each of two hosts.
func shop() []model.Object {
	tunnel := func(n string, cloud, customer string) *apiv1.VPNTunnel {
		return &apiv1.VPNTunnel{Name: "shop-" + n, Spec: &apiv1.VPNTunnelSpec{Connection: "shop", CloudAddress: cloud, CustomerAddress: customer,
			Psk: &apiv1.SecretSource{Value: pskMark + "shop-" + n}}}
	}
	return []model.Object{
		&apiv1.BorderGateway{Name: "shop", Spec: &apiv1.BorderGatewaySpec{StaticRoutes: []*apiv1.StaticRoute{{Prefix: "172.16.0.0/16", Connection: "shop"}}}},
		&apiv1.CustomerGateway{Name: "shop", Spec: &apiv1.CustomerGatewaySpec{Asn: 65010, Addresses: []string{"203.0.113.1", "203.0.113.2"}}},
		&apiv1.VPNConnection{Name: "shop", Spec: &apiv1.VPNConnectionSpec{BorderGateway: "shop", CustomerGateway: "shop", Routing: apiv1.RoutingBGP,
			CloudAddresses: []string{"198.51.100.1", "198.51.100.2"}}},
		tunnel("1", "198.51.100.1", "203.0.113.1"), tunnel("2", "198.51.100.2", "203.0.113.2"),
	}
}
