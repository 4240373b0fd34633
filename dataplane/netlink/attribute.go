package netlink

import (
	"encoding/binary"
	"errors"
	"iter"

	"golang.org/x/sys/unix"
)

var errAttributes = errors.New("malformed netlink attributes")

// attributes are the attributes at the end of a message. The library's parser trusts their lengths and panics on wrong
// ones.
type attributes []byte

// check refuses what all would stop at.
func (b attributes) check() error {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return errAttributes
		}
		b = b[min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	}
	return nil
}

// all yields types, without their flags, and values up to the first malformed attribute.
func (b attributes) all() iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			length := int(binary.NativeEndian.Uint16(b))
			if length < unix.SizeofNlAttr || length > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&nlaTypeMask, b[unix.SizeofNlAttr:length]) {
				return
			}
			b = b[min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
		}
	}
}

// get returns the value of an attribute.
func (b attributes) get(kind uint16) ([]byte, bool) {
	for k, v := range b.all() {
		if k == kind {
			return v, true
		}
	}
	return nil, false
}

// nlaTypeMask is NLA_TYPE_MASK: an attribute's type without its flags.
const nlaTypeMask = 0x3fff
