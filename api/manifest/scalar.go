package manifest

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// scalar reads one value of a field that is no message. False after a finding.
func (d *decoder) scalar(n *yaml.Node, path string, field protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	none := protoreflect.Value{}
	switch field.Kind() {
	case protoreflect.StringKind:
		if !isText(n) {
			hint := ""
			if n.Kind == yaml.ScalarNode {
				hint = ": put it in quotes"
			}
			d.fail(n, path, "must be a text, not %s%s", describe(n), hint)
			return none, false
		}
		if !utf8.ValidString(n.Value) {
			d.fail(n, path, "must be valid UTF-8")
			return none, false
		}
		return protoreflect.ValueOfString(n.Value), true
	case protoreflect.BoolKind:
		if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
			d.fail(n, path, "must be true or false, not %s", quote(n))
			return none, false
		}
		return protoreflect.ValueOfBool(n.Value == "true"), true
	case protoreflect.Uint32Kind:
		v, ok := d.unsigned(n, path, 32)
		return protoreflect.ValueOfUint32(uint32(v)), ok
	case protoreflect.Uint64Kind:
		v, ok := d.unsigned(n, path, 64)
		return protoreflect.ValueOfUint64(v), ok
	case protoreflect.BytesKind:
		raw, err := base64.StdEncoding.DecodeString(n.Value)
		if !isText(n) || err != nil {
			d.fail(n, path, "must be base64")
			return none, false
		}
		return protoreflect.ValueOfBytes(raw), true
	}
	d.fail(n, path, "cannot be given in a file")
	return none, false
}

// unsigned reads a decimal number. Quotes are allowed around 64-bit ones, as in protobuf's JSON form.
func (d *decoder) unsigned(n *yaml.Node, path string, bits int) (uint64, bool) {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if n.Kind == yaml.ScalarNode && n.Value != "" && strings.Trim(n.Value, "0123456789") == "" &&
		(n.Value == "0" || n.Value[0] != '0') && (!quoted || bits == 64) {
		v, err := strconv.ParseUint(n.Value, 10, bits)
		if err != nil {
			d.fail(n, path, "must be at most %d, not %s", uint64(1)<<(bits-1)-1+uint64(1)<<(bits-1), short(n.Value))
		}
		return v, err == nil
	}
	d.fail(n, path, "must be a whole number, not %s", quote(n))
	return 0, false
}

// duration reads Go's notation: 300ms, 10s, 8h, 1h30m.
func (d *decoder) duration(n *yaml.Node, path string, msg protoreflect.Message) {
	v, err := time.ParseDuration(n.Value)
	if !isText(n) || err != nil {
		d.fail(n, path, "must be a duration such as 10s, 300ms or 8h, not %s", quote(n))
		return
	}
	fields := msg.Descriptor().Fields()
	msg.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(int64(v/time.Second)))
	msg.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(int32(v%time.Second)))
}

// isText: a date that nobody quoted is a text, too.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!timestamp")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe says what sort of value stands where another was expected. Its content is left out: it may be a secret gone astray.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a truth value"
	}
	return "a text"
}

// quote repeats a scalar where a number, a truth value or a duration was expected: no secret has such a neighbour.
func quote(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return describe(n)
	}
	return fmt.Sprintf("%q", short(n.Value))
}

// lookup returns the value of a key of a mapping.
func lookup(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// text returns a text's content, or nothing for other values.
func text(n *yaml.Node) string {
	if n == nil || !isText(n) || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || !utf8.ValidString(n.Value) {
		return ""
	}
	return n.Value
}

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// suggest proposes the known word nearest to a mistaken one.
func suggest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if n := distance(strings.ToLower(word), strings.ToLower(k)); n < least && n < len(k) {
			best, least = k, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance counts the letters to insert, delete or replace between two words (Levenshtein). Long words are not worth comparing.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
