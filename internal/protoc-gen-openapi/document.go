package main

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// document grows method by method; schemas are those of the messages that methods need.
type document struct {
	paths   []*yaml.Node
	schemas map[string]*yaml.Node
}

// object builds a mapping in the order of its arguments: key, value, key, value.
func object(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range pairs {
		n.Content = append(n.Content, node(p))
	}
	return n
}

func node(v any) *yaml.Node {
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if strings.ContainsAny(v, ":#'\"") || v == "200" || v == "3.1.0" {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n
	}
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil {
		panic(err) // only constants come here
	}
	return n
}

func (d *document) root() *yaml.Node {
	schemas := object("Error", object(
		"type", "object",
		"description", "What went wrong. Details of type bordergw.v1.Refusal name the fields.",
		"properties", object(
			"code", object("type", "string", "description", "Such as invalid_argument, not_found, aborted, failed_precondition."),
			"message", object("type", "string"),
			"details", object("type", "array", "items", object("type", "object", "properties", object(
				"type", object("type", "string"),
				"value", object("type", "string", "contentEncoding", "base64"),
				"debug", object("description", "The detail as JSON."),
			))),
		)))
	for _, name := range slices.Sorted(maps.Keys(d.schemas)) {
		schemas.Content = append(schemas.Content, node(name), d.schemas[name])
	}
	paths := object()
	paths.Content = d.paths
	return object(
		"openapi", "3.1.0",
		"info", object("title", "bordergw controller", "version", "v1"),
		"security", node([]map[string][]string{{"certificate": {}}, {"token": {}}}),
		"paths", paths,
		"components", object(
			"securitySchemes", object("certificate", object("type", "mutualTLS"), "token", object("type", "http", "scheme", "bearer")),
			"schemas", schemas,
		),
	)
}

func (d *document) method(s *protogen.Service, m *protogen.Method) {
	text := comment(m.Comments.Leading)
	media := "application/json"
	if m.Desc.IsStreamingServer() || m.Desc.IsStreamingClient() {
		media = "application/connect+json"
		text = strings.TrimSpace(text + " A stream of the Connect protocol.")
	}
	op := object(
		"operationId", string(s.Desc.Name())+"_"+string(m.Desc.Name()),
		"tags", node([]string{string(s.Desc.FullName())}),
	)
	if text != "" {
		op.Content = append(op.Content, node("description"), node(text))
	}
	op.Content = append(op.Content,
		node("requestBody"), object("required", true, "content", object(media, object("schema", d.ref(m.Input)))),
		node("responses"), object(
			"200", object("description", "Success", "content", object(media, object("schema", d.ref(m.Output)))),
			"default", object("description", "Error", "content", object("application/json", object("schema", object("$ref", "#/components/schemas/Error")))),
		))
	d.paths = append(d.paths, node("/"+string(s.Desc.FullName())+"/"+string(m.Desc.Name())), object("post", op))
}

// ref refers to a message's schema and makes it if nobody did.
func (d *document) ref(m *protogen.Message) *yaml.Node {
	name := string(m.Desc.FullName())
	if _, done := d.schemas[name]; !done {
		schema := object("type", "object")
		d.schemas[name] = schema
		if text := comment(m.Comments.Leading); text != "" {
			schema.Content = append(schema.Content, node("description"), node(text))
		}
		properties := object()
		for _, f := range m.Fields {
			properties.Content = append(properties.Content, node(f.Desc.JSONName()), d.field(f))
		}
		schema.Content = append(schema.Content, node("properties"), properties, node("additionalProperties"), node(false))
	}
	return object("$ref", "#/components/schemas/"+name)
}

func (d *document) field(f *protogen.Field) *yaml.Node {
	var n *yaml.Node
	switch {
	case f.Desc.IsMap():
		n = object("type", "object", "additionalProperties", d.value(f.Message.Fields[1]))
	case f.Desc.IsList():
		n = object("type", "array", "items", d.value(f))
	default:
		n = d.value(f)
	}
	if text := comment(f.Comments.Leading); text != "" {
		n.Content = append(n.Content, node("description"), node(text))
	}
	return n
}

func (d *document) value(f *protogen.Field) *yaml.Node {
	switch f.Desc.Kind() {
	case protoreflect.BoolKind:
		return object("type", "boolean")
	case protoreflect.StringKind:
		return object("type", "string")
	case protoreflect.BytesKind:
		return object("type", "string", "contentEncoding", "base64")
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return object("type", "integer", "minimum", 0, "maximum", uint32(1<<32-1))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return object("type", "integer", "format", "int32")
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind, protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return object("type", node([]string{"string", "integer"}), "format", "int64")
	case protoreflect.MessageKind:
		switch f.Message.Desc.FullName() {
		case "google.protobuf.Timestamp":
			return object("type", "string", "format", "date-time")
		case "google.protobuf.Duration":
			return object("type", "string", "pattern", `^-?[0-9]+(\.[0-9]{1,9})?s$`)
		}
		return d.ref(f.Message)
	}
	return object("type", "number")
}

// comment joins a comment's lines.
func comment(c protogen.Comments) string { return strings.Join(strings.Fields(string(c)), " ") }
