// Package api serves the resources: gRPC, gRPC-Web and JSON over HTTP on one port.
package api

import (
	"context"
	"errors"
	"log/slog"

	"connectrpc.com/connect"

	"github.com/bordergw/bordergw/api/impact"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/api/v1/apiv1connect"
	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/audit"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/query"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
)

// Resources implements the ResourceService.
type Resources struct {
	Service *resource.Service
	Log     *slog.Logger
}

var _ apiv1connect.ResourceServiceHandler = (*Resources)(nil)

func (h *Resources) asked(ctx context.Context, dryRun bool) resource.Write {
	id, peer := access.From(ctx)
	return resource.Write{Actor: resource.Actor{Name: id.String(), Peer: peer}, DryRun: dryRun}
}

// given refuses a request without its resource.
func given[T model.Object](o T, field string) error {
	if !o.ProtoReflect().IsValid() {
		return invalid(field, "is required")
	}
	return nil
}

func create[T model.Object](ctx context.Context, h *Resources, o T, field string, dryRun bool) (T, []*apiv1.Finding, error) {
	var none T
	if err := given(o, field); err != nil {
		return none, nil, err
	}
	results, warnings, err := h.Service.Create(ctx, h.asked(ctx, dryRun), o)
	if err != nil {
		return none, nil, h.problem(err)
	}
	return results[0].After.(T), warnings, nil //nolint:forcetypeassert // what comes out is of the kind that went in
}

func update[T model.Object](ctx context.Context, h *Resources, o T, field string, dryRun bool) (T, []*apiv1.Finding, error) {
	var none T
	if err := given(o, field); err != nil {
		return none, nil, err
	}
	result, warnings, err := h.Service.Update(ctx, h.asked(ctx, dryRun), o)
	if err != nil {
		return none, nil, h.problem(err)
	}
	return result.After.(T), warnings, nil //nolint:forcetypeassert // what comes out is of the kind that went in
}

func get[T model.Object](ctx context.Context, h *Resources, name string) (T, error) {
	var none T
	o, err := h.Service.Get(ctx, store.Ref{Kind: model.KindOf(none), Name: name})
	if err != nil {
		return none, h.problem(err)
	}
	return o.(T), nil //nolint:forcetypeassert // the kind was asked for
}

type deletion interface {
	GetName() string
	GetResourceVersion() string
	GetDryRun() bool
}

func (h *Resources) delete(ctx context.Context, kind string, req deletion) error {
	return h.problem(h.Service.Delete(ctx, h.asked(ctx, req.GetDryRun()), store.Ref{Kind: kind, Name: req.GetName()}, req.GetResourceVersion()))
}

type listing interface {
	GetPageSize() uint32
	GetPageToken() string
	GetFilters() []string
}

// list returns a page, the next token and the resource version.
func list[T model.Object](ctx context.Context, h *Resources, req listing) ([]T, string, string, error) {
	var none T
	limit, err := query.PageSize(req.GetPageSize())
	if err != nil {
		return nil, "", "", invalid("pageSize", err.Error())
	}
	after, err := query.Position(req.GetPageToken())
	if err != nil {
		return nil, "", "", invalid("pageToken", err.Error())
	}
	filter, err := query.Parse(none, req.GetFilters())
	if err != nil {
		return nil, "", "", invalid("filters", err.Error())
	}
	page, err := h.Service.List(ctx, model.KindOf(none), filter, after, limit)
	if err != nil {
		return nil, "", "", h.problem(err)
	}
	items := make([]T, len(page.Items))
	for i, o := range page.Items {
		items[i] = o.(T) //nolint:forcetypeassert // the kind was asked for
	}
	return items, query.Token(page.Next), store.FormatRevision(page.Revision), nil
}

// Apply implements the ResourceService.
func (h *Resources) Apply(ctx context.Context, req *apiv1.ApplyRequest) (*apiv1.ApplyResponse, error) {
	objects, err := unwrapAll(req.GetResources())
	if err != nil {
		return nil, err
	}
	w := h.asked(ctx, req.GetDryRun())
	w.DefaultTunnels = req.GetDefaultTunnels()
	results, warnings, err := h.Service.Apply(ctx, w, objects)
	if err != nil {
		return nil, h.problem(err)
	}
	resp := &apiv1.ApplyResponse{Warnings: warnings}
	for _, r := range results {
		resp.Results = append(resp.Results, &apiv1.ApplyResult{Action: r.Action, Before: wrap(r.Before), After: wrap(r.After), Secrets: r.Secrets})
	}
	return resp, nil
}

// Plan implements the ResourceService.
func (h *Resources) Plan(ctx context.Context, req *apiv1.PlanResourcesRequest) (*apiv1.PlanResponse, error) {
	objects, err := unwrapAll(req.GetResources())
	if err != nil {
		return nil, err
	}
	changes, warnings, err := h.Service.Plan(ctx, objects)
	var refusal *model.Refusal
	switch {
	case errors.As(err, &refusal):
		return &apiv1.PlanResponse{Findings: refusal.Findings, Impact: apiv1.ImpactNone}, nil
	case err != nil:
		return nil, h.problem(err)
	}
	return &apiv1.PlanResponse{Accepted: true, Findings: warnings, Changes: changes, Impact: impact.Greatest(changes)}, nil
}

func unwrapAll(resources []*apiv1.Resource) ([]model.Object, error) {
	objects := make([]model.Object, len(resources))
	for i, r := range resources {
		if objects[i] = model.Unwrap(r); objects[i] == nil {
			return nil, invalid(index("resources", i), "is required: one resource")
		}
	}
	return objects, nil
}

func wrap(o model.Object) *apiv1.Resource {
	if o == nil {
		return nil
	}
	return model.Wrap(o)
}

// Watch implements the ResourceService.
func (h *Resources) Watch(ctx context.Context, req *apiv1.WatchRequest, stream *connect.ServerStream[apiv1.WatchResponse]) error {
	kinds, err := query.Kinds(req.GetKinds())
	if err != nil {
		return invalid("kinds", err.Error())
	}
	var after int64
	if text := req.GetResourceVersion(); text != "" {
		if after, err = query.Revision(text); err != nil {
			return invalid("resourceVersion", err.Error())
		}
	}
	err = h.Service.Watch(ctx, kinds, after, func(e resource.Event) error {
		return stream.Send(&apiv1.WatchResponse{Type: e.Type, Resource: wrap(e.Object), ResourceVersion: store.FormatRevision(e.Revision)})
	})
	if errors.Is(err, resource.ErrFuture) {
		return invalid("resourceVersion", err.Error())
	}
	return h.problem(err)
}

// ListAudit implements the ResourceService.
func (h *Resources) ListAudit(ctx context.Context, req *apiv1.ListAuditRequest) (*apiv1.ListAuditResponse, error) {
	limit, err := query.PageSize(req.GetPageSize())
	if err != nil {
		return nil, invalid("pageSize", err.Error())
	}
	before, err := query.Position(req.GetPageToken())
	if err != nil || !audit.ValidToken(before) {
		return nil, invalid("pageToken", "is not one that was returned")
	}
	items, next, err := audit.List(ctx, h.Service.Store, audit.Filter{Kind: req.GetKind(), Name: req.GetName()}, before, limit)
	if err != nil {
		return nil, h.problem(err)
	}
	return &apiv1.ListAuditResponse{Items: items, NextPageToken: query.Token(next)}, nil
}
