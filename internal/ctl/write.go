package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// object is a JSON object whose members keep their order; values are nil, bool, string, numbers, object and []any.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	separator := byte('{')
	if len(o) == 0 {
		b.WriteByte(separator)
	}
	for _, m := range o {
		b.WriteByte(separator)
		separator = ','
		if err := appendJSON(&b, m.key); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := appendJSON(&b, m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func appendJSON(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - len("\n"))
	return nil
}

// writeJSON writes v indented by two spaces.
func writeJSON(w io.Writer, v object) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeYAML writes v indented by two spaces.
func writeYAML(w io.Writer, v object) error {
	node, err := yamlNode(v)
	if err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return err
	}
	return enc.Close()
}

func yamlNode(v any) (*yaml.Node, error) {
	n := &yaml.Node{}
	switch v := v.(type) {
	case object:
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, m := range v {
			value, err := yamlNode(m.value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.key, err)
			}
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: m.key}, value)
		}
	case []any:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if len(v) == 0 {
			n.Style = yaml.FlowStyle
		}
		for _, e := range v {
			value, err := yamlNode(e)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
	default:
		if err := n.Encode(v); err != nil {
			return nil, err
		}
	}
	return n, nil
}
