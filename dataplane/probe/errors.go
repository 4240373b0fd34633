package probe

import "errors"

// ErrStale is wrapped by errors of a Conn whose device is gone or was recreated under the same name.
var ErrStale = errors.New("device gone or recreated")
