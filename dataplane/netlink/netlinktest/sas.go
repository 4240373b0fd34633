package netlinktest

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// SAs implements [netlink.Kernel].
func (v view) SAs() ([]netlink.SA, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	return slices.Clone(v.k.sas), nil
}

// DeleteSA implements [netlink.Kernel].
func (v view) DeleteSA(sa netlink.SA) error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	i := slices.IndexFunc(v.k.sas, func(x netlink.SA) bool { return x.SPI == sa.SPI && x.Destination == sa.Destination })
	if i < 0 {
		return unix.ESRCH
	}
	effect, err := v.write("delete SA %08x of if_id %#x", sa.SPI, sa.IfID)
	if effect {
		v.k.sas = slices.Delete(v.k.sas, i, i+1)
	}
	return err
}

// Policies implements [netlink.Kernel].
func (v view) Policies() ([]netlink.Policy, error) {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	return slices.Clone(v.k.policies), nil
}

// DeletePolicy implements [netlink.Kernel].
func (v view) DeletePolicy(p netlink.Policy) error {
	v.k.mu.Lock()
	defer v.k.mu.Unlock()
	i := slices.IndexFunc(v.k.policies, func(x netlink.Policy) bool {
		return x.Selector == p.Selector && x.Direction == p.Direction && x.IfID == p.IfID
	})
	if i < 0 {
		return unix.ENOENT
	}
	effect, err := v.write("delete policy %d of if_id %#x", p.Direction, p.IfID)
	if effect {
		v.k.policies = slices.Delete(v.k.policies, i, i+1)
	}
	return err
}

// SetPolicies makes policies the IPsec policies, as charon would.
func (k *Kernel) SetPolicies(policies ...netlink.Policy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.policies = policies
}

// SetSAs makes sas the IPsec states, as charon would.
func (k *Kernel) SetSAs(sas ...netlink.SA) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sas = sas
}
