package server

import (
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// secretsOf lists every secret source in a message of the local API. A test compares it with the schema.
func secretsOf(m proto.Message) []*apiv1.SecretSource {
	switch m := m.(type) {
	case *apiv1.VPNTunnel:
		return []*apiv1.SecretSource{m.GetSpec().GetPsk(), m.GetSpec().GetBgp().GetPassword()}
	case *apiv1.BorderGateway:
		var out []*apiv1.SecretSource
		for _, a := range m.GetSpec().GetAttachments() {
			out = append(out, a.GetPeer().GetPassword())
		}
		return out
	case *apiv1.ConnectionView:
		var out []*apiv1.SecretSource
		for _, t := range m.GetTunnels() {
			out = append(out, secretsOf(t)...)
		}
		return out
	}
	return nil
}

// holdsSecret is true when a value in clear is still in the message. Values are taken out where manifests are read; this is the last
// fence before the socket.
func holdsSecret(m proto.Message) bool {
	for _, s := range secretsOf(m) {
		if s.GetValue() != "" {
			return true
		}
	}
	return false
}

func clearSecrets(m proto.Message) {
	for _, s := range secretsOf(m) {
		if s != nil {
			s.Value = ""
		}
	}
}
