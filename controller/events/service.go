package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/availability"
	"github.com/bordergw/bordergw/controller/store"
)

// Service implements the FleetService.
type Service struct {
	Store *store.Store
	// Memory must be running.
	Memory *Memory
}

// ListTransitions implements the FleetService.
func (s *Service) ListTransitions(ctx context.Context, req *apiv1.ListTransitionsRequest) (*apiv1.ListTransitionsResponse, error) {
	if req.GetConnection() == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("connection: is required"))
	}
	if err := s.Store.Sync(ctx); err != nil {
		return nil, problem(err)
	}
	items, revision := availability.History(s.Store, req.GetConnection())
	return &apiv1.ListTransitionsResponse{Items: items, ResourceVersion: store.FormatRevision(revision)}, nil
}

// WatchEvents implements the FleetService.
func (s *Service) WatchEvents(ctx context.Context, req *apiv1.WatchEventsRequest, stream *connect.ServerStream[apiv1.WatchEventsResponse]) error {
	begin, err := s.begin(ctx, req)
	if err != nil {
		return problem(err)
	}
	send := func(e *apiv1.Event, revision int64) error {
		return stream.Send(&apiv1.WatchEventsResponse{Event: e, ResourceVersion: store.FormatRevision(revision)})
	}
	for _, e := range begin.last(int(req.GetLast()), req.GetObject()) {
		if err := send(e, begin.revision); err != nil {
			return err
		}
	}
	if req.GetOnce() {
		return nil
	}
	if req.GetResourceVersion() == "" {
		// The reader knows from now on where to go on.
		if err := send(nil, begin.revision); err != nil {
			return err
		}
	}
	return problem(watch(ctx, s.Store, begin, func(e *apiv1.Event, revision int64) error {
		if e != nil && req.GetObject() != "" && e.GetObject() != req.GetObject() {
			return nil
		}
		return send(e, revision)
	}))
}

// begin is the past after which a reader goes on.
func (s *Service) begin(ctx context.Context, req *apiv1.WatchEventsRequest) (past, error) {
	if v := req.GetResourceVersion(); v != "" {
		after, err := strconv.ParseInt(v, 10, 64)
		switch {
		case err != nil || after <= 0:
			return past{}, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("resourceVersion: %q is not one that was returned", v))
		case req.GetLast() > 0 || req.GetOnce():
			return past{}, connect.NewError(connect.CodeInvalidArgument, errors.New("last, once: are for readers that begin, not for those that go on"))
		}
		return past{revision: after, tunnels: tunnels{}}, s.Store.Sync(ctx)
	}
	if err := s.Store.Sync(ctx); err != nil {
		return past{}, err
	}
	var revision int64
	s.Store.View(func(r store.Reader) { revision = newest(r) })
	return s.Memory.upTo(ctx, revision)
}

// problem gives the store's errors their codes.
func problem(err error) error {
	switch {
	case errors.Is(err, store.ErrCompacted):
		return connect.NewError(connect.CodeOutOfRange, err)
	case errors.Is(err, store.ErrUnavailable):
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return err
}
