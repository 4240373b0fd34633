package netlinktest

import (
	"slices"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// SAs implements [netlink.Kernel].
func (v view) SAs() ([]netlink.SA, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	return slices.Clone(v.k.sas), nil
}

// SetSAs makes sas the IPsec states, as charon would.
func (k *Kernel) SetSAs(sas ...netlink.SA) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sas = sas
}
