// Package configs carries the reference configurations inside programs, so that tests run with exactly what is shipped.
package configs

import _ "embed"

// StrongSwan is strongswan.conf as bordergw-charon.service uses it.
//
//go:embed strongswan.conf
var StrongSwan string
