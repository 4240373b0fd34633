package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// code is a state on the wire (RFC 5880 §4.1).
type code uint8

const (
	codeAdminDown code = iota
	codeDown
	codeInit
	codeUp
)

func (c code) String() string {
	switch c {
	case codeAdminDown:
		return StateAdminDown
	case codeDown:
		return StateDown
	case codeInit:
		return StateInit
	}
	return StateUp
}

// diagnostic says why a session last changed (RFC 5880 §4.1).
type diagnostic uint8

const (
	diagNone         diagnostic = 0
	diagExpired      diagnostic = 1
	diagNeighborDown diagnostic = 3
	diagAdminDown    diagnostic = 7
)

// String is for people; codes that RFC 5880 does not define are printed as numbers.
func (d diagnostic) String() string {
	switch d {
	case diagNone:
		return ""
	case diagExpired:
		return "control detection time expired"
	case 2:
		return "echo function failed"
	case diagNeighborDown:
		return "neighbor signaled session down"
	case 4:
		return "forwarding plane reset"
	case 5:
		return "path down"
	case 6:
		return "concatenated path down"
	case diagAdminDown:
		return "administratively down"
	case 8:
		return "reverse concatenated path down"
	}
	return fmt.Sprintf("diagnostic %d", uint8(d))
}

// control is a BFD Control packet without authentication (RFC 5880 §4.1).
type control struct {
	diag         diagnostic
	state        code
	poll, final  bool
	demand       bool
	multiplier   uint8
	mine, yours  uint32
	minTx, minRx time.Duration // whole microseconds
}

const (
	version       = 1
	controlLength = 24

	flagPoll      = 1 << 5
	flagFinal     = 1 << 4
	flagAuth      = 1 << 2
	flagDemand    = 1 << 1
	flagMultipart = 1 << 0
)

// append adds the packet in wire format to b.
func (c control) append(b []byte) []byte {
	flags := byte(c.state) << 6
	for _, f := range []struct {
		set bool
		bit byte
	}{{c.poll, flagPoll}, {c.final, flagFinal}, {c.demand, flagDemand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, version<<5|byte(c.diag), flags, c.multiplier, controlLength)
	b = binary.BigEndian.AppendUint32(b, c.mine)
	b = binary.BigEndian.AppendUint32(b, c.yours)
	b = binary.BigEndian.AppendUint32(b, uint32(c.minTx/time.Microsecond))
	b = binary.BigEndian.AppendUint32(b, uint32(c.minRx/time.Microsecond))
	return binary.BigEndian.AppendUint32(b, 0) // no echo packets are taken
}

// parse reads a packet, as far as RFC 5880 §6.8.6 can be followed without knowing the session. What comes after the packet's own length
// is ignored.
func parse(b []byte) (control, error) {
	switch {
	case len(b) < controlLength:
		return control{}, errors.New("shorter than a control packet")
	case b[0]>>5 != version:
		return control{}, fmt.Errorf("version %d", b[0]>>5)
	case b[3] < controlLength || int(b[3]) > len(b):
		return control{}, fmt.Errorf("length %d of %d bytes", b[3], len(b))
	case b[1]&flagAuth != 0:
		return control{}, errors.New("authentication is not in use")
	case b[1]&flagMultipart != 0:
		return control{}, errors.New("multipoint bit is set")
	case b[2] == 0:
		return control{}, errors.New("detect multiplier is 0")
	}
	c := control{
		diag: diagnostic(b[0] & 0x1f), state: code(b[1] >> 6), multiplier: b[2],
		poll: b[1]&flagPoll != 0, final: b[1]&flagFinal != 0, demand: b[1]&flagDemand != 0,
		mine: binary.BigEndian.Uint32(b[4:]), yours: binary.BigEndian.Uint32(b[8:]),
		minTx: time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Microsecond,
		minRx: time.Duration(binary.BigEndian.Uint32(b[16:])) * time.Microsecond,
	}
	switch {
	case c.mine == 0:
		return control{}, errors.New("my discriminator is 0")
	case c.yours == 0 && c.state != codeDown && c.state != codeAdminDown:
		return control{}, fmt.Errorf("your discriminator is 0 in state %v", c.state)
	}
	return c, nil
}
