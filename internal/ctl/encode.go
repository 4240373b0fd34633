package ctl

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// redacted stands for a secret that was given by value or sealed. The member beside it is not a field of a SecretSource: who feeds the
// output back as a manifest is refused instead of getting a tunnel whose key is the word.
const (
	redacted       = "[redacted]"
	redactedMarker = "redacted"
)

// zeros says whether fields that hold their zero value are printed.
type zeros bool

const (
	// omitZeros is for specs: what is not there was not said.
	omitZeros zeros = false
	// keepZeros is for statuses: a program that reads them always finds every field.
	keepZeros zeros = true
)

// encode turns a message into an object with the lowerCamelCase names of proto3 JSON in the order of the field numbers. It differs
// from protojson where the documented format does: 64-bit integers are numbers, times are whole seconds in UTC, and secrets are
// redacted. A message field that is not set is null when zeros are kept.
func encode(m proto.Message, z zeros) object { return encodeMessage(m.ProtoReflect(), z) }

func encodeMessage(m protoreflect.Message, z zeros) object {
	descriptors := m.Descriptor().Fields()
	fields := make([]protoreflect.FieldDescriptor, descriptors.Len())
	for i := range fields {
		fields[i] = descriptors.Get(i)
	}
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	o := make(object, 0, len(fields))
	for _, f := range fields {
		if z == keepZeros || m.Has(f) {
			o = append(o, member{f.JSONName(), encodeField(m, f, z)})
		}
	}
	return o
}

func encodeField(m protoreflect.Message, f protoreflect.FieldDescriptor, z zeros) any {
	v := m.Get(f)
	switch {
	case f.IsMap():
		return encodeMap(f, v.Map(), z)
	case f.IsList():
		list := make([]any, v.List().Len())
		for i := range list {
			list[i] = encodeValue(f, v.List().Get(i), z)
		}
		return list
	case f.HasPresence() && !m.Has(f):
		return nil
	}
	return encodeValue(f, v, z)
}

func encodeMap(f protoreflect.FieldDescriptor, m protoreflect.Map, z zeros) object {
	o := make(object, 0, m.Len())
	for k, v := range m.Range {
		o = append(o, member{k.String(), encodeValue(f.MapValue(), v, z)})
	}
	slices.SortFunc(o, func(a, b member) int { return strings.Compare(a.key, b.key) })
	return o
}

func encodeValue(f protoreflect.FieldDescriptor, v protoreflect.Value, z zeros) any {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch m := v.Message().Interface().(type) {
		case *timestamppb.Timestamp:
			return formatTime(m)
		case *durationpb.Duration:
			return formatDuration(m)
		case *apiv1.SecretSource:
			return encodeSecret(m)
		}
		return encodeMessage(v.Message(), z)
	case protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	case protoreflect.EnumKind:
		if name := f.Enum().Values().ByNumber(v.Enum()); name != nil {
			return string(name.Name())
		}
		return int32(v.Enum())
	default:
		return v.Interface()
	}
}

// encodeSecret tells where a secret comes from, never what it is. An agent takes a value out of the message once it has read it, so a
// source that says nothing had one.
func encodeSecret(s *apiv1.SecretSource) object {
	switch {
	case s.GetFile() != "":
		return object{{"file", s.GetFile()}}
	case s.GetEnv() != "":
		return object{{"env", s.GetEnv()}}
	case len(s.GetSealed()) > 0:
		return object{{"sealed", redacted}, {redactedMarker, true}}
	default:
		return object{{"value", redacted}, {redactedMarker, true}}
	}
}

// formatTime is RFC 3339 in UTC, in whole seconds.
func formatTime(t *timestamppb.Timestamp) string { return t.AsTime().UTC().Format(time.RFC3339) }

// formatDuration is the proto3 JSON form: seconds with none, three, six or nine decimals, as many as are needed.
func formatDuration(d *durationpb.Duration) string {
	sign := ""
	sec, nano := d.GetSeconds(), d.GetNanos()
	if sec < 0 || nano < 0 {
		sign, sec, nano = "-", -sec, -nano
	}
	text := fmt.Sprintf("%s%d.%09d", sign, sec, nano)
	for range 3 {
		text = strings.TrimSuffix(text, "000")
	}
	return strings.TrimSuffix(text, ".") + "s"
}

// encodeResource is the documented form of a resource: kind, name, spec without secrets, status with all its fields. A nil status
// message gives a status of zeros.
func encodeResource(kind, name string, spec, status proto.Message) object {
	return object{{"kind", kind}, {"name", name}, {"spec", encode(spec, omitZeros)}, {"status", encode(status, keepZeros)}}
}
