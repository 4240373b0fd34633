package hosts

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/fleet"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/resource"
	"github.com/bordergw/bordergw/controller/store"
)

// Registrar makes a host's GatewayHost what its agent announces. Addresses are the agent's to say, under the rules of the resource: an
// address belongs to one host, and one that connections have cannot be taken away. The zone is too, if the agent names one. Everything
// else is the operator's and stays.
func Registrar(s *resource.Service) func(context.Context, *apiv1.GatewayHost) error {
	return func(ctx context.Context, announced *apiv1.GatewayHost) error {
		for {
			want, changed := registration(s.Store, announced)
			if !changed {
				return nil
			}
			_, _, err := s.Apply(ctx, resource.Write{Actor: resource.Actor{Name: "agent/" + announced.GetName()}}, []model.Object{want})
			if !errors.Is(err, model.ErrStale) {
				return err
			}
			// Somebody else has written it meanwhile.
			if err := s.Store.Sync(ctx); err != nil {
				return err
			}
		}
	}
}

// registration returns the GatewayHost as it should be, and whether that is another than there is.
func registration(s *store.Store, announced *apiv1.GatewayHost) (want *apiv1.GatewayHost, changed bool) {
	s.View(func(r store.Reader) {
		rec := r.Get(store.Ref{Kind: apiv1.KindGatewayHost, Name: announced.GetName()})
		if rec == nil {
			want, changed = proto.CloneOf(announced), true
			return
		}
		is := fleet.Object[*apiv1.GatewayHost](r, apiv1.KindGatewayHost, announced.GetName())
		want = proto.CloneOf(is)
		want.Spec.Addresses = announced.GetSpec().GetAddresses()
		if zone := announced.GetSpec().GetZone(); zone != "" {
			want.Spec.Zone = zone
		}
		changed = !proto.Equal(is.GetSpec(), want.GetSpec())
		if want.Metadata == nil {
			want.Metadata = &apiv1.Metadata{}
		}
		want.Metadata.ResourceVersion = store.FormatRevision(rec.Revision)
	})
	return want, changed
}
