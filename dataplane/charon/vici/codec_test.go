package vici

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compare = cmp.AllowUnexported(Message{}, element{})

// The bytes of the example in strongSwan's README.md of the vici plugin.
func TestEncodeMatchesTheSpecification(t *testing.T) {
	m := new(Message).Set("key1", "value1").SetSection("section1", new(Message).
		SetSection("sub-section", new(Message).Set("key2", "value2")).SetList("list1", "item1", "item2"))
	got, err := Encode(Packet{Type: CmdResponse, Message: m})
	if err != nil {
		t.Fatal(err)
	}
	body := "\x01" + "\x03\x04key1\x00\x06value1" + "\x01\x08section1" + "\x01\x0bsub-section" + "\x03\x04key2\x00\x06value2" + "\x02" +
		"\x04\x05list1" + "\x05\x00\x05item1" + "\x05\x00\x05item2" + "\x06" + "\x02"
	want := string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEncodeDecode(t *testing.T) {
	tests := []Packet{
		{Type: CmdRequest, Name: "version", Message: &Message{}},
		{Type: EventRegister, Name: "log", Message: &Message{}},
		{Type: EventConfirm, Message: &Message{}},
		{Type: EventPacket, Name: "list-sa", Message: new(Message).SetSection("a", &Message{}).SetList("empty").Set("v", "").Set("v", "2")},
		{Type: CmdResponse, Message: new(Message).Set("binary", "\x00\xff\x03").Set("long", strings.Repeat("x", maxValue))},
	}
	for _, p := range tests {
		frame, err := Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadPacket(bytes.NewReader(frame))
		if err != nil {
			t.Fatalf("%v: %v", p.Message, err)
		}
		if diff := cmp.Diff(p, got, compare); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	deep := &Message{}
	for range maxDepth + 2 {
		deep = new(Message).SetSection("s", deep)
	}
	large := &Message{}
	for range 9 {
		large.Set("k", strings.Repeat("x", maxValue))
	}
	tests := map[string]*Message{
		"empty name": new(Message).Set("", "v"), "long name": new(Message).Set(strings.Repeat("n", 256), "v"),
		"long value": new(Message).Set("k", strings.Repeat("x", maxValue+1)), "long item": new(Message).SetList("k", strings.Repeat("x", maxValue+1)),
		"deep": deep, "large packet": large,
	}
	for name, m := range tests {
		if _, err := Encode(Packet{Type: CmdRequest, Name: "c", Message: m}); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: error holds the value", name)
		}
	}
}

func TestReadPacketRefuses(t *testing.T) {
	frame := func(body string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(body)))) + body }
	tests := []struct {
		name, bytes string
		want        error
	}{
		{"nothing", "", io.EOF},
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"half a body", "\x00\x00\x00\x09\x01", io.ErrUnexpectedEOF},
		{"no body at all", "\x00\x00\x00\x09", io.ErrUnexpectedEOF},
		{"empty", frame(""), ErrProtocol},
		{"too large", "\x00\x10\x00\x00", ErrProtocol},
		{"gigabytes", "\xff\xff\xff\xff", ErrProtocol},
		{"packet type", frame("\x08"), ErrProtocol},
		{"element type", frame("\x01\x07"), ErrProtocol},
		{"element type in list", frame("\x01\x04\x01l\x03"), ErrProtocol},
		{"open section", frame("\x01\x01\x01s"), ErrProtocol},
		{"open list", frame("\x01\x04\x01l"), ErrProtocol},
		{"end without start", frame("\x01\x02"), ErrProtocol},
		{"short value", frame("\x01\x03\x01k\x00\x05v"), ErrProtocol},
		{"empty key", frame("\x01\x03\x00\x00\x01v"), ErrProtocol},
		{"no name", frame("\x07"), ErrProtocol},
		{"too deep", frame("\x01" + strings.Repeat("\x01\x01s", maxDepth+2)), ErrProtocol},
	}
	for _, tt := range tests {
		if _, err := ReadPacket(strings.NewReader(tt.bytes)); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestMessageNeverPrintsValues(t *testing.T) {
	m := new(Message).Set("data", "open-sesame").SetSection("s", new(Message).Set("data", "open-sesame"))
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("loading", "message", m)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&log, verb, m)
		fmt.Fprintf(&log, verb, Packet{Message: m})
	}
	if strings.Contains(log.String(), "sesame") || strings.Contains(log.String(), fmt.Sprintf("%x", "sesame")) {
		t.Errorf("value printed: %s", log.String())
	}
}

func TestMessageReads(t *testing.T) {
	m := new(Message).Set("a", "1").SetList("l", "x", "y").SetSection("s", new(Message).Set("b", "2")).SetSection("t", nil)
	if m.Get("a") != "1" || m.Get("l") != "" || m.Section("s").Get("b") != "2" || m.Section("none").Section("deeper").Get("c") != "" {
		t.Error("Get")
	}
	if diff := cmp.Diff([]string{"x", "y"}, m.List("l")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "s", "t"}, m.Without("l").Names()); diff != "" {
		t.Error(diff)
	}
	var names []string
	for name := range m.Sections() {
		names = append(names, name)
		break
	}
	if diff := cmp.Diff([]string{"s"}, names); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []*Message{{}, new(Message).Set("k", "v").SetList("l", "a", "b").SetSection("s", new(Message).Set("x", ""))} {
		frame, err := Encode(Packet{Type: EventPacket, Name: "list-sa", Message: m})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame[4:])
	}
	f.Add([]byte{1, 4, 1, 'l', 6})
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := Decode(body)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("error %v is no protocol error", err)
			}
			return
		}
		frame, err := Encode(p)
		if err != nil {
			if len(body) > MaxPacket || p.Type > EventPacket {
				return
			}
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		again, err := Decode(frame[4:])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, again, compare); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
