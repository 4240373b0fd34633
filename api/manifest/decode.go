package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// maxFileSize bounds one file, in bytes.
const maxFileSize = 16 << 20

// Object is one resource as a file has it, before defaults and admission; status is left out.
type Object struct {
	Kind, Name string
	At         Position
	// Message is a *apiv1.BorderGateway, *apiv1.CustomerGateway, *apiv1.VPNConnection or *apiv1.VPNTunnel, or for a controller a
	// *apiv1.GatewayHost.
	Message proto.Message
	// Broken: some of it could not be read.
	Broken bool
}

// Decode reads all documents of one file, YAML or JSON. It never returns early: the objects are what could be read, and complete
// is false when a part of the file could not be read at all, so that objects may be missing. Positions are added to positions.
func Decode(file string, content []byte, positions *Positions) (objects []Object, findings []*apiv1.Finding, complete bool) {
	d := &decoder{file: file, positions: positions}
	complete = d.documents(content, func(root *yaml.Node) bool {
		return d.document(root, &objects)
	})
	return objects, d.findings, complete
}

// DecodeMessage reads one message without kind and name, such as a configuration file, from YAML or JSON into msg. Field paths
// begin at the message. An empty file leaves msg as it was.
func DecodeMessage(file string, content []byte, msg proto.Message, positions *Positions) []*apiv1.Finding {
	d := &decoder{file: file, positions: positions}
	n := 0
	positions.set("", "", Position{file, 1})
	d.documents(content, func(root *yaml.Node) bool {
		if n++; n > 1 {
			d.fail(root, "", "only one document is expected")
			return false
		}
		if root.Kind != yaml.MappingNode {
			d.fail(root, "", "must be an object, not %s", describe(root))
			return false
		}
		d.message(root, "", msg.ProtoReflect())
		return true
	})
	return d.findings
}

type decoder struct {
	file      string
	positions *Positions
	// object under examination, for findings and positions.
	object   string
	findings []*apiv1.Finding
}

func (d *decoder) fail(n *yaml.Node, field, format string, args ...any) {
	d.failAt(n.Line, field, format, args...)
}

func (d *decoder) failAt(line int, field, format string, args ...any) {
	d.findings = append(d.findings, &apiv1.Finding{
		File: d.file, Line: uint32(max(line, 1)), Object: d.object, Field: field, Message: fmt.Sprintf(format, args...),
	})
}

// documents parses a file and hands each document's root on. False when the file does not parse or read said so.
func (d *decoder) documents(content []byte, read func(*yaml.Node) bool) bool {
	if len(content) > maxFileSize {
		d.failAt(1, "", "is larger than %d MiB", maxFileSize>>20)
		return false
	}
	complete := true
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return complete
		}
		if err != nil {
			line, message := syntaxError(err, content)
			d.object = ""
			d.failAt(line, "", "%s", message)
			return false
		}
		if len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue
		}
		complete = read(doc.Content[0]) && complete
	}
}

var (
	yamlLine   = regexp.MustCompile(`^line (\d+): `)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxError takes the parser's message apart. An alias' name is left out: what begins with * may have been meant as a secret.
func syntaxError(err error, content []byte) (int, string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		// The parser does not say where.
		before, _, _ := bytes.Cut(content, []byte("*"+m[1]))
		return 1 + bytes.Count(before, []byte("\n")), "anchors and aliases are not allowed; quote a text that begins with * or &"
	}
	return line, "cannot be parsed: " + text
}

// document reads one document: an object, or a list of them under items as `bordergwctl get` prints it.
func (d *decoder) document(root *yaml.Node, objects *[]Object) bool {
	d.object = ""
	if root.Kind != yaml.MappingNode {
		d.fail(root, "", "must be an object with kind, name and spec, not %s", describe(root))
		return false
	}
	if len(root.Content) == 2 && root.Content[0].Value == "items" && root.Content[1].Kind == yaml.SequenceNode {
		complete := true
		for _, item := range root.Content[1].Content {
			d.object = ""
			if item.Kind != yaml.MappingNode {
				d.fail(item, "", "must be an object with kind, name and spec, not %s", describe(item))
				complete = false
				continue
			}
			complete = d.resource(item, objects) && complete
		}
		return complete
	}
	return d.resource(root, objects)
}

func (d *decoder) resource(root *yaml.Node, objects *[]Object) bool {
	kindNode, nameNode := lookup(root, "kind"), lookup(root, "name")
	kind, name := text(kindNode), text(nameNode)
	if kind != "" || name != "" {
		d.object = apiv1.ObjectName(kind, name)
	}
	before := len(d.findings)
	msg := newResource(kind)
	switch {
	case kindNode == nil:
		d.fail(root, "kind", "is required: %s", strings.Join(kinds(), ", "))
		return false
	case msg == nil && kindNode.Kind == yaml.ScalarNode:
		d.fail(kindNode, "kind", "there is no kind %q%s", short(kindNode.Value), suggest(kindNode.Value, kinds()))
		return false
	case msg == nil:
		d.fail(kindNode, "kind", "must be a text, not %s", describe(kindNode))
		return false
	case nameNode == nil:
		d.object = apiv1.ObjectName(kind, "")
		d.fail(root, "name", "is required")
	}
	at := Position{d.file, root.Line}
	if name != "" {
		if first, known := d.positions.Find(d.object, ""); known {
			d.fail(root, "", "is already defined in %s:%d", first.File, first.Line)
			return true
		}
		d.positions.set(d.object, "", at)
	}
	d.message(root, "", msg.ProtoReflect())
	if lookup(root, "spec") == nil {
		d.fail(root, "spec", "is required")
	}
	if name == "" {
		return false
	}
	*objects = append(*objects, Object{Kind: kind, Name: name, At: at, Message: msg, Broken: len(d.findings) > before})
	return true
}

func kinds() []string {
	return []string{apiv1.KindBorderGateway, apiv1.KindCustomerGateway, apiv1.KindVPNConnection, apiv1.KindVPNTunnel}
}

func newResource(kind string) proto.Message {
	switch kind {
	case apiv1.KindBorderGateway:
		return &apiv1.BorderGateway{}
	case apiv1.KindCustomerGateway:
		return &apiv1.CustomerGateway{}
	case apiv1.KindVPNConnection:
		return &apiv1.VPNConnection{}
	case apiv1.KindVPNTunnel:
		return &apiv1.VPNTunnel{}
	case apiv1.KindGatewayHost:
		return &apiv1.GatewayHost{}
	}
	return nil
}
