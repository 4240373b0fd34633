package model

import (
	"fmt"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Secret is one place for a secret in an object.
type Secret struct {
	// Path names it for good: an attachment is named, not counted.
	Path string
	// Field is the path in findings.
	Field string
	// Source is the place itself.
	Source **apiv1.SecretSource
	// Always: the object cannot be without.
	Always bool
}

// Secrets returns the places for secrets in an object, whether there is one or not.
func Secrets(o Object) []Secret {
	switch o := o.(type) {
	case *apiv1.BorderGateway:
		var out []Secret
		for i, a := range o.GetSpec().GetAttachments() {
			if a.GetPeer() != nil {
				out = append(out, Secret{
					Path: PeerPassword(a.GetName()), Field: fmt.Sprintf("spec.attachments[%d].peer.password", i), Source: &a.Peer.Password,
				})
			}
		}
		return out
	case *apiv1.VPNTunnel:
		if o.Spec == nil {
			return nil
		}
		out := []Secret{{Path: PSK, Field: PSK, Source: &o.Spec.Psk, Always: true}}
		if o.Spec.Bgp != nil {
			out = append(out, Secret{Path: BGPPassword, Field: BGPPassword, Source: &o.Spec.Bgp.Password})
		}
		return out
	}
	return nil
}

// Paths of secrets.
const (
	PSK         = "spec.psk"
	BGPPassword = "spec.bgp.password"
)

// PeerPassword is the path of an attachment's.
func PeerPassword(attachment string) string {
	return "spec.attachments[" + attachment + "].peer.password"
}
