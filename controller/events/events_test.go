package events_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/events"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/controller/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEvents(t *testing.T) {
	client := storetest.Client(t, storetest.Start(t))
	s, err := store.Open(t.Context(), store.Options{Client: client, Prefix: "/bordergw/", Index: model.Indexes, Log: storetest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	write := func(put ...func(*store.Tx)) {
		t.Helper()
		if _, err := s.Write(t.Context(), func(tx *store.Tx) error {
			for _, p := range put {
				p(tx)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }
	tunnel := func(running, reason string, since int64, ike string) func(*store.Tx) {
		return func(tx *store.Tx) {
			tx.Put(fleet.TunnelStatusRef("shop-1"), &apiv1.Stored{TunnelStatus: &apiv1.VPNTunnelStatus{Running: running, Reason: reason,
				Since: at(since), Ike: ike, Host: "gw-a", Message: "so it is"}})
		}
	}
	verdict := func(changed bool) func(*store.Tx) {
		return func(tx *store.Tx) {
			tx.Put(fleet.Availability("shop"), &apiv1.Stored{Availability: &apiv1.AvailabilityRecord{Changed: changed, History: []*apiv1.Transition{
				{Time: at(3), Connection: "shop", After: "NOT_HIGHLY_AVAILABLE", Reasons: []string{"HOST_SILENT"}, Messages: []string{"One.", "Two."}}}}})
		}
	}
	write(tunnel("UP", "", 1, ""))

	memory := events.NewMemory(s, storetest.Log(t))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := memory.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	_, handler := apiv1connect.NewFleetServiceHandler(&events.Service{Store: s, Memory: memory})
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c := apiv1connect.NewFleetServiceClient(&http.Client{Transport: transport}, srv.URL)
	watch := func(req *apiv1.WatchEventsRequest, n int, between func()) (got []string, version string) {
		t.Helper()
		stream, err := c.WatchEvents(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		limit := time.AfterFunc(time.Minute, func() { _ = stream.Close() })
		defer limit.Stop()
		for len(got) < n && stream.Receive() {
			m := stream.Msg()
			version = m.GetResourceVersion()
			if e := m.GetEvent(); e != nil {
				got = append(got, e.GetObject()+" "+change(e)+" "+cmp.Diff([]string(nil), e.GetReasons())+e.GetMessage()+" "+e.GetHost())
				continue
			}
			if between != nil {
				between()
				between = nil
			}
		}
		if len(got) < n {
			t.Fatalf("only %v: %v", got, stream.Err())
		}
		return got, version
	}
	first, version := watch(&apiv1.WatchEventsRequest{}, 4, func() {
		write(tunnel("UP", "", 1, "ESTABLISHED")) // no change of state
		write(tunnel("DOWN", "DPD_TIMEOUT", 2, ""))
		write(verdict(true))
		write(verdict(false)) // a lesser change
		write(func(tx *store.Tx) {
			tx.Put(fleet.Silence("gw-a"), &apiv1.Stored{Silence: &apiv1.HostSilence{Since: at(4)}})
		})
		write(func(tx *store.Tx) {
			tx.Put(fleet.Presence("gw-a"), &apiv1.Stored{Presence: &apiv1.HostPresence{Since: at(5), Controller: "one"}})
		})
	})
	reasons := func(words ...string) string { return cmp.Diff([]string(nil), words) }
	want := []string{
		"VPNTunnel/shop-1 UP>DOWN " + reasons("DPD_TIMEOUT") + "so it is gw-a",
		"VPNConnection/shop NOT_HIGHLY_AVAILABLE " + reasons("HOST_SILENT") + "One. Two. ",
		"GatewayHost/gw-a SILENT " + reasons("HOST_SILENT") + "has not been heard of for longer than its lease gw-a",
		"GatewayHost/gw-a REPORTING " + "reports to controller one gw-a",
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Error(diff)
	}
	last := func(req *apiv1.WatchEventsRequest) (got []string) {
		t.Helper()
		stream, err := c.WatchEvents(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for stream.Receive() {
			got = append(got, stream.Msg().GetEvent().GetObject()+" "+change(stream.Msg().GetEvent()))
		}
		if err := errors.Join(stream.Err(), stream.Close()); err != nil {
			t.Error(err)
		}
		return got
	}
	all := []string{"VPNTunnel/shop-1 UP", "VPNTunnel/shop-1 UP>DOWN", "VPNConnection/shop NOT_HIGHLY_AVAILABLE", "GatewayHost/gw-a SILENT", "GatewayHost/gw-a REPORTING"}
	if diff := cmp.Diff(all, last(&apiv1.WatchEventsRequest{Last: 50, Once: true})); diff != "" {
		t.Errorf("what has happened: %s", diff)
	}
	if diff := cmp.Diff(all[4:], last(&apiv1.WatchEventsRequest{Last: 1, Once: true})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(all[:2], last(&apiv1.WatchEventsRequest{Last: 50, Once: true, Object: "VPNTunnel/shop-1"})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string(nil), last(&apiv1.WatchEventsRequest{Once: true})); diff != "" {
		t.Error(diff)
	}
	// A controller that starts knows of a tunnel only since when it is as it is.
	later := events.NewMemory(s, storetest.Log(t))
	wg.Go(func() {
		if err := later.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	_, handler = apiv1connect.NewFleetServiceHandler(&events.Service{Store: s, Memory: later})
	restarted := httptest.NewServer(handler)
	t.Cleanup(restarted.Close)
	c = apiv1connect.NewFleetServiceClient(&http.Client{Transport: transport}, restarted.URL)
	if diff := cmp.Diff([]string{"VPNTunnel/shop-1 DOWN", "VPNConnection/shop NOT_HIGHLY_AVAILABLE", "GatewayHost/gw-a SILENT", "GatewayHost/gw-a REPORTING"},
		last(&apiv1.WatchEventsRequest{Last: 50, Once: true})); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
	// The last ones, and on without a gap.
	followed, _ := watch(&apiv1.WatchEventsRequest{Last: 1}, 2, func() { write(tunnel("UP", "", 6, ""), verdict(true)) })
	if diff := cmp.Diff([]string{want[3], "VPNConnection/shop NOT_HIGHLY_AVAILABLE " + reasons("HOST_SILENT") + "One. Two. "}, followed); diff != "" {
		t.Error(diff)
	}
	resumed, _ := watch(&apiv1.WatchEventsRequest{ResourceVersion: version, Object: "VPNTunnel/shop-1"}, 1, nil)
	if diff := cmp.Diff([]string{"VPNTunnel/shop-1 UP so it is gw-a"}, resumed); diff != "" {
		t.Error(diff)
	}

	list, err := c.ListTransitions(t.Context(), &apiv1.ListTransitionsRequest{Connection: "shop"})
	if err != nil || len(list.GetItems()) != 1 || list.GetResourceVersion() == "" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := c.ListTransitions(t.Context(), &apiv1.ListTransitionsRequest{}); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Error(err)
	}
	for _, req := range []*apiv1.WatchEventsRequest{{ResourceVersion: "yesterday"}, {ResourceVersion: version, Last: 1}, {ResourceVersion: version, Once: true}} {
		stream, err := c.WatchEvents(t.Context(), req)
		if err == nil {
			stream.Receive()
			err = stream.Err()
			_ = stream.Close()
		}
		if connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%v: %v", req, err)
		}
	}
}

// change is what an event tells of a state.
func change(e *apiv1.Event) string {
	if e.GetBefore() == "" {
		return e.GetState()
	}
	return e.GetBefore() + ">" + e.GetState()
}
