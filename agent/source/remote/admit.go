package remote

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

// accepted is a snapshot as far as it is in force: secrets sealed in the messages, open in the Set.
type accepted struct {
	snapshot *apiv1.Snapshot
	set      *apiv1.Set
	findings []*apiv1.Finding
	// opened holds the open secrets by their sealed form, so that the next snapshot need not decrypt what it has in common.
	opened map[string]secret.Secret
}

// objects of a snapshot by their names in findings.
type objects map[string]proto.Message

func objectsOf(s *apiv1.Snapshot) objects {
	out := objects{}
	for _, g := range s.GetBorderGateways() {
		out[apiv1.ObjectName(apiv1.KindBorderGateway, g.GetName())] = g
	}
	for _, g := range s.GetCustomerGateways() {
		out[apiv1.ObjectName(apiv1.KindCustomerGateway, g.GetName())] = g
	}
	for _, c := range s.GetConnections() {
		out[apiv1.ObjectName(apiv1.KindVPNConnection, c.GetName())] = c
	}
	for _, t := range s.GetTunnels() {
		out[apiv1.ObjectName(apiv1.KindVPNTunnel, t.GetName())] = t
	}
	return out
}

// snapshot puts the objects together again, sorted by name.
func (o objects) snapshot(like *apiv1.Snapshot) *apiv1.Snapshot {
	out := &apiv1.Snapshot{Revision: like.GetRevision(), Digest: like.GetDigest()}
	for _, name := range apiv1.Names(o) {
		switch m := o[name].(type) {
		case *apiv1.BorderGateway:
			out.BorderGateways = append(out.BorderGateways, m)
		case *apiv1.CustomerGateway:
			out.CustomerGateways = append(out.CustomerGateways, m)
		case *apiv1.VPNConnection:
			out.Connections = append(out.Connections, m)
		case *apiv1.VPNTunnel:
			out.Tunnels = append(out.Tunnels, m)
		}
	}
	return out
}

// admit checks every object of a snapshot. One that this host cannot take stays as it was in the snapshot before, provided that that
// still fits, or else is left out with everything that depends on it; all others come into force. before may be nil.
func (s *Source) admit(snapshot *apiv1.Snapshot, before *accepted) *accepted {
	want, old, opts := objectsOf(snapshot), objects{}, s.admitOptions()
	out := &accepted{opened: map[string]secret.Secret{}}
	if before != nil {
		old = objectsOf(before.snapshot)
	}
	out.findings = unknownFields(want)
	reverted := map[string]bool{}
	for {
		set, findings := s.build(want, before, out.opened)
		for _, f := range apiv1.Admit(set, opts) {
			if !reverted[f.GetObject()] || !f.GetWarning() {
				findings = append(findings, f)
			}
		}
		again := false
		for _, f := range findings {
			if !slices.ContainsFunc(out.findings, func(k *apiv1.Finding) bool { return proto.Equal(k, f) }) {
				out.findings = append(out.findings, f)
			}
			if f.GetWarning() {
				continue
			}
			again = again || want.give(f.GetObject(), old, reverted)
		}
		if !again {
			out.set, out.snapshot = set, want.snapshot(snapshot)
			if len(reverted) > 0 {
				// After a restart the controller must send it as a whole again.
				out.snapshot.Digest = nil
			}
			return out
		}
	}
}

// give takes a refused object back to what it was, or out when it was taken back before. It says whether anything changed.
func (o objects) give(object string, old objects, reverted map[string]bool) bool {
	now, there := o[object]
	was, known := old[object]
	switch {
	case !there:
		return false
	case known && !reverted[object] && !proto.Equal(now, was):
		o[object] = was
	default:
		delete(o, object)
	}
	reverted[object] = true
	return true
}

func (s *Source) admitOptions() apiv1.AdmitOptions {
	opts := s.opts.Admit
	opts.Manifests, opts.MLKEM = true, s.opts.MLKEM()
	// The controller keeps the quotas; here tenants of many customers come together.
	const all = math.MaxInt
	opts.Quotas = apiv1.Quotas{
		BorderGateways: all, CustomerGateways: all, ConnectionsPerGateway: all, StaticRoutesPerGateway: all,
		BGPRoutesPerGateway: all, AttachmentsPerGateway: all, AddressesPerCustomerGateway: all,
	}
	return opts
}

// build makes a Set of copies, with all secrets opened.
func (s *Source) build(want objects, before *accepted, opened map[string]secret.Secret) (*apiv1.Set, []*apiv1.Finding) {
	set := apiv1.NewSet()
	set.HostOnly = true
	var findings []*apiv1.Finding
	fail := func(object, field, format string, args ...any) {
		findings = append(findings, &apiv1.Finding{Object: object, Field: field, Message: fmt.Sprintf(format, args...)})
	}
	open := func(object, field string, source *apiv1.SecretSource) (secret.Secret, bool) {
		sealed := source.GetSealed()
		if len(sealed) == 0 {
			return secret.Secret{}, false
		}
		source.Sealed = nil
		key := seal.Context(object, field) + string(sealed)
		value, known := opened[key]
		if !known && before != nil {
			value, known = before.opened[key]
		}
		if !known {
			var err error
			if value, err = s.opts.Keys.Open(seal.Context(object, field), sealed); err != nil {
				fail(object, field+".sealed", "%s", err)
				return secret.Secret{}, false
			}
		}
		opened[key] = value
		return value, true
	}
	for _, object := range apiv1.Names(want) {
		switch m := proto.Clone(want[object]).(type) {
		case *apiv1.BorderGateway:
			set.BorderGateways[m.GetName()] = m
			for _, a := range m.GetSpec().GetAttachments() {
				if v, ok := open(object, PeerPasswordField(a.GetName()), a.GetPeer().GetPassword()); ok {
					set.SetPeerPassword(m.GetName(), a.GetName(), v)
				}
			}
		case *apiv1.CustomerGateway:
			set.CustomerGateways[m.GetName()] = m
		case *apiv1.VPNConnection:
			set.Connections[m.GetName()] = m
		case *apiv1.VPNTunnel:
			set.Tunnels[m.GetName()] = m
			if addr, err := netip.ParseAddr(m.GetSpec().GetCloudAddress()); err == nil && s.opts.Admit.Owns != nil && !s.opts.Admit.Owns(addr) {
				fail(object, "spec.cloudAddress", "%s is not an address of this host", addr)
			}
			if v, ok := open(object, PSKField, m.GetSpec().GetPsk()); ok {
				set.SetPSK(m.GetName(), v)
			}
			if v, ok := open(object, BGPPasswordField, m.GetSpec().GetBgp().GetPassword()); ok {
				set.SetBGPPassword(m.GetName(), v)
			}
		}
	}
	set.SetDefaults()
	return set, findings
}

// The fields of sealed secrets, as they go into the seal's context.
const (
	PSKField         = "spec.psk"
	BGPPasswordField = "spec.bgp.password"
)

// PeerPasswordField is the field of an attachment's peer password. Attachments are named: their order may change.
func PeerPasswordField(attachment string) string {
	return "spec.attachments[" + attachment + "].peer.password"
}

// unknownFields warns of what a newer controller asks for and this agent would silently leave undone.
func unknownFields(all objects) []*apiv1.Finding {
	var out []*apiv1.Finding
	for _, name := range apiv1.Names(all) {
		if hasUnknown(all[name].ProtoReflect()) {
			out = append(out, &apiv1.Finding{Object: name, Warning: true,
				Message: "has fields that this agent does not know and leaves out of account: it is older than the controller"})
		}
	}
	return out
}

func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() || fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = found || hasUnknown(v.Message())
		}
		return !found
	})
	return found
}
