package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
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
	atOnce  = 40
)

// TestClusterLosesNothing: an etcd of three members and two controllers. While 1,000 connections are created, 40 at a time, each is then
// changed and something else deleted, every member and every controller is killed in turn, writes go on without it, and it comes back. What
// was acknowledged is there afterwards, and nothing was allocated twice.
func TestClusterLosesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c := newCluster(ctx, t, fmt.Sprintf("{customerGateways: %d, connectionsPerGateway: %d}", 2*creates, creates))
	c.prepare(ctx)

	began := time.Now()
	jobs := make(chan int, creates)
	created := make(chan struct{}, creates)
	var retries atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for w := range atOnce {
		group.Go(func() error {
			wr := writer{apis: c.apis, at: w, retries: &retries}
			for i := range jobs {
				if err := wr.all(ctx, i); err != nil {
					return fmt.Errorf("connection %d: %w", i, err)
				}
				created <- struct{}{}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(jobs)
		next := 0
		give := func(n int) {
			for ; n > 0 && next < creates; n-- {
				jobs <- next
				next++
			}
		}
		give(creates / 10)
		for _, victim := range append(c.members, c.controllers...) {
			victim.kill()
			give(creates / 6)
			for range creates / 12 {
				select {
				case <-created:
				case <-ctx.Done():
					return fmt.Errorf("while %s is dead nothing goes on: %w", victim.name, ctx.Err())
				}
			}
			victim.start()
			if err := victim.serves(ctx); err != nil {
				return err
			}
		}
		give(creates)
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d connections with %d tunnels in %s through %d outages; %d requests had to be repeated", creates, 2*creates,
		time.Since(began).Round(time.Millisecond), len(c.members)+len(c.controllers), retries.Load())
	for i := range c.apis {
		c.check(t.Context(), i)
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
