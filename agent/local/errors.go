package local

import (
	"fmt"

	"connectrpc.com/connect"
)

// Kind says what an [Error] is about.
type Kind int

// The kinds of errors.
const (
	// Invalid: the request makes no sense.
	Invalid Kind = iota + 1
	// Unknown: the host has no such tunnel.
	Unknown
	// Refused: it would do harm, or the state does not allow it.
	Refused
	// Failed: the change could not be put on disk.
	Failed
)

// Error is why a request was not carried out. Nothing was changed.
type Error struct {
	Kind    Kind
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Code is how the error is told to callers.
func (e *Error) Code() connect.Code {
	switch e.Kind {
	case Invalid:
		return connect.CodeInvalidArgument
	case Unknown:
		return connect.CodeNotFound
	case Refused:
		return connect.CodeFailedPrecondition
	}
	return connect.CodeInternal
}

func refuse(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
