package local

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// facts are a published view, looked at from where changes are made.
type facts struct{ view *status.View }

func (f facts) tunnel(name string) *apiv1.VPNTunnel {
	i, found := slices.BinarySearchFunc(f.view.Tunnels, name, func(t *apiv1.VPNTunnel, name string) int {
		return strings.Compare(t.GetName(), name)
	})
	if !found {
		return nil
	}
	return f.view.Tunnels[i]
}

func (f facts) names() []string {
	var out []string
	for _, t := range f.view.Tunnels {
		out = append(out, t.GetName())
	}
	return out
}

// heard says whether anybody hears of the tunnel over BGP: its customer, or a router of the VPC.
func (f facts) heard(t *apiv1.VPNTunnel) bool {
	if t.GetStatus().GetBgp() == apiv1.BGPEstablished {
		return true
	}
	for _, c := range f.view.Connections {
		if c.GetConnection().GetName() != t.GetSpec().GetConnection() {
			continue
		}
		for _, g := range f.view.Gateways {
			if g.GetName() == c.GetConnection().GetSpec().GetBorderGateway() {
				return slices.ContainsFunc(g.GetStatus().GetAttachments(), func(a *apiv1.AttachmentStatus) bool {
					return a.GetBgp() == apiv1.BGPEstablished
				})
			}
		}
	}
	return false
}

// lonely names what would be left without a tunnel that is known to be up when these went, a sentence each. elsewhere are connections with
// a tunnel on another host that the caller has seen up.
func (f facts) lonely(going, elsewhere []string) []string {
	var out []string
	for _, c := range f.view.Connections {
		var losing, unknown []string
		left := slices.Contains(elsewhere, c.GetConnection().GetName())
		for _, t := range c.GetTunnels() {
			name := t.GetName()
			own := f.tunnel(name)
			switch {
			case own == nil:
				unknown = append(unknown, name)
			case own.GetStatus().GetRunning() != apiv1.RunningUp:
			case slices.Contains(going, name):
				losing = append(losing, name)
			case own.GetStatus().GetLocal() == nil:
				left = true
			}
		}
		if len(losing) == 0 || left {
			continue
		}
		sentence := fmt.Sprintf("connection %s has no other tunnel that is known to be up than %s", c.GetConnection().GetName(),
			strings.Join(losing, ", "))
		if len(unknown) > 0 {
			sentence += fmt.Sprintf(" (%s: on another host, not known to be up)", strings.Join(unknown, ", "))
		}
		out = append(out, sentence)
	}
	return out
}

// closed says that nothing of the tunnel is left but its interface.
func (f facts) closed(t *apiv1.VPNTunnel) bool {
	st := t.GetStatus()
	if st.GetRunning() != apiv1.RunningDown || st.GetAdmin() != apiv1.AdminStateDown {
		return false
	}
	// A charon that does not answer closes them when it is back.
	return !f.view.Host.GetCharonConnected() || st.GetIke() == apiv1.IKEDown && len(st.GetChildSas()) == 0
}
