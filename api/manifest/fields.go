package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	secretMessage   protoreflect.FullName = "bordergw.v1.SecretSource"
	bfdMessage      protoreflect.FullName = "bordergw.v1.BFD"
	durationMessage protoreflect.FullName = "google.protobuf.Duration"
	timeMessage     protoreflect.FullName = "google.protobuf.Timestamp"
)

// message reads a mapping into a message, field by field.
func (d *decoder) message(n *yaml.Node, path string, msg protoreflect.Message) {
	fields := msg.Descriptor().Fields()
	secret := msg.Descriptor().FullName() == secretMessage
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.fail(key, path, "a field's name must be a text, not %s", describe(key))
			continue
		}
		if first, ok := seen[key.Value]; ok {
			if secret && fields.ByJSONName(key.Value) == nil {
				continue
			}
			d.fail(key, join(path, short(key.Value)), "is there twice, first in line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		field := fields.ByJSONName(key.Value)
		switch {
		case field == nil && secret:
			// What stands here may be the secret itself.
			d.fail(key, path, "has an unknown field: value, file, env and sealed are known")
		case field == nil:
			d.fail(key, join(path, short(key.Value)), "there is no such field%s", suggest(key.Value, names(fields)))
		case path == "" && key.Value == "status" && field.Kind() == protoreflect.MessageKind:
			// What `bordergwctl get` printed may be given back; what is true is not the manifest's to say.
		default:
			at := join(path, key.Value)
			d.positions.set(d.object, at, Position{d.file, key.Line})
			d.field(value, at, msg, field)
		}
	}
}

// field reads one value into a field of msg.
func (d *decoder) field(n *yaml.Node, path string, msg protoreflect.Message, field protoreflect.FieldDescriptor) {
	if !d.plain(n, path) {
		return
	}
	if field.IsList() {
		if n.Kind != yaml.SequenceNode {
			d.fail(n, path, "must be a list, not %s", describe(n))
			return
		}
		list := msg.Mutable(field).List()
		for i, item := range n.Content {
			at := element(path, i)
			d.positions.set(d.object, at, Position{d.file, item.Line})
			if !d.plain(item, at) {
				continue
			}
			if field.Kind() == protoreflect.MessageKind {
				d.messageValue(item, at, list.AppendMutable().Message())
			} else if v, ok := d.scalar(item, at, field); ok {
				list.Append(v)
			}
		}
		return
	}
	if field.Kind() == protoreflect.MessageKind {
		d.messageValue(n, path, msg.Mutable(field).Message())
		return
	}
	if v, ok := d.scalar(n, path, field); ok {
		msg.Set(field, v)
	}
}

// plain refuses what the manifest language does not have: anchors, aliases, explicit tags, and keys without a value.
func (d *decoder) plain(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fail(n, path, "anchors and aliases are not allowed; quote a text that begins with * or &")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, path, "tags are not allowed; quote a text that begins with !")
	case isNull(n):
		d.fail(n, path, "has no value")
	default:
		return true
	}
	return false
}

// messageValue reads a message, or the scalar that may stand for it: a duration, the value of a SecretSource, BFD on or off.
func (d *decoder) messageValue(n *yaml.Node, path string, msg protoreflect.Message) {
	switch name := msg.Descriptor().FullName(); {
	case name == durationMessage:
		d.duration(n, path, msg)
	case name == timeMessage:
		// When a controller created or changed a resource: `bordergwctl get` prints it, and nobody else can say it.
	case name == secretMessage && n.Kind == yaml.ScalarNode:
		if v, ok := d.scalar(n, path, msg.Descriptor().Fields().ByName("value")); ok {
			msg.Set(msg.Descriptor().Fields().ByName("value"), v)
		}
	case name == bfdMessage && n.Kind == yaml.ScalarNode:
		switch n.Value {
		case "on", "true", "off", "false":
			msg.Set(msg.Descriptor().Fields().ByName("enabled"), protoreflect.ValueOfBool(n.Value == "on" || n.Value == "true"))
		default:
			d.fail(n, path, "must be on, off or an object, not %q", short(n.Value))
		}
	case n.Kind != yaml.MappingNode:
		d.fail(n, path, "must be an object, not %s", describe(n))
	default:
		d.message(n, path, msg)
	}
}

func names(fields protoreflect.FieldDescriptors) []string {
	var out []string
	for i := range fields.Len() {
		out = append(out, fields.Get(i).JSONName())
	}
	return out
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// short keeps what a finding repeats from a file within one line of reasonable length.
func short(text string) string {
	const most = 64
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
