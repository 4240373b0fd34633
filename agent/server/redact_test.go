package server

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// TestSecretsOfIsComplete fails when the schema gets a SecretSource that secretsOf does not list.
func TestSecretsOfIsComplete(t *testing.T) {
	for _, m := range []proto.Message{&apiv1.VPNTunnel{}, &apiv1.BorderGateway{}, &apiv1.ConnectionView{}} {
		want := fill(m.ProtoReflect())
		if got := len(secretsOf(m)); got != want || want == 0 {
			t.Errorf("%T: secretsOf lists %d secret sources, the schema has %d", m, got, want)
		}
	}
	for _, m := range []proto.Message{&apiv1.GetHostResponse{}, &apiv1.Route{}, &apiv1.LogEntry{}, &apiv1.VPNConnection{}, &apiv1.CustomerGateway{}} {
		if n := fill(m.ProtoReflect()); n != 0 {
			t.Errorf("%T has %d secret sources that nothing clears", m, n)
		}
	}
}

// fill creates one of every message below m and counts the secret sources.
func fill(m protoreflect.Message) int {
	if m.Descriptor().FullName() == "bordergw.v1.SecretSource" {
		return 1
	}
	n := 0
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Message() == nil || f.IsMap() {
			continue
		}
		if f.IsList() {
			n += fill(m.Mutable(f).List().AppendMutable().Message())
			continue
		}
		n += fill(m.Mutable(f).Message())
	}
	return n
}
