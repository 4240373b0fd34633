package remote

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

// BenchmarkAdmit judges a snapshot of 1,000 tunnels in 250 connections: as the first one, and with one tunnel changed since the one before.
func BenchmarkAdmit(b *testing.B) {
	keys, err := seal.OpenKeyring(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	owner := netip.MustParseAddr("198.51.100.1")
	s := New(Options{Keys: keys, Log: slog.New(slog.DiscardHandler), MLKEM: func() apiv1.Capability { return apiv1.CapabilityUnknown },
		Admit: apiv1.AdmitOptions{Owns: func(a netip.Addr) bool { return a == owner }}})
	first := &apiv1.Snapshot{Revision: 1}
	for c := range 250 {
		name := fmt.Sprintf("c%03d", c)
		var addresses []string
		for i := range 4 {
			addresses = append(addresses, fmt.Sprintf("203.0.%d.%d", c, i+1))
			tunnel := fmt.Sprintf("%s-%d", name, i)
			sealed, err := keys.Public().Seal(seal.Context(apiv1.ObjectName(apiv1.KindVPNTunnel, tunnel), PSKField), secret.New("kept-from-all-eyes-"+tunnel))
			if err != nil {
				b.Fatal(err)
			}
			first.Tunnels = append(first.Tunnels, &apiv1.VPNTunnel{Name: tunnel, Spec: &apiv1.VPNTunnelSpec{
				Connection: name, CloudAddress: owner.String(), CustomerAddress: addresses[i],
				Inside: &apiv1.Inside{Cloud: fmt.Sprintf("169.254.%d.%d/30", c, 4*i+1), Customer: fmt.Sprintf("169.254.%d.%d", c, 4*i+2)},
				Psk:    &apiv1.SecretSource{Sealed: sealed}}})
		}
		first.BorderGateways = append(first.BorderGateways, &apiv1.BorderGateway{Name: name, Spec: &apiv1.BorderGatewaySpec{Asn: 65000}})
		first.CustomerGateways = append(first.CustomerGateways, &apiv1.CustomerGateway{Name: name, Spec: &apiv1.CustomerGatewaySpec{Addresses: addresses}})
		first.Connections = append(first.Connections, &apiv1.VPNConnection{Name: name, Spec: &apiv1.VPNConnectionSpec{
			BorderGateway: name, CustomerGateway: name, Routing: apiv1.RoutingStatic, CloudAddresses: []string{owner.String()}}})
	}
	before := s.admit(first, nil)
	if len(before.findings) > 0 || len(before.set.Tunnels) != 1000 {
		b.Fatalf("%d tunnels, %v", len(before.set.Tunnels), before.findings)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			s.admit(first, nil)
		}
	})
	b.Run("next", func(b *testing.B) {
		for b.Loop() {
			s.admit(first, before)
		}
	})
}
