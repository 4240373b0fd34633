package vici

import (
	"fmt"
	"iter"
	"log/slog"
)

// Message is a section of a VICI message, or a whole message: an ordered list of keys, lists and sections. Keys need not be unique;
// readers see the first. The zero Message is empty and usable. A nil *Message reads as empty.
type Message struct {
	elems []element
}

type kind uint8

const (
	kindValue kind = iota
	kindList
	kindSection
)

type element struct {
	kind    kind
	name    string
	value   string
	list    []string
	section *Message
}

// Set appends a key with a value and returns m.
func (m *Message) Set(name, value string) *Message {
	m.elems = append(m.elems, element{kind: kindValue, name: name, value: value})
	return m
}

// SetList appends a list and returns m.
func (m *Message) SetList(name string, items ...string) *Message {
	m.elems = append(m.elems, element{kind: kindList, name: name, list: items})
	return m
}

// SetSection appends a section and returns m.
func (m *Message) SetSection(name string, section *Message) *Message {
	m.elems = append(m.elems, element{kind: kindSection, name: name, section: section})
	return m
}

// Get returns the value of a key, or "" when there is none.
func (m *Message) Get(name string) string {
	v, _ := m.Lookup(name)
	return v
}

// Lookup returns the value of a key and whether it is there.
func (m *Message) Lookup(name string) (string, bool) {
	if e := m.find(kindValue, name); e != nil {
		return e.value, true
	}
	return "", false
}

// List returns the items of a list, nil when there is none.
func (m *Message) List(name string) []string {
	if e := m.find(kindList, name); e != nil {
		return e.list
	}
	return nil
}

// Section returns a section, nil when there is none.
func (m *Message) Section(name string) *Message {
	if e := m.find(kindSection, name); e != nil {
		return e.section
	}
	return nil
}

// Sections iterates over all sections in order.
func (m *Message) Sections() iter.Seq2[string, *Message] {
	return func(yield func(string, *Message) bool) {
		if m == nil {
			return
		}
		for i := range m.elems {
			if m.elems[i].kind == kindSection && !yield(m.elems[i].name, m.elems[i].section) {
				return
			}
		}
	}
}

// Names returns the names of all elements in order: values, lists and sections.
func (m *Message) Names() []string {
	if m == nil {
		return nil
	}
	names := make([]string, 0, len(m.elems))
	for i := range m.elems {
		names = append(names, m.elems[i].name)
	}
	return names
}

func (m *Message) find(k kind, name string) *element {
	if m == nil {
		return nil
	}
	for i := range m.elems {
		if e := &m.elems[i]; e.kind == k && e.name == name {
			return e
		}
	}
	return nil
}

// Format implements fmt.Formatter: messages carry keys, so no verb prints values.
func (m *Message) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "vici.Message%v", m.Names())
}

// LogValue implements slog.LogValuer for the same reason.
func (m *Message) LogValue() slog.Value { return slog.AnyValue(m.Names()) }

// Without returns a copy that lacks the elements of one name. It shares sections and lists with m.
func (m *Message) Without(name string) *Message {
	out := &Message{}
	if m == nil {
		return out
	}
	for _, e := range m.elems {
		if e.name != name {
			out.elems = append(out.elems, e)
		}
	}
	return out
}
