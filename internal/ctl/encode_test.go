package ctl

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// TestEncodeAgreesWithProtojson compares every field of every message with the library's encoder, where the two must agree: after
// reading protojson's 64-bit strings as numbers.
func TestEncodeAgreesWithProtojson(t *testing.T) {
	compare := func(m proto.Message, z zeros) {
		t.Helper()
		ours, err := json.Marshal(encode(m, z))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := protojson.MarshalOptions{EmitUnpopulated: bool(z)}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(normal(t, theirs), normal(t, ours)); diff != "" {
			t.Errorf("%T (-protojson +ours):\n%s", m, diff)
		}
	}
	for _, m := range []proto.Message{&apiv1.BorderGatewaySpec{}, &apiv1.CustomerGatewaySpec{}, &apiv1.VPNConnectionSpec{}, &apiv1.VPNTunnelSpec{}} {
		compare(m, omitZeros)
		fill(m.ProtoReflect())
		compare(m, omitZeros)
	}
	for _, m := range []proto.Message{
		&apiv1.BorderGatewayStatus{}, &apiv1.VPNConnectionStatus{}, &apiv1.VPNTunnelStatus{}, &apiv1.Route{}, &apiv1.GetHostResponse{}, &apiv1.LogEntry{},
	} {
		compare(m, keepZeros)
		fill(m.ProtoReflect())
		compare(m, keepZeros)
	}
}

// fill gives every field a value, and secrets a file.
func fill(m protoreflect.Message) {
	switch x := m.Interface().(type) {
	case *apiv1.SecretSource:
		x.File = "/etc/secret"
		return
	case *timestamppb.Timestamp:
		x.Seconds = 1_795_370_400
		return
	case *durationpb.Duration:
		x.Seconds, x.Nanos = 3, 250_000_000
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("REASON").MapKey(), protoreflect.ValueOfUint64(1<<60+1))
		case f.IsList() && f.Message() != nil:
			fill(m.Mutable(f).List().AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, scalar(f))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(4_294_967_295)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1<<63 + 1)
	default:
		return protoreflect.ValueOfString("<a & \"b\">")
	}
}

// normal decodes JSON and turns numbers into strings, as protojson does with some.
func normal(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return stringNumbers(v)
}

func stringNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = stringNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = stringNumbers(e)
		}
	case json.Number:
		return v.String()
	}
	return v
}

func TestEncodeSecret(t *testing.T) {
	tests := map[string]struct {
		source *apiv1.SecretSource
		want   string
	}{
		"file":                {&apiv1.SecretSource{File: "/etc/key"}, `{"file":"/etc/key"}`},
		"environment":         {&apiv1.SecretSource{Env: "KEY"}, `{"env":"KEY"}`},
		"value":               {&apiv1.SecretSource{Value: "correct-horse"}, `{"value":"[redacted]","redacted":true}`},
		"value taken out":     {&apiv1.SecretSource{}, `{"value":"[redacted]","redacted":true}`},
		"sealed":              {&apiv1.SecretSource{Sealed: []byte("box")}, `{"sealed":"[redacted]","redacted":true}`},
		"value beside a file": {&apiv1.SecretSource{Value: "correct-horse", File: "/etc/key"}, `{"file":"/etc/key"}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(encodeSecret(tc.source))
			if err != nil || string(got) != tc.want {
				t.Errorf("encodeSecret = %s, %v, want %s", got, err, tc.want)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59*time.Second + 999*time.Millisecond: "59s", 192 * time.Second: "3m12s", time.Hour: "1h0m",
		26*time.Hour + 5*time.Minute: "1d2h", 1000 * time.Hour: "41d16h",
	} {
		if got := formatAge(d); got != want {
			t.Errorf("formatAge(%s) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<64 - 1: "16.0 EiB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("formatBytes(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		8 * time.Hour: "28800s", 0: "0s", 10 * time.Second: "10s", 1000 * time.Second: "1000s", 1500 * time.Millisecond: "1.500s", time.Nanosecond: "0.000000001s", -1500 * time.Millisecond: "-1.500s",
	} {
		if got := formatDuration(durationpb.New(d)); got != want {
			t.Errorf("formatDuration(%s) = %s, want %s", d, got, want)
		}
	}
	if got := formatTime(timestamppb.New(time.Date(2026, 11, 22, 19, 0, 0, 999_999_999, time.FixedZone("", 3600)))); got != "2026-11-22T18:00:00Z" {
		t.Errorf("formatTime = %s", got)
	}
	if got := printable("a\x1b[2J\n\u202eb ü"); got != `a\u001b[2J\u000a\u202eb ü` {
		t.Errorf("printable = %s", got)
	}
}

// TestTheFailingLayerIsNamed walks down the layers; BGP is never the reason.
func TestTheFailingLayerIsNamed(t *testing.T) {
	tests := map[string]struct {
		status *apiv1.VPNTunnelStatus
		want   string
	}{
		"up":              {&apiv1.VPNTunnelStatus{Admin: "UP", Running: "UP", Ike: "DOWN", Child: "INSTALLED", Interface: "UP", Bgp: "IDLE", Probe: "PASSING"}, ""},
		"admin":           {&apiv1.VPNTunnelStatus{Admin: "DOWN", Running: "DOWN", Reason: "ADMIN_DOWN", Ike: "DOWN", Child: "DOWN"}, "admin"},
		"ike":             {&apiv1.VPNTunnelStatus{Admin: "UP", Running: "DOWN", Reason: "PEER_UNREACHABLE", Ike: "CONNECTING", Child: "DOWN"}, "ike"},
		"child":           {&apiv1.VPNTunnelStatus{Admin: "UP", Running: "DOWN", Reason: "CHILD_SA_FAILED", Ike: "ESTABLISHED", Child: "DOWN"}, "child"},
		"interface":       {&apiv1.VPNTunnelStatus{Admin: "UP", Running: "DOWN", Reason: "INTERFACE_DOWN", Ike: "ESTABLISHED", Child: "REKEYING", Interface: "DOWN"}, "interface"},
		"probe":           {&apiv1.VPNTunnelStatus{Admin: "UP", Running: "DOWN", Reason: "PROBE_FAILED", Ike: "ESTABLISHED", Child: "INSTALLED", Interface: "UP", Bgp: "IDLE", Probe: "FAILING"}, "probe"},
		"ike anew, probe": {&apiv1.VPNTunnelStatus{Admin: "UP", Running: "DOWN", Reason: "PROBE_FAILED", Ike: "CONNECTING", Child: "INSTALLED", Interface: "UP", Probe: "FAILING"}, "probe"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, l := range layersOf(&apiv1.VPNTunnel{Status: tc.status}) {
				if l.failing {
					got += l.name
				}
			}
			if got != tc.want {
				t.Errorf("failing layer %q, want %q", got, tc.want)
			}
		})
	}
}
