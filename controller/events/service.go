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
	after := int64(0)
	if v := req.GetResourceVersion(); v != "" {
		var err error
		if after, err = strconv.ParseInt(v, 10, 64); err != nil || after <= 0 {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("resourceVersion: %q is not one that was returned", v))
		}
	}
	return problem(Watch(ctx, s.Store, after, func(e *apiv1.Event, revision int64) error {
		if e != nil && req.GetObject() != "" && e.GetObject() != req.GetObject() {
			return nil
		}
		return stream.Send(&apiv1.WatchEventsResponse{Event: e, ResourceVersion: store.FormatRevision(revision)})
	}))
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
