package vici

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// PacketType is the first byte of every packet.
type PacketType uint8

// Packet types of the protocol (strongSwan, src/libcharon/plugins/vici/README.md).
const (
	CmdRequest PacketType = iota
	CmdResponse
	CmdUnknown
	EventRegister
	EventUnregister
	EventConfirm
	EventUnknown
	EventPacket
)

// Element types of a message.
const (
	sectionStart = iota + 1
	sectionEnd
	keyValue
	listStart
	listItem
	listEnd
)

const (
	// MaxPacket is the largest packet charon takes or sends (VICI_MESSAGE_SIZE_MAX); it discards larger ones without a word.
	MaxPacket = 512 * 1024
	maxName   = 255
	maxValue  = 65535
	// charon nests four levels deep; the limit keeps hostile bytes from growing the stack.
	maxDepth = 32
)

// ErrProtocol is wrapped by every error about bytes that are not a VICI packet.
var ErrProtocol = errors.New("vici protocol violation")

// Packet is one packet in either direction. Name is the command or event and empty for the other types; Message may be nil.
type Packet struct {
	Type    PacketType
	Name    string
	Message *Message
}

func named(t PacketType) bool {
	return t == CmdRequest || t == EventRegister || t == EventUnregister || t == EventPacket
}

// Encode returns the packet with its length in front. An error names the element that does not fit the protocol; the value of
// an element is never part of it.
func Encode(p Packet) ([]byte, error) {
	b := make([]byte, 4, 256)
	b = append(b, byte(p.Type))
	var err error
	if named(p.Type) {
		if b, err = appendName(b, p.Name); err != nil {
			return nil, err
		}
	}
	if b, err = appendMessage(b, p.Message, 0); err != nil {
		return nil, err
	}
	if len(b)-4 > MaxPacket {
		return nil, fmt.Errorf("packet %q: %d bytes, charon takes %d", p.Name, len(b)-4, MaxPacket)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b, nil
}

func appendMessage(b []byte, m *Message, depth int) ([]byte, error) {
	if m == nil {
		return b, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("sections nested deeper than %d", maxDepth)
	}
	var err error
	for i := range m.elems {
		e := &m.elems[i]
		switch e.kind {
		case kindValue:
			if b, err = appendName(append(b, keyValue), e.name); err != nil {
				return nil, err
			}
			if b, err = appendValue(b, e.name, e.value); err != nil {
				return nil, err
			}
		case kindList:
			if b, err = appendName(append(b, listStart), e.name); err != nil {
				return nil, err
			}
			for _, item := range e.list {
				if b, err = appendValue(append(b, listItem), e.name, item); err != nil {
					return nil, err
				}
			}
			b = append(b, listEnd)
		case kindSection:
			if b, err = appendName(append(b, sectionStart), e.name); err != nil {
				return nil, err
			}
			if b, err = appendMessage(b, e.section, depth+1); err != nil {
				return nil, err
			}
			b = append(b, sectionEnd)
		}
	}
	return b, nil
}

func appendName(b []byte, name string) ([]byte, error) {
	if name == "" || len(name) > maxName {
		return nil, fmt.Errorf("name of %d bytes, must have 1 to %d", len(name), maxName)
	}
	return append(append(b, byte(len(name))), name...), nil
}

func appendValue(b []byte, name, value string) ([]byte, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("value of %q has %d bytes, at most %d fit", name, len(value), maxValue)
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...), nil
}

// ReadPacket reads one packet. Errors are those of r, io.ErrUnexpectedEOF, or wrap ErrProtocol.
func ReadPacket(r io.Reader) (Packet, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Packet{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > MaxPacket {
		return Packet{}, fmt.Errorf("%w: packet of %d bytes", ErrProtocol, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Packet{}, err
	}
	return Decode(body)
}

// Decode parses a packet without its length.
func Decode(body []byte) (Packet, error) {
	d := decoder{b: body}
	p := Packet{Type: PacketType(d.byte())}
	if p.Type > EventPacket {
		return Packet{}, fmt.Errorf("%w: packet type %d", ErrProtocol, p.Type)
	}
	if named(p.Type) {
		p.Name = d.name()
	}
	p.Message = d.message(0)
	if d.err != nil {
		return Packet{}, d.err
	}
	return p, nil
}

// decoder keeps its first error; after it every read returns zero values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrProtocol, what)
		d.b = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("packet ends early")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) take(n int) string {
	if len(d.b) < n {
		d.fail("packet ends early")
		return ""
	}
	v := string(d.b[:n])
	d.b = d.b[n:]
	return v
}

func (d *decoder) name() string {
	n := int(d.byte())
	if n == 0 {
		d.fail("empty name")
	}
	return d.take(n)
}

func (d *decoder) value() string {
	high, low := d.byte(), d.byte()
	return d.take(int(high)<<8 | int(low))
}

// message reads elements up to the end of the section, or of the packet at depth 0.
func (d *decoder) message(depth int) *Message {
	m := &Message{}
	if depth > maxDepth {
		d.fail("sections nested too deep")
	}
	for d.err == nil {
		if len(d.b) == 0 && depth == 0 {
			return m
		}
		switch t := d.byte(); t {
		case keyValue:
			name := d.name()
			m.Set(name, d.value())
		case listStart:
			name := d.name()
			m.SetList(name, d.list()...)
		case sectionStart:
			name := d.name()
			m.SetSection(name, d.message(depth+1))
		case sectionEnd:
			if depth == 0 {
				d.fail("section end outside a section")
			}
			return m
		default:
			d.fail(fmt.Sprintf("element type %d", t))
		}
	}
	return m
}

func (d *decoder) list() []string {
	var items []string
	for d.err == nil {
		switch t := d.byte(); t {
		case listItem:
			items = append(items, d.value())
		case listEnd:
			return items
		default:
			d.fail(fmt.Sprintf("element type %d in a list", t))
		}
	}
	return nil
}
