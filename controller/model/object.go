// Package model is what controllers know about the kinds of resources: how they are kept, what ties them together, where their secrets are.
// It is pure.
package model

import (
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
)

// Object is a resource of any kind.
type Object interface {
	proto.Message
	GetName() string
	GetMetadata() *apiv1.Metadata
}

// KindClaim is the kind of records that hold a Claim.
const KindClaim = "claim"

// Kinds returns the kinds of resources in the order in which one may refer to those before it.
func Kinds() []string {
	return []string{apiv1.KindGatewayHost, apiv1.KindCustomerGateway, apiv1.KindBorderGateway, apiv1.KindVPNConnection, apiv1.KindVPNTunnel}
}

// KindOf returns an object's kind.
func KindOf(o Object) string { return string(o.ProtoReflect().Descriptor().Name()) }

// RefOf returns the name under which an object is kept.
func RefOf(o Object) store.Ref { return store.Ref{Kind: KindOf(o), Name: o.GetName()} }

// Wrap puts an object into the message that can hold any; nil stays nil.
func Wrap(o Object) *apiv1.Resource {
	switch o := o.(type) {
	case *apiv1.BorderGateway:
		return &apiv1.Resource{Resource: &apiv1.Resource_BorderGateway{BorderGateway: o}}
	case *apiv1.CustomerGateway:
		return &apiv1.Resource{Resource: &apiv1.Resource_CustomerGateway{CustomerGateway: o}}
	case *apiv1.VPNConnection:
		return &apiv1.Resource{Resource: &apiv1.Resource_VpnConnection{VpnConnection: o}}
	case *apiv1.VPNTunnel:
		return &apiv1.Resource{Resource: &apiv1.Resource_VpnTunnel{VpnTunnel: o}}
	case *apiv1.GatewayHost:
		return &apiv1.Resource{Resource: &apiv1.Resource_GatewayHost{GatewayHost: o}}
	}
	return nil
}

// Unwrap returns what is in the message; nil when nothing is.
func Unwrap(r *apiv1.Resource) Object {
	switch {
	case r.GetBorderGateway() != nil:
		return r.GetBorderGateway()
	case r.GetCustomerGateway() != nil:
		return r.GetCustomerGateway()
	case r.GetVpnConnection() != nil:
		return r.GetVpnConnection()
	case r.GetVpnTunnel() != nil:
		return r.GetVpnTunnel()
	case r.GetGatewayHost() != nil:
		return r.GetGatewayHost()
	}
	return nil
}

// New returns an empty object of a kind; nil for other words.
func New(kind string) Object {
	switch kind {
	case apiv1.KindBorderGateway:
		return &apiv1.BorderGateway{}
	case apiv1.KindCustomerGateway:
		return &apiv1.CustomerGateway{}
	case apiv1.KindVPNConnection:
		return &apiv1.VPNConnection{}
	case apiv1.KindVPNTunnel:
		return &apiv1.VPNTunnel{}
	case apiv1.KindGatewayHost:
		return &apiv1.GatewayHost{}
	}
	return nil
}

// Tombstone returns an object that has nothing but kind and name.
func Tombstone(ref store.Ref) Object {
	o := New(ref.Kind)
	if o != nil {
		setHead(o, ref, nil)
	}
	return o
}

// Stored returns the object of a record, which must not be changed; nil for a record that is none.
func Stored(r *store.Record) Object {
	if r == nil {
		return nil
	}
	return Unwrap(r.Value.GetResource())
}

// Show returns the object of a record as the API tells it: a copy with the resource version. A revision of 0 is a write that was only tried.
func Show(v *apiv1.Stored, revision int64) Object {
	o := Unwrap(proto.CloneOf(v.GetResource()))
	if revision > 0 {
		o.GetMetadata().ResourceVersion = store.FormatRevision(revision)
	}
	return o
}

// Normal returns a copy of what a writer sent with what is not a writer's to say left out, and every message that there always is.
func Normal(o Object) Object {
	o = proto.Clone(o).(Object) //nolint:forcetypeassert // a clone has the type of its original
	setHead(o, RefOf(o), o.GetMetadata())
	switch o := o.(type) {
	case *apiv1.BorderGateway:
		o.Status = nil
		apiv1.DefaultBorderGateway(o)
	case *apiv1.CustomerGateway:
		o.Spec = orNew(o.Spec)
	case *apiv1.VPNConnection:
		o.Status, o.Spec = nil, orNew(o.Spec)
	case *apiv1.VPNTunnel:
		o.Status, o.Spec = nil, orNew(o.Spec)
	case *apiv1.GatewayHost:
		o.Status, o.Spec = nil, orNew(o.Spec)
	}
	return o
}

// setHead sets kind, name and metadata.
func setHead(o Object, ref store.Ref, m *apiv1.Metadata) {
	if m == nil {
		m = &apiv1.Metadata{}
	}
	switch o := o.(type) {
	case *apiv1.BorderGateway:
		o.Kind, o.Name, o.Metadata = ref.Kind, ref.Name, m
	case *apiv1.CustomerGateway:
		o.Kind, o.Name, o.Metadata = ref.Kind, ref.Name, m
	case *apiv1.VPNConnection:
		o.Kind, o.Name, o.Metadata = ref.Kind, ref.Name, m
	case *apiv1.VPNTunnel:
		o.Kind, o.Name, o.Metadata = ref.Kind, ref.Name, m
	case *apiv1.GatewayHost:
		o.Kind, o.Name, o.Metadata = ref.Kind, ref.Name, m
	}
}

// SetMetadata replaces an object's metadata.
func SetMetadata(o Object, m *apiv1.Metadata) { setHead(o, RefOf(o), m) }

// Acted returns a copy with nothing but what agents act on: no metadata, no description.
func Acted(o Object) Object {
	o = proto.Clone(o).(Object) //nolint:forcetypeassert // a clone has the type of its original
	setHead(o, RefOf(o), nil)
	switch o := o.(type) {
	case *apiv1.BorderGateway:
		o.Spec.Description = ""
	case *apiv1.CustomerGateway:
		o.Spec.Description = ""
	case *apiv1.VPNConnection:
		o.Spec.Description = ""
	case *apiv1.VPNTunnel:
		o.Spec.Description = ""
	case *apiv1.GatewayHost:
		o.Spec.Description = ""
	}
	return o
}

func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}
