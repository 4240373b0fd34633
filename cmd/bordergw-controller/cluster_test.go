package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
)

// Numbers of the cluster's scenario.
const (
	creates = 1000 // connections, each with two tunnels
	tenants = 5
	gwHosts = 20
)

// TestClusterLosesNothing: an etcd of three members and two controllers. 1,000 connections are created at the same time, each by a client of
// its own that then changes it and deletes something else; meanwhile every member and every controller is killed in turn, writes go on without
// it, and it comes back. What was acknowledged is there afterwards, and nothing was allocated twice.
func TestClusterLosesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c := newCluster(ctx, t, fmt.Sprintf("{customerGateways: %d, connectionsPerGateway: %d}", 2*creates, creates))
	c.prepare(ctx)

	began := time.Now()
	var retries atomic.Int64
	var victims []*process
	for i := range max(len(c.members), len(c.controllers)) {
		victims = append(victims, c.members[i:min(i+1, len(c.members))]...)
		victims = append(victims, c.controllers[min(i, len(c.controllers)):min(i+1, len(c.controllers))]...)
	}
	done := &progress{changed: make(chan struct{})}
	clients, ctx := errgroup.WithContext(ctx)
	for i := range creates {
		clients.Go(func() error {
			wr := writer{apis: c.apis, at: i, retries: &retries}
			if err := wr.all(ctx, i); err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
			done.add()
			return nil
		})
	}
	clients.Go(func() error {
		for i, victim := range victims {
			met, err := c.outage(ctx, victim, done)
			if err != nil {
				return err
			}
			if !met && i < 2 {
				return fmt.Errorf("all clients were done before %s was killed", victim.name)
			}
		}
		return nil
	})
	if err := clients.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d connections with %d tunnels in %s through %d outages; %d requests had to be repeated", creates, 2*creates,
		time.Since(began).Round(time.Millisecond), len(c.members)+len(c.controllers), retries.Load())
	for i := range c.apis {
		c.check(t.Context(), i)
	}
}

// outage kills a process, sees clients get done without it, and starts it again. It reports false when all clients were done before.
func (c *cluster) outage(ctx context.Context, victim *process, done *progress) (met bool, err error) {
	victim.kill()
	began, before := time.Now(), done.count()
	after, err := done.past(ctx, before)
	if err != nil {
		return false, fmt.Errorf("while %s is dead nothing goes on: %w", victim.name, err)
	}
	c.t.Logf("%s killed when %d clients were done; the next one was after %s", victim.name, before, time.Since(began).Round(time.Millisecond))
	if _, err := done.past(ctx, min(after+creates/20, creates-1)); err != nil {
		return false, err
	}
	victim.start()
	return before < creates, victim.serves(ctx)
}

// progress counts clients that are done.
type progress struct {
	mu      sync.Mutex
	n       int
	changed chan struct{}
}

func (p *progress) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// past waits until more than n are done, or all.
func (p *progress) past(ctx context.Context, n int) (int, error) {
	for {
		p.mu.Lock()
		now, changed := p.n, p.changed
		p.mu.Unlock()
		if now > n || now == creates {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}

// prepare makes what the connections need. Customers named x-N are there to be deleted.
func (c *cluster) prepare(ctx context.Context) {
	c.t.Helper()
	var all []*apiv1.Resource
	for i := range gwHosts {
		all = append(all, &apiv1.Resource{Resource: &apiv1.Resource_GatewayHost{GatewayHost: &apiv1.GatewayHost{Name: fmt.Sprintf("gw-%d", i),
			Spec: &apiv1.GatewayHostSpec{Addresses: []string{fmt.Sprintf("198.51.100.%d", i+1)}}}}})
	}
	for i := range tenants {
		all = append(all, &apiv1.Resource{Resource: &apiv1.Resource_BorderGateway{BorderGateway: &apiv1.BorderGateway{Name: fmt.Sprintf("g-%d", i),
			Spec: &apiv1.BorderGatewaySpec{Attachments: []*apiv1.Attachment{{Name: "vpc", Interface: fmt.Sprintf("vpc%d", i), Prefixes: []string{"10.0.0.0/16"}}}}}}})
	}
	for i := range creates {
		for prefix, net := range map[string]int{"c": 203, "x": 204} {
			all = append(all, &apiv1.Resource{Resource: &apiv1.Resource_CustomerGateway{CustomerGateway: &apiv1.CustomerGateway{Name: fmt.Sprintf("%s-%d", prefix, i),
				Spec: &apiv1.CustomerGatewaySpec{Addresses: []string{fmt.Sprintf("%d.%d.%d.1", net, i/200, i%200)}}}}})
		}
	}
	for len(all) > 0 {
		n := min(25, len(all))
		if _, err := c.apis[0].Apply(ctx, &apiv1.ApplyRequest{Resources: all[:n]}); err != nil {
			c.t.Fatal(err)
		}
		all = all[n:]
	}
}

// writer is a client as it should be: it repeats what may not have been done, at the other controller, and reads before it does.
type writer struct {
	apis    []apiv1connect.ResourceServiceClient
	at      int
	retries *atomic.Int64
}

// all creates connection i with its tunnels, changes it and deletes a customer.
func (w *writer) all(ctx context.Context, i int) error {
	name := fmt.Sprintf("n-%d", i)
	err := w.try(ctx, func(ctx context.Context, api apiv1connect.ResourceServiceClient) error {
		_, err := api.CreateVPNConnection(ctx, &apiv1.CreateVPNConnectionRequest{DefaultTunnels: true, VpnConnection: &apiv1.VPNConnection{Name: name,
			Spec: &apiv1.VPNConnectionSpec{BorderGateway: fmt.Sprintf("g-%d", i%tenants), CustomerGateway: fmt.Sprintf("c-%d", i), Routing: apiv1.RoutingStatic}}})
		if connect.CodeOf(err) == connect.CodeAlreadyExists {
			return nil // an attempt of which nobody knew
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	err = w.try(ctx, func(ctx context.Context, api apiv1connect.ResourceServiceClient) error {
		got, err := api.GetVPNConnection(ctx, &apiv1.GetVPNConnectionRequest{Name: name})
		if err != nil || got.GetVpnConnection().GetSpec().GetDescription() == "changed" {
			return err
		}
		got.VpnConnection.Spec.Description = "changed"
		_, err = api.UpdateVPNConnection(ctx, &apiv1.UpdateVPNConnectionRequest{VpnConnection: got.GetVpnConnection()})
		return err
	})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	err = w.try(ctx, func(ctx context.Context, api apiv1connect.ResourceServiceClient) error {
		_, err := api.DeleteCustomerGateway(ctx, &apiv1.DeleteCustomerGatewayRequest{Name: fmt.Sprintf("x-%d", i)})
		if connect.CodeOf(err) == connect.CodeNotFound {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// try repeats a request for as long as a controller or the store cannot be reached, or somebody else was faster.
func (w *writer) try(ctx context.Context, request func(context.Context, apiv1connect.ResourceServiceClient) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := request(once, w.apis[w.at%len(w.apis)])
		cancel()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		switch connect.CodeOf(err) {
		case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeAborted:
		case connect.CodeUnknown, connect.CodeCanceled: // how a connection that breaks looks, depending on when
		default:
			return err
		}
		w.retries.Add(1)
		w.at++
		select {
		case <-time.After(50*time.Millisecond + rand.N(100*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// check compares what one controller has with what was acknowledged.
func (c *cluster) check(ctx context.Context, controller int) {
	t, api := c.t, c.apis[controller]
	t.Helper()
	connections := map[string]*apiv1.VPNConnection{}
	if err := pages(func(token string) (string, error) {
		resp, err := api.ListVPNConnections(ctx, &apiv1.ListVPNConnectionsRequest{PageSize: 500, PageToken: token})
		for _, conn := range resp.GetItems() {
			connections[conn.GetName()] = conn
		}
		return resp.GetNextPageToken(), err
	}); err != nil {
		t.Fatal(err)
	}
	for i := range creates {
		conn := connections[fmt.Sprintf("n-%d", i)]
		a := conn.GetSpec().GetCloudAddresses()
		if conn == nil || conn.GetSpec().GetDescription() != "changed" || len(a) != 2 || a[0] == a[1] {
			t.Errorf("controller %d: n-%d is %v", controller, i, conn)
		}
	}
	seen := map[string]string{}
	once := func(what, who string) {
		if other, ok := seen[what]; ok {
			t.Errorf("controller %d: %s: both %s and %s have it", controller, what, other, who)
		}
		seen[what] = who
	}
	tunnels := 0
	if err := pages(func(token string) (string, error) {
		resp, err := api.ListVPNTunnels(ctx, &apiv1.ListVPNTunnelsRequest{PageSize: 500, PageToken: token})
		for _, tun := range resp.GetItems() {
			tunnels++
			s := tun.GetSpec()
			gateway := connections[s.GetConnection()].GetSpec().GetBorderGateway()
			once(gateway+" "+netip.MustParsePrefix(s.GetInside().GetCloud()).Masked().String(), tun.GetName())
			once(s.GetCloudAddress()+" to "+s.GetCustomerAddress(), tun.GetName())
		}
		return resp.GetNextPageToken(), err
	}); err != nil {
		t.Fatal(err)
	}
	if len(connections) != creates || tunnels != 2*creates {
		t.Errorf("controller %d: %d connections and %d tunnels", controller, len(connections), tunnels)
	}
	if err := pages(func(token string) (string, error) {
		resp, err := api.ListCustomerGateways(ctx, &apiv1.ListCustomerGatewaysRequest{PageSize: 500, PageToken: token})
		for _, g := range resp.GetItems() {
			if g.GetName()[0] == 'x' {
				t.Errorf("controller %d: %s was deleted", controller, g.GetName())
			}
		}
		return resp.GetNextPageToken(), err
	}); err != nil {
		t.Fatal(err)
	}
}

// pages calls list until there is no next page.
func pages(list func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := list(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}
