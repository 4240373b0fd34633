// Package secret holds the type for values that must never be seen: pre-shared keys and BGP passwords.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted is what every formatter prints in place of the value, whether it is set or not: even its length stays hidden.
const redacted = "[redacted]"

// Secret is a value that prints as "[redacted]" through fmt (all verbs), log/slog, encoding/json and YAML encoders.
// The zero Secret is unset. Only Reveal returns the value; its callers are the drivers that hand it to charon or to a TCP socket.
type Secret struct {
	value string
}

// New returns a Secret that holds value.
func New(value string) Secret { return Secret{value: value} }

// Reveal returns the value in clear. Nothing but a driver's last step before the wire may call it.
func (s Secret) Reveal() string { return s.value }

// IsSet says whether a value is held.
func (s Secret) IsSet() bool { return s.value != "" }

// Equal compares two secrets in time that does not depend on where they differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.value), []byte(other.value)) == 1
}

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer, which %#v uses.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter: without it, verbs such as %d and %x would walk into the struct.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, which JSON and YAML encoders use.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML keeps YAML encoders that prefer their own interface from walking into the struct.
func (Secret) MarshalYAML() (any, error) { return redacted, nil }
