package impact

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// field is one value of a spec as people write it. An element of a list is a field too, whose text says only that it is there; shown is
// all of it.
type field struct{ path, text, shown string }

// fields are the values of a spec that are set, in the order of the schema, by path. Lists of messages are told apart by the name or the
// prefix of their elements, which is also a field; other lists are one value. Secrets show only where they come from.
func fields(spec proto.Message) []field {
	var out []field
	walk(spec.ProtoReflect(), "spec", &out)
	return out
}

func walk(m protoreflect.Message, path string, out *[]field) {
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		f := all.Get(i)
		if !m.Has(f) {
			continue
		}
		at, v := path+"."+f.JSONName(), m.Get(f)
		switch {
		case f.IsList() && f.Message() != nil:
			for j := range v.List().Len() {
				element := v.List().Get(j).Message()
				key, name := elementKey(element, j)
				inside := fmt.Sprintf("%s[%s]", at, key)
				var within []field
				walk(element, inside, &within)
				within = slices.DeleteFunc(within, func(w field) bool { return w.path == inside+"."+name })
				var words []string
				for _, w := range within {
					words = append(words, strings.TrimPrefix(w.path, inside+".")+" "+w.text)
				}
				*out = append(*out, field{path: inside, text: "there", shown: strings.Join(words, ", ")})
				*out = append(*out, within...)
			}
		case f.IsList():
			var words []string
			for j := range v.List().Len() {
				words = append(words, v.List().Get(j).String())
			}
			*out = append(*out, field{path: at, text: strings.Join(words, ", ")})
		case f.Message() != nil:
			switch sub := v.Message().Interface().(type) {
			case *durationpb.Duration:
				*out = append(*out, field{path: at, text: sub.AsDuration().String()})
			case *apiv1.SecretSource:
				*out = append(*out, field{path: at, text: sourceText(sub)})
			default:
				walk(v.Message(), at, out)
			}
		case f.Kind() == protoreflect.BoolKind:
			*out = append(*out, field{path: at, text: strconv.FormatBool(v.Bool())})
		default:
			*out = append(*out, field{path: at, text: v.String()})
		}
	}
}

// elementKey is what tells an element of a list from others, and the field that it is.
func elementKey(m protoreflect.Message, index int) (key, name string) {
	for _, name := range []protoreflect.Name{"name", "prefix"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			return m.Get(f).String(), f.JSONName()
		}
	}
	return strconv.Itoa(index), ""
}

// human is how a field shows.
func (f field) human() string { return cmp.Or(f.shown, f.text) }

// sourceText says where a secret comes from.
func sourceText(s *apiv1.SecretSource) string {
	switch {
	case s.GetFile() != "":
		return "file " + s.GetFile()
	case s.GetEnv() != "":
		return "env " + s.GetEnv()
	case len(s.GetSealed()) > 0:
		return "sealed"
	}
	return "value"
}
