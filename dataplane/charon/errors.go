package charon

import "errors"

// ErrUnavailable is wrapped by errors of calls that need charon while it does not answer.
var ErrUnavailable = errors.New("charon does not answer")
