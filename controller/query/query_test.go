package query_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/query"
)

func TestFilter(t *testing.T) {
	conn := &apiv1.VPNConnection{Name: "a", Spec: &apiv1.VPNConnectionSpec{Routing: "BGP", CloudAddresses: []string{"192.0.2.1", "192.0.2.2"}}}
	tun := &apiv1.VPNTunnel{Name: "t", Spec: &apiv1.VPNTunnelSpec{Mtu: 1400, Dpd: &apiv1.DPD{Interval: durationpb.New(90 * time.Second)}}}
	gw := &apiv1.BorderGateway{Spec: &apiv1.BorderGatewaySpec{Attachments: []*apiv1.Attachment{{Interface: "vpc0"}, {Interface: "vpc1"}}}}
	match := func(name string, got bool, err error, want bool) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	for text, want := range map[string]bool{
		"spec.routing=BGP": true, "spec.routing = BGP": true, "spec.routing!=BGP": false, "name=a": true, "name=b": false,
		"spec.cloudAddresses=192.0.2.2": true, "spec.cloudAddresses!=192.0.2.2": false, "spec.cloudAddresses!=192.0.2.3": true,
		"spec.description=": true, "status.availability=": true,
	} {
		f, err := query.Parse(conn, []string{text})
		match(text, f.Match(conn), err, want)
	}
	for text, want := range map[string]bool{"spec.mtu=1400": true, "spec.dpd.interval=90s": true, "spec.dpd.interval=1m30s": true, "spec.dpd.interval=91s": false} {
		f, err := query.Parse(tun, []string{text})
		match(text, f.Match(tun), err, want)
	}
	f, err := query.Parse(gw, []string{"spec.attachments.interface=vpc1", "spec.attachments.interface!=vpc2"})
	match("elements of lists", f.Match(gw), err, true)
}

func TestFilterErrors(t *testing.T) {
	for text, want := range map[string]string{
		"spec.routing":       `"spec.routing" must be a field, = or !=, and a value`,
		"spec.colour=red":    `"spec.colour=red": there is no field "colour"`,
		"spec=x":             `"spec=x": spec is an object: name one of its fields`,
		"name.x=y":           `"name.x=y": name has no fields`,
		"spec.psk.value=abc": `"spec.psk.value=abc": lists cannot be filtered by psk`,
		"=":                  `"=": there is no field ""`,
	} {
		if _, err := query.Parse(&apiv1.VPNTunnel{}, []string{text}); err == nil || text != "spec.routing" && err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := query.Parse(&apiv1.VPNTunnel{}, make([]string, 33)); err == nil {
		t.Error("33 filters")
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("spec.cloudAddress=192.0.2.1")
	f.Add("spec.dpd.interval!=10s")
	f.Add("status.counters.failures=1")
	tun := &apiv1.VPNTunnel{Name: "t", Spec: &apiv1.VPNTunnelSpec{Dpd: &apiv1.DPD{Interval: durationpb.New(time.Second)}}}
	f.Fuzz(func(t *testing.T, text string) {
		if q, err := query.Parse(tun, []string{text}); err == nil {
			q.Match(tun)
			q.Match(&apiv1.VPNTunnel{})
		}
	})
}

func FuzzTokens(f *testing.F) {
	f.Add(query.Token("shop-idc-1"))
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := query.Position(token); err == nil && query.Token(p) != token {
			// Trailing bits of the last letter are the only other spelling.
			if again, err := query.Position(query.Token(p)); err != nil || again != p {
				t.Errorf("%q is %q, which is %q", token, p, query.Token(p))
			}
		}
		_, _ = query.Revision(token)
	})
}
