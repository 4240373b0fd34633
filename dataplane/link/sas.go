package link

import (
	"context"
	"fmt"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Carrying returns the if_ids for which the kernel has IPsec states in both directions: what charon set up goes on to carry packets
// when charon is gone. It lists all states of the host, so it is for moments in which charon cannot be asked.
func (d *Driver) Carrying(ctx context.Context) (map[uint32]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sas, err := d.kernel.SAs()
	if err != nil {
		return nil, fmt.Errorf("list SAs: %w", err)
	}
	have := make(map[netlink.SA]bool, len(sas))
	carrying := map[uint32]bool{}
	for _, sa := range sas {
		have[sa] = true
		if back := (netlink.SA{IfID: sa.IfID, Source: sa.Destination, Destination: sa.Source}); sa.IfID != 0 && have[back] {
			carrying[sa.IfID] = true
		}
	}
	return carrying, nil
}
