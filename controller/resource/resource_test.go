package resource_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/allocate"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
	"github.com/bordergw/bordergw/controller/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// controller is one of several on the same etcd.
type controller struct {
	*resource.Service
	t testing.TB
}

var keys = "k1 " + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" + "\n"

func newController(t testing.TB, client *clientv3.Client, quotas apiv1.Quotas) controller {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Client: client, Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return controller{resource.New(resource.Options{
		Store: s, Vault: v, Quotas: quotas, InsidePools: []netip.Prefix{apiv1.DefaultInsidePool()}, Now: time.Now, Log: storetest.Log(t),
	}), t}
}

func single(t testing.TB) controller {
	return newController(t, storetest.Client(t, storetest.Start(t)), apiv1.Quotas{})
}

var writer = resource.Write{Actor: resource.Actor{Name: "operator/test"}}

func (c controller) create(o model.Object) model.Object {
	c.t.Helper()
	r, _, err := c.Create(c.t.Context(), writer, o)
	if err != nil {
		c.t.Fatal(err)
	}
	return r[0].After
}

func (c controller) hosts(n int) {
	c.t.Helper()
	for i := range n {
		c.create(&apiv1.GatewayHost{Name: fmt.Sprintf("gw-%02d", i), Spec: &apiv1.GatewayHostSpec{
			Addresses: []string{fmt.Sprintf("198.51.100.%d", i+1)}, Zone: fmt.Sprintf("zone-%d", i%2),
		}})
	}
}

func gateway(name string) *apiv1.BorderGateway {
	return &apiv1.BorderGateway{Name: name, Spec: &apiv1.BorderGatewaySpec{}}
}

func customer(name string, addresses ...string) *apiv1.CustomerGateway {
	return &apiv1.CustomerGateway{Name: name, Spec: &apiv1.CustomerGatewaySpec{Asn: 65010, Addresses: addresses}}
}

func connection(name, border, customer string) *apiv1.VPNConnection {
	return &apiv1.VPNConnection{Name: name, Spec: &apiv1.VPNConnectionSpec{
		BorderGateway: border, CustomerGateway: customer, Routing: apiv1.RoutingStatic,
	}}
}

func TestChoices(t *testing.T) {
	c := single(t)
	c.hosts(3)
	c.create(gateway("shop"))
	c.create(customer("idc", "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"))
	results, warnings, err := c.Create(t.Context(), resource.Write{DefaultTunnels: true}, connection("shop-idc", "shop", "idc"))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	var got []string
	for _, r := range results {
		switch o := r.After.(type) {
		case *apiv1.VPNConnection:
			got = append(got, fmt.Sprint(o.GetSpec().GetCloudAddresses()))
		case *apiv1.VPNTunnel:
			s := o.GetSpec()
			got = append(got, fmt.Sprintf("%s: %s-%s %s %s psk set %v, read %q", o.GetName(), s.GetCloudAddress(), s.GetCustomerAddress(),
				s.GetInside().GetCloud(), s.GetInside().GetCustomer(), s.GetPsk() != nil, s.GetPsk().GetValue()))
		}
	}
	// gw-00 and gw-02 are in one zone, gw-01 in the other.
	want := []string{
		"[198.51.100.1 198.51.100.2]",
		`shop-idc-1: 198.51.100.1-203.0.113.1 169.254.0.1/30 169.254.0.2 psk set true, read ""`,
		`shop-idc-2: 198.51.100.1-203.0.113.2 169.254.0.5/30 169.254.0.6 psk set true, read ""`,
		`shop-idc-3: 198.51.100.2-203.0.113.3 169.254.0.9/30 169.254.0.10 psk set true, read ""`,
		`shop-idc-4: 198.51.100.2-203.0.113.4 169.254.0.13/30 169.254.0.14 psk set true, read ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.Store.View(func(r store.Reader) {
		rec := r.Get(store.Ref{Kind: apiv1.KindVPNTunnel, Name: "shop-idc-1"})
		psk, err := c.Secret(rec, model.PSK)
		if err != nil || len(psk.Reveal()) != 32 {
			t.Errorf("the generated key: %d characters, %v", len(psk.Reveal()), err)
		}
	})
}

// Apply gives default tunnels to connections that are new and have none of their own, and to no others.
func TestApplyWithDefaultTunnels(t *testing.T) {
	c := single(t)
	c.hosts(2)
	c.create(gateway("shop"))
	c.create(customer("idc", "203.0.113.1", "203.0.113.2"))
	c.create(customer("branch", "203.0.113.3", "203.0.113.4"))
	c.create(connection("old", "shop", "branch"))
	results, _, err := c.Apply(t.Context(), resource.Write{DefaultTunnels: true}, []model.Object{
		&apiv1.VPNTunnel{Name: "own", Spec: &apiv1.VPNTunnelSpec{Connection: "full"}}, connection("full", "shop", "head"), connection("new", "shop", "idc"), connection("old", "shop", "branch"),
		customer("head", "203.0.113.5", "203.0.113.6"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, r.Action+" "+model.RefOf(r.After).String())
	}
	want := []string{"CREATED VPNTunnel/own", "CREATED VPNConnection/full", "CREATED VPNConnection/new", "UNCHANGED VPNConnection/old",
		"CREATED CustomerGateway/head", "CREATED VPNTunnel/new-1", "CREATED VPNTunnel/new-2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Released addresses count no more, and the next connections spread over all hosts.
func TestLeastLoadedHosts(t *testing.T) {
	c := single(t)
	c.hosts(4)
	c.create(gateway("shop"))
	load := map[string]int{}
	add := func(i int) string {
		name := fmt.Sprintf("c%d", i)
		c.create(customer(name, fmt.Sprintf("203.0.113.%d", i+1)))
		conn, _ := c.create(connection(name, "shop", name)).(*apiv1.VPNConnection)
		for _, a := range conn.GetSpec().GetCloudAddresses() {
			load[a]++
		}
		return fmt.Sprint(conn.GetSpec().GetCloudAddresses())
	}
	first := add(0)
	for i := 1; i < 8; i++ {
		add(i)
	}
	want := map[string]int{"198.51.100.1": 4, "198.51.100.2": 4, "198.51.100.3": 4, "198.51.100.4": 4}
	if diff := cmp.Diff(want, load); diff != "" {
		t.Error(diff)
	}
	if err := c.Delete(t.Context(), writer, store.Ref{Kind: apiv1.KindVPNConnection, Name: "c0"}, ""); err != nil {
		t.Fatal(err)
	}
	if got := add(8); got != first {
		t.Errorf("after %s was released: %s", first, got)
	}
}

// Two controllers create connections with all their tunnels for the same gateways at once.
func TestConcurrentCreatesNeverAllocateTwice(t *testing.T) {
	creates := 1000
	if raceDetector {
		creates = 150 // ten times slower
	}
	const gateways, workers = 5, 40
	endpoint := storetest.Start(t)
	quotas := apiv1.Quotas{ConnectionsPerGateway: creates, CustomerGateways: creates}
	both := []controller{newController(t, storetest.Client(t, endpoint), quotas), newController(t, storetest.Client(t, endpoint), quotas)}
	both[0].hosts(20)
	for g := range gateways {
		both[0].create(gateway(fmt.Sprintf("g%d", g)))
	}
	for i := range creates {
		both[0].create(customer(fmt.Sprintf("c%d", i), fmt.Sprintf("203.%d.%d.1", i/200, i%200)))
	}
	began := time.Now()
	jobs := make(chan int)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range jobs {
				_, _, err := both[w%2].Create(t.Context(), resource.Write{DefaultTunnels: true},
					connection(fmt.Sprintf("n%d", i), fmt.Sprintf("g%d", i%gateways), fmt.Sprintf("c%d", i)))
				if err != nil {
					t.Errorf("n%d: %v", i, err)
				}
			}
		})
	}
	for i := range creates {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	t.Logf("%d connections with %d tunnels in %s", creates, 2*creates, time.Since(began))
	for _, c := range both {
		if err := c.Store.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Store.View(func(r store.Reader) { noDuplicates(t, r, creates) })
	}
}

func noDuplicates(t *testing.T, r store.Reader, creates int) {
	t.Helper()
	seen := map[string]string{}
	once := func(what, who string) {
		if other, ok := seen[what]; ok {
			t.Errorf("%s: both %s and %s have it", what, other, who)
		}
		seen[what] = who
	}
	hosts := map[string]int{}
	conns := r.All(apiv1.KindVPNConnection)
	for _, rec := range conns {
		conn, _ := model.Stored(rec).(*apiv1.VPNConnection)
		a := conn.GetSpec().GetCloudAddresses()
		if len(a) != 2 || a[0] == a[1] {
			t.Errorf("%s: %v", conn.GetName(), a)
		}
		for _, x := range a {
			hosts[x]++
		}
	}
	tunnels := r.All(apiv1.KindVPNTunnel)
	for _, rec := range tunnels {
		tun, _ := model.Stored(rec).(*apiv1.VPNTunnel)
		s := tun.GetSpec()
		for _, h := range allocate.Halves(netip.MustParsePrefix(s.GetInside().GetCloud())) {
			once("inside "+rec.Value.GetBorderGateway()+" "+h.String(), tun.GetName())
		}
		once("pair "+s.GetConnection()+" "+s.GetCloudAddress()+" "+s.GetCustomerAddress(), tun.GetName())
		once("identity "+s.GetCloudAddress()+" "+s.GetLocalId()+" "+s.GetRemoteId(), tun.GetName())
	}
	if len(conns) != creates || len(tunnels) != 2*creates {
		t.Errorf("%d connections, %d tunnels", len(conns), len(tunnels))
	}
	least, most := creates, 0
	for _, n := range hosts {
		least, most = min(least, n), max(most, n)
	}
	if len(hosts) != 20 || most-least > creates/10 {
		t.Errorf("load is uneven: %v", hosts)
	}
}

func TestStaleWriteIsRefused(t *testing.T) {
	c := single(t)
	first, _ := c.create(gateway("shop")).(*apiv1.BorderGateway)
	change := func(version, description string) error {
		g := gateway("shop")
		g.Metadata = &apiv1.Metadata{ResourceVersion: version}
		g.Spec.Description = description
		_, _, err := c.Update(t.Context(), writer, g)
		return err
	}
	version := first.GetMetadata().GetResourceVersion()
	if err := change(version, "one"); err != nil {
		t.Fatal(err)
	}
	err := change(version, "two")
	if !errors.Is(err, model.ErrStale) {
		t.Fatal(err)
	}
	var now string
	c.Store.View(func(r store.Reader) {
		now = store.FormatRevision(r.Get(store.Ref{Kind: apiv1.KindBorderGateway, Name: "shop"}).Revision)
	})
	want := "BorderGateway/shop: metadata.resourceVersion: is " + version + ", but the resource has changed since: it is at " + now +
		"; read it again and repeat the change"
	if err.Error() != want {
		t.Errorf("%s\nwant %s", err, want)
	}
	if err := change("", "three"); err == nil || err.Error() != "BorderGateway/shop: metadata.resourceVersion: is required: that of the resource as it was read" {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), writer, store.Ref{Kind: apiv1.KindBorderGateway, Name: "shop"}, version); !errors.Is(err, model.ErrStale) {
		t.Error(err)
	}
}

// Many writers that all read the same version: one of them wins.
func TestOneOfManyWritersWins(t *testing.T) {
	endpoint := storetest.Start(t)
	both := []controller{newController(t, storetest.Client(t, endpoint), apiv1.Quotas{}), newController(t, storetest.Client(t, endpoint), apiv1.Quotas{})}
	first, _ := both[0].create(gateway("shop")).(*apiv1.BorderGateway)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 20 {
		wg.Go(func() {
			g := gateway("shop")
			g.Metadata = &apiv1.Metadata{ResourceVersion: first.GetMetadata().GetResourceVersion()}
			g.Spec.Description = fmt.Sprint("writer ", i)
			_, _, err := both[i%2].Update(t.Context(), writer, g)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, model.ErrStale):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
}

func TestGenerationCountsWhatAgentsActOn(t *testing.T) {
	c := single(t)
	c.hosts(2)
	c.create(gateway("shop"))
	c.create(customer("idc", "203.0.113.1"))
	results, _, err := c.Create(t.Context(), resource.Write{DefaultTunnels: true}, connection("shop-idc", "shop", "idc"))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(results, func(r resource.Result) bool { return r.After.GetName() == "shop-idc-1" })
	tun, _ := results[i].After.(*apiv1.VPNTunnel)
	for _, step := range []struct {
		name           string
		change         func()
		action         string
		wantGeneration uint64
	}{
		{"nothing", func() {}, resource.Unchanged, 1},
		{"description", func() { tun.Spec.Description = "to the roof" }, resource.Changed, 1},
		{"display name", func() { tun.Metadata.DisplayName = "Roof" }, resource.Changed, 1},
		{"lifetime", func() { tun.Spec.Mtu = 1400 }, resource.Changed, 2},
		{"key", func() { tun.Spec.Psk = &apiv1.SecretSource{Value: "another-secret"} }, resource.Changed, 3},
		{"the same key", func() { tun.Spec.Psk = &apiv1.SecretSource{Value: "another-secret"} }, resource.Unchanged, 3},
		{"key left out", func() { tun.Spec.Psk = nil }, resource.Unchanged, 3},
	} {
		step.change()
		r, _, err := c.Update(t.Context(), writer, tun)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		tun, _ = r.After.(*apiv1.VPNTunnel)
		if r.Action != step.action || tun.GetMetadata().GetGeneration() != step.wantGeneration {
			t.Errorf("%s: %s, generation %d, want %s, %d", step.name, r.Action, tun.GetMetadata().GetGeneration(), step.action, step.wantGeneration)
		}
	}
}
