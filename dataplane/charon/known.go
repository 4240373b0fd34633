package charon

import (
	"strconv"
	"time"
)

// Known is what charon had in the kernel according to its last listing and the events since.
type Known struct {
	// Since is when charon was last connected to; everything is from after that.
	Since time.Time
	// SPIs of all CHILD_SAs, foreign ones included, in either direction. Those of replaced ones are there as long as charon keeps them.
	SPIs map[uint32]bool
	// IfIDs of our tunnels' CHILD_SAs, and the tunnel that has them installed.
	IfIDs map[uint32]string
}

// Known returns that, false while charon does not answer: then nothing can be said.
func (d *Driver) Known() (Known, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.connected {
		return Known{}, false
	}
	out := Known{Since: d.connectedSince, SPIs: make(map[uint32]bool), IfIDs: make(map[uint32]string)}
	note := func(spi string) {
		if n, err := strconv.ParseUint(spi, 16, 32); err == nil && n != 0 {
			out.SPIs[uint32(n)] = true
		}
	}
	for _, t := range d.tunnels {
		for _, c := range t.sas.children {
			note(c.SPIIn)
			note(c.SPIOut)
			if _, there := out.IfIDs[c.IfID]; !there {
				out.IfIDs[c.IfID] = ""
			}
			if c.live {
				out.IfIDs[c.IfID] = t.name
			}
		}
	}
	for spi := range d.foreign {
		note(spi)
	}
	return out, true
}

// foreigners keeps the SPIs of foreign SAs, by listing: nobody but charon knows that they are not orphans.
type foreigners map[string]uint64

func (f foreigners) note(in, out string, epoch uint64) {
	f[in], f[out] = epoch, epoch
}
