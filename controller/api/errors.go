package api

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// invalid refuses a request for one of its own fields.
func invalid(field, message string) error {
	return withFindings(connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s: %s", field, message)),
		[]*apiv1.Finding{{Field: field, Message: message}})
}

func withFindings(e *connect.Error, findings []*apiv1.Finding) error {
	// A detail that cannot be made is no reason to lose the error; the text has the same.
	if detail, err := connect.NewErrorDetail(&apiv1.Refusal{Findings: findings}); err == nil {
		e.AddDetail(detail)
	}
	return e
}

// problem says in the protocol's words what went wrong.
func (h *Resources) problem(err error) error {
	var refusal *model.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return withFindings(connect.NewError(code(refusal.Sort), refusal), refusal.Findings)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, store.ErrUnavailable):
		h.Log.Error("request failed", "error", err)
		return connect.NewError(connect.CodeUnavailable,
			errors.New("the store cannot be reached; whether a write took place is not known: read before you repeat it"))
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case errors.Is(err, store.ErrCompacted):
		return connect.NewError(connect.CodeOutOfRange, fmt.Errorf("%w: begin anew without resourceVersion", err))
	case errors.Is(err, store.ErrTooLarge):
		return connect.NewError(connect.CodeResourceExhausted, err)
	case errors.Is(err, store.ErrNewerSchema):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	}
	var ours *connect.Error
	if errors.As(err, &ours) {
		return err
	}
	h.Log.Error("request failed", "error", err)
	return connect.NewError(connect.CodeInternal, errors.New("internal error; the controller's log has more"))
}

func code(sort error) connect.Code {
	for _, x := range []struct {
		sort error
		code connect.Code
	}{
		{model.ErrNotFound, connect.CodeNotFound}, {model.ErrExists, connect.CodeAlreadyExists}, {model.ErrStale, connect.CodeAborted},
		{model.ErrPrecondition, connect.CodeFailedPrecondition}, {model.ErrQuota, connect.CodeResourceExhausted},
	} {
		if errors.Is(sort, x.sort) {
			return x.code
		}
	}
	return connect.CodeInvalidArgument
}

func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
