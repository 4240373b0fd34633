package plan

import (
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// change gives one field of a tunnel another value than it has; before, if set, comes first on both sides.
type change struct {
	before, edit func(*apiv1.VPNTunnelSpec)
}

func set(edit func(*apiv1.VPNTunnelSpec)) change { return change{edit: edit} }

func changes() map[string]change {
	second := func(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }
	v1 := func(s *apiv1.VPNTunnelSpec) { s.Ike.Version, s.Ike.Mode = 1, apiv1.IKEModeMain }
	bfd := func(s *apiv1.VPNTunnelSpec) { s.Bgp.Bfd.Enabled = true }
	return map[string]change{
		"localId":             set(func(s *apiv1.VPNTunnelSpec) { s.LocalId = "cloud.example" }),
		"remoteId":            set(func(s *apiv1.VPNTunnelSpec) { s.RemoteId = "branch.example" }),
		"cloudAddress":        set(func(s *apiv1.VPNTunnelSpec) { s.CloudAddress = "198.51.100.2" }),
		"customerAddress":     set(func(s *apiv1.VPNTunnelSpec) { s.CustomerAddress = "203.0.113.2" }),
		"inside.cloud":        set(func(s *apiv1.VPNTunnelSpec) { s.Inside.Cloud = "169.254.10.2/30" }),
		"inside.customer":     set(func(s *apiv1.VPNTunnelSpec) { s.Inside.Customer = "169.254.10.3" }),
		"adminState":          set(func(s *apiv1.VPNTunnelSpec) { s.AdminState = apiv1.AdminStateDown }),
		"initiation":          set(func(s *apiv1.VPNTunnelSpec) { s.Initiation = apiv1.InitiationRespond }),
		"ike.version":         set(v1),
		"ike.mode":            {before: v1, edit: func(s *apiv1.VPNTunnelSpec) { s.Ike.Mode = apiv1.IKEModeAggressive }},
		"ike.proposals":       set(func(s *apiv1.VPNTunnelSpec) { s.Ike.Proposals = s.Ike.Proposals[1:] }),
		"ike.postQuantum":     set(func(s *apiv1.VPNTunnelSpec) { s.Ike.PostQuantum = apiv1.PostQuantumOff }),
		"ike.lifetime":        set(func(s *apiv1.VPNTunnelSpec) { s.Ike.Lifetime = second(3600) }),
		"esp.proposals":       set(func(s *apiv1.VPNTunnelSpec) { s.Esp.Proposals = s.Esp.Proposals[1:] }),
		"esp.pfs":             set(func(s *apiv1.VPNTunnelSpec) { s.Esp.Pfs = apiv1.PFSOptional }),
		"esp.lifetime":        set(func(s *apiv1.VPNTunnelSpec) { s.Esp.Lifetime = second(600) }),
		"dpd.enabled":         set(func(s *apiv1.VPNTunnelSpec) { s.Dpd.Enabled = proto.Bool(false) }),
		"dpd.interval":        set(func(s *apiv1.VPNTunnelSpec) { s.Dpd.Interval = second(5) }),
		"dpd.timeout":         set(func(s *apiv1.VPNTunnelSpec) { s.Dpd.Timeout = second(60) }),
		"probe.mode":          set(func(s *apiv1.VPNTunnelSpec) { s.Probe.Mode = apiv1.ProbeModeOn }),
		"probe.interval":      set(func(s *apiv1.VPNTunnelSpec) { s.Probe.Interval = second(2) }),
		"probe.failures":      set(func(s *apiv1.VPNTunnelSpec) { s.Probe.Failures = 5 }),
		"bgp.keepalive":       set(func(s *apiv1.VPNTunnelSpec) { s.Bgp.Keepalive = second(3) }),
		"bgp.hold":            set(func(s *apiv1.VPNTunnelSpec) { s.Bgp.Hold = second(90) }),
		"bgp.maxPrefixes":     set(func(s *apiv1.VPNTunnelSpec) { s.Bgp.MaxPrefixes = 7 }),
		"bgp.med":             set(func(s *apiv1.VPNTunnelSpec) { s.Bgp.Med = proto.Uint32(7) }),
		"bgp.prepend":         set(func(s *apiv1.VPNTunnelSpec) { s.Bgp.Prepend = 7 }),
		"bgp.bfd.enabled":     set(bfd),
		"bgp.bfd.interval":    {before: bfd, edit: func(s *apiv1.VPNTunnelSpec) { s.Bgp.Bfd.Interval = second(1) }},
		"bgp.bfd.multiplier":  {before: bfd, edit: func(s *apiv1.VPNTunnelSpec) { s.Bgp.Bfd.Multiplier = 5 }},
		"mtu":                 set(func(s *apiv1.VPNTunnelSpec) { s.Mtu = 1300 }),
		"mss":                 set(func(s *apiv1.VPNTunnelSpec) { s.Mss = 1200 }),
		"replayWindow":        set(func(s *apiv1.VPNTunnelSpec) { s.ReplayWindow = proto.Uint32(64) }),
		"esp.lifetimeBytes":   set(func(s *apiv1.VPNTunnelSpec) { s.Esp.LifetimeBytes = 1 << 30 }),
		"esp.lifetimePackets": set(func(s *apiv1.VPNTunnelSpec) { s.Esp.LifetimePackets = 1 << 20 }),
	}
}

// fieldPaths are those of a message's fields down to scalars, lists, durations and sources of secrets.
func fieldPaths(m protoreflect.MessageDescriptor, prefix string) (paths []string) {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		path := prefix + f.JSONName()
		if sub := f.Message(); sub != nil && !f.IsList() && sub.ParentFile().Package() == m.ParentFile().Package() && sub.Name() != "SecretSource" {
			paths = append(paths, fieldPaths(sub, path+".")...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestEveryFieldHasAnEffect: no field of a tunnel is accepted and forgotten. Each one changes what some driver is told.
func TestEveryFieldHasAnEffect(t *testing.T) {
	const name = "shop-idc-1"
	elsewhere := map[string]string{
		"connection":   "tells which gateway's plan the tunnel is in",
		"description":  "for people",
		"psk":          "secrets are beside the message: see below",
		"bgp.password": "secrets are beside the message: see below",
	}
	plan := func(edits ...func(*apiv1.Set)) Plan {
		t.Helper()
		s := load(t, shop)
		for _, edit := range edits {
			edit(s)
		}
		p, err := build(t, s, host("198.51.100.1"), "shop-prod").For(up(name))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	spec := func(edit func(*apiv1.VPNTunnelSpec)) func(*apiv1.Set) {
		return func(s *apiv1.Set) {
			if edit != nil {
				edit(s.Tunnels[name].Spec)
			}
		}
	}
	all := changes()
	for _, path := range fieldPaths((&apiv1.VPNTunnelSpec{}).ProtoReflect().Descriptor(), "") {
		c, ok := all[path]
		if elsewhere[path] != "" {
			continue
		}
		if !ok {
			t.Errorf("%s: no change to test with", path)
			continue
		}
		if reflect.DeepEqual(plan(spec(c.before)), plan(spec(c.before), spec(c.edit))) {
			t.Errorf("%s: another value changes nothing", path)
		}
	}
	key := secret.New("another-key-nobody-may-see")
	for path, edit := range map[string]func(*apiv1.Set){
		"psk":          func(s *apiv1.Set) { s.SetPSK(name, key) },
		"bgp.password": func(s *apiv1.Set) { s.SetBGPPassword(name, key) },
	} {
		if reflect.DeepEqual(plan(), plan(edit)) {
			t.Errorf("%s: another value changes nothing", path)
		}
	}
}
