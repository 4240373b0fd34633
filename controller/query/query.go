// Package query holds what narrows lists down: filters on fields, and pages.
package query

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Filter is a list of conditions that must all hold.
type Filter []condition

type condition struct {
	path  []protoreflect.FieldDescriptor
	not   bool
	value string
}

// maxFilters bounds the conditions of one request.
const maxFilters = 32

// Parse reads conditions such as "spec.connection=shop-idc" or "spec.adminState!=UP" for messages of one type.
func Parse(m proto.Message, texts []string) (Filter, error) {
	if len(texts) > maxFilters {
		return nil, fmt.Errorf("are too many: at most %d, there are %d", maxFilters, len(texts))
	}
	var f Filter
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		c := condition{value: value}
		if !ok {
			return nil, fmt.Errorf("%q must be a field, = or !=, and a value", text)
		}
		name, c.not = strings.CutSuffix(name, "!")
		var err error
		if c.path, err = parsePath(m.ProtoReflect().Descriptor(), strings.TrimSpace(name)); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		c.value = strings.TrimSpace(c.value)
		f = append(f, c)
	}
	return f, nil
}

func parsePath(d protoreflect.MessageDescriptor, name string) ([]protoreflect.FieldDescriptor, error) {
	var path []protoreflect.FieldDescriptor
	for word := range strings.SplitSeq(name, ".") {
		if d == nil {
			return nil, fmt.Errorf("%s has no fields", path[len(path)-1].JSONName())
		}
		field := d.Fields().ByJSONName(word)
		switch {
		case field == nil:
			return nil, fmt.Errorf("there is no field %q", word)
		case field.IsMap(), isMessage(field, "bordergw.v1.SecretSource"):
			return nil, fmt.Errorf("lists cannot be filtered by %s", word)
		}
		path = append(path, field)
		d = field.Message()
		if isMessage(field, "google.protobuf.Duration") || isMessage(field, "google.protobuf.Timestamp") {
			d = nil
		}
	}
	if d != nil {
		return nil, fmt.Errorf("%s is an object: name one of its fields", name)
	}
	return path, nil
}

func isMessage(f protoreflect.FieldDescriptor, name protoreflect.FullName) bool {
	return f.Message() != nil && f.Message().FullName() == name
}

// Match says whether all conditions hold. A list matches = when one element has the value, and != when none has.
func (f Filter) Match(m proto.Message) bool {
	for _, c := range f {
		if has(m.ProtoReflect(), c.path, c.value) == c.not {
			return false
		}
	}
	return true
}

func has(m protoreflect.Message, path []protoreflect.FieldDescriptor, value string) bool {
	field, rest := path[0], path[1:]
	if field.IsList() {
		list := m.Get(field).List()
		for i := range list.Len() {
			if hasValue(field, list.Get(i), rest, value) {
				return true
			}
		}
		return false
	}
	return hasValue(field, m.Get(field), rest, value)
}

func hasValue(field protoreflect.FieldDescriptor, v protoreflect.Value, rest []protoreflect.FieldDescriptor, value string) bool {
	if len(rest) > 0 {
		return has(v.Message(), rest, value)
	}
	if field.Message() == nil {
		return v.String() == value
	}
	switch t := v.Message().Interface().(type) {
	case *durationpb.Duration:
		return t.IsValid() && t.AsDuration().String() == value || fmt.Sprintf("%gs", t.AsDuration().Seconds()) == value
	default:
		return false
	}
}

// Size of pages.
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
)

// PageSize returns how many a request wants.
func PageSize(asked uint32) (int, error) {
	switch {
	case asked == 0:
		return DefaultPageSize, nil
	case asked > MaxPageSize:
		return 0, fmt.Errorf("must be at most %d, not %d", MaxPageSize, asked)
	}
	return int(asked), nil
}

// Token makes an opaque token of a position; none of an empty one.
func Token(position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(position))
}

// Position reads a token back.
func Position(token string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) > 512 {
		return "", errors.New("is not one that was returned")
	}
	return string(raw), nil
}

// Revision reads a resource version.
func Revision(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, errors.New("is not one that was returned")
	}
	return n, nil
}

// Kinds checks a list of kinds; an empty one stands for all.
func Kinds(asked []string) (map[string]bool, error) {
	known := []string{apiv1.KindBorderGateway, apiv1.KindCustomerGateway, apiv1.KindVPNConnection, apiv1.KindVPNTunnel, apiv1.KindGatewayHost}
	out := map[string]bool{}
	for _, k := range known {
		out[k] = len(asked) == 0
	}
	for _, k := range asked {
		if _, ok := out[k]; !ok {
			return nil, fmt.Errorf("there is no kind %q: %s", k, strings.Join(known, ", "))
		}
		out[k] = true
	}
	return out, nil
}
