package firewall

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// passage is one direction of what the host forwards over a watched device.
type passage struct {
	device string
	out    bool
}

// Forwarded reads, by device, what the host forwarded from and to watched tunnels since they became watched. What ends or begins at
// the host itself is not among it: probes, BGP, BFD. Counts begin anew when the table is replaced, so only a difference between two
// readings means something, and a count that went back is a new one.
func (d *Driver) Forwarded(ctx context.Context) (map[string]Traffic, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.exists {
		return nil, nil
	}
	counted, err := d.kernel.forwarded()
	if err != nil {
		return nil, fmt.Errorf("read counters of forwarded packets: %w", err)
	}
	out := make(map[string]Traffic)
	for p, c := range counted {
		t := out[p.device]
		if p.out {
			t.Out = c
		} else {
			t.In = c
		}
		out[p.device] = t
	}
	return out, nil
}

func (k nft) forwarded() (map[passage]Counters, error) {
	c, err := k.open()
	if err != nil {
		return nil, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	out := make(map[passage]Counters)
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == TableName }) {
		return out, nil
	}
	present, err := c.GetSets(k.table())
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range present {
		if s.Name != setForwardedIn && s.Name != setForwardedOut {
			continue
		}
		elements, err := c.GetSetElements(s)
		if err != nil {
			return nil, fmt.Errorf("list elements of set %s: %w", s.Name, err)
		}
		for _, e := range elements {
			if e.Counter != nil {
				out[passage{fromIfname(e.Key), s.Name == setForwardedOut}] = Counters{Packets: e.Counter.Packets, Bytes: e.Counter.Bytes}
			}
		}
	}
	return out, nil
}
