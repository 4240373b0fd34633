package link

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/bordergw/bordergw/dataplane/netlink"
)

// Carrying returns the if_ids for which the kernel has IPsec states in both directions: what charon set up goes on to carry packets
// when charon is gone. It lists all states of the host, so it is for moments in which charon cannot be asked.
func (d *Driver) Carrying(ctx context.Context) (map[uint32]bool, error) {
	sas, err := d.listSAs(ctx)
	if err != nil {
		return nil, err
	}
	type flow struct {
		ifID     uint32
		from, to netip.Addr
	}
	have := make(map[flow]bool, len(sas))
	carrying := map[uint32]bool{}
	for _, sa := range sas {
		have[flow{sa.IfID, sa.Source, sa.Destination}] = true
		if sa.IfID != 0 && have[flow{sa.IfID, sa.Destination, sa.Source}] {
			carrying[sa.IfID] = true
		}
	}
	return carrying, nil
}

func (d *Driver) listSAs(ctx context.Context) ([]netlink.SA, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sas, err := d.kernel.SAs()
	if err != nil {
		return nil, fmt.Errorf("list SAs: %w", err)
	}
	return sas, nil
}

// Errors counts packets that arrived for a tunnel and that the kernel dropped although it had their SA.
type Errors struct {
	// OutsideWindow: older than the replay window. Replayed: seen before. IntegrityFailed: the authentication tag is wrong.
	OutsideWindow, Replayed, IntegrityFailed uint64
}

// saErrors adds up what the kernel counts for each SA.
type saErrors struct {
	mu     sync.Mutex
	totals map[uint32]Errors
	last   map[saKey]netlink.SAErrors
}

// saKey is what the kernel knows an SA by; all ours are ESP.
type saKey struct {
	destination netip.Addr
	spi         uint32
}

// SAErrors reads the errors of all SAs and returns the totals of the wanted if_ids, those without an SA included. Totals never go back
// while an if_id is wanted; it is forgotten when it is not. What an SA counted between the last reading and its end is lost. A
// reading lists all SAs of the host.
func (d *Driver) SAErrors(ctx context.Context, wanted map[uint32]bool) (map[uint32]Errors, error) {
	sas, err := d.listSAs(ctx)
	if err != nil {
		return nil, err
	}
	return d.errors.read(sas, wanted), nil
}

func (e *saErrors) read(sas []netlink.SA, wanted map[uint32]bool) map[uint32]Errors {
	e.mu.Lock()
	defer e.mu.Unlock()
	totals, last := make(map[uint32]Errors, len(wanted)), make(map[saKey]netlink.SAErrors, len(sas))
	for id := range wanted {
		totals[id] = e.totals[id]
	}
	for _, sa := range sas {
		total, ok := totals[sa.IfID]
		if !ok {
			continue
		}
		key := saKey{sa.Destination, sa.SPI}
		before := e.last[key]
		if sa.Errors.OutsideWindow < before.OutsideWindow || sa.Errors.Replayed < before.Replayed || sa.Errors.IntegrityFailed < before.IntegrityFailed {
			before = netlink.SAErrors{} // another SA with the same SPI
		}
		total.OutsideWindow += uint64(sa.Errors.OutsideWindow - before.OutsideWindow)
		total.Replayed += uint64(sa.Errors.Replayed - before.Replayed)
		total.IntegrityFailed += uint64(sa.Errors.IntegrityFailed - before.IntegrityFailed)
		totals[sa.IfID], last[key] = total, sa.Errors
	}
	e.totals, e.last = totals, last
	out := make(map[uint32]Errors, len(totals))
	for id, total := range totals {
		out[id] = total
	}
	return out
}
