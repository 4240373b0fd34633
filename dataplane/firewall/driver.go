// Package firewall keeps one nftables table, "bordergw" of family inet, which does two things to packets that the host
// forwards between tunnels' devices and others: it keeps VPN connections of a gateway apart, and it lowers the segment
// size that TCP connections negotiate to what fits a tunnel. Packets that touch no tunnel pass it unchanged. The table
// also counts each tunnel's encrypted packets, without a verdict on them.
package firewall

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bordergw/bordergw/dataplane"
)

// Counters are of packets and of their bytes from the outermost IP header on.
type Counters struct{ Packets, Bytes uint64 }

// kernel is what the driver needs of nftables.
type kernel interface {
	// load reads the table back; ok is false when there is none.
	load() (t table, ok bool, err error)
	// dropped reads the counters; they are zero when there is no table.
	dropped() (Counters, error)
	// wire reads the counters of encrypted packets; there are none when there is no table.
	wire() (map[flow]Counters, error)
	// forwarded reads the counters of watched devices; there are none when there is no table.
	forwarded() (map[passage]Counters, error)
	// replace makes the table, or swaps it for the present one, in one transaction.
	replace(t table) error
	// update changes the present table's sets and maps in one transaction. It fails when they are not as from says.
	update(from, to content) error
	// remove deletes the table; it is no error when there is none.
	remove() error
	// watch calls changed whenever another process has changed the ruleset, ready once before that, until ctx ends (it
	// returns nil) or notifications are lost.
	watch(ctx context.Context, ready, changed func()) error
}

// table is what can be told of the table in the kernel.
type table struct {
	content content
	// mark is the comment of the first rule and tells which rules these are; rules counts them.
	mark    string
	rules   int
	dropped Counters
}

// Driver keeps the table for all gateways. All methods are safe for concurrent use.
type Driver struct {
	kernel kernel
	log    *slog.Logger

	mu       sync.Mutex
	gateways map[string]Gateway
	// applied is what the kernel has while valid is true.
	applied table
	exists  bool
	valid   bool
	// inherited is what the table of an earlier process said of devices whose gateways have not been applied yet. Until
	// Sweep it stays, so that no connection is open to another while gateways are applied one after the other.
	inherited content
	loaded    bool
	swept     bool
	meters    map[flow]meter
}

// New returns a driver for the network namespace of the process. It has done nothing yet.
func New(log *slog.Logger) *Driver { return newDriver(nft{}, log) }

func newDriver(k kernel, log *slog.Logger) *Driver {
	return &Driver{kernel: k, log: log, gateways: make(map[string]Gateway), inherited: newContent(),
		meters: make(map[flow]meter)}
}

// Apply makes the table right for one gateway; what it says of others stays. When nothing changes, nothing is sent. The
// error joins those of single tunnels, which are left out, and that of the transaction.
func (d *Driver) Apply(ctx context.Context, want Gateway) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, known := d.gateways[want.Name]; d.valid && known && want.Name != "" && have.equal(want) {
		return nil
	}
	claimed := make(map[string]string)
	for name, g := range d.gateways {
		for _, t := range g.Tunnels {
			claimed[t.Interface] = name
		}
	}
	good, bad := want.check(claimed)
	if want.Name == "" {
		return bad
	}
	if have, known := d.gateways[want.Name]; d.valid && known && have.equal(good) {
		return bad
	}
	good.Tunnels = slices.Clone(good.Tunnels)
	d.gateways[want.Name] = good
	if err := d.sync(); err != nil {
		return fmt.Errorf("gateway %s: %w", want.Name, err)
	}
	return bad
}

// Remove takes a gateway out of the table; it is idempotent. With the last gateway the table goes.
func (d *Driver) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.gateways, name)
	return d.sync()
}

// Sweep ends the start of the day: what an earlier process left for gateways that have not been applied goes.
func (d *Driver) Sweep(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.swept = true
	return d.sync()
}

// Invalidate drops what is remembered of the kernel's table: the next Apply reads it.
func (d *Driver) Invalidate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.valid = false
}

// Dropped reads the counters of packets that were kept from going from one connection to another. They go on through every
// change of the table, but not through a restart of the host.
func (d *Driver) Dropped(ctx context.Context) (Counters, error) {
	if err := ctx.Err(); err != nil {
		return Counters{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.count(); err != nil {
		return Counters{}, err
	}
	return d.applied.dropped, nil
}

// count reads the counters; the caller holds d.mu. Those of a table that another program removed do not go back.
func (d *Driver) count() error {
	c, err := d.kernel.dropped()
	if err != nil {
		return fmt.Errorf("read counters: %w", err)
	}
	if c.Packets >= d.applied.dropped.Packets {
		d.applied.dropped = c
	}
	return nil
}

// wanted is the content for all gateways; the caller holds d.mu.
func (d *Driver) wanted() content {
	c := newContent()
	claimed := make(map[string]bool)
	for _, g := range d.gateways {
		c.add(g)
		for _, t := range g.Tunnels {
			claimed[t.Interface] = true
		}
	}
	defer func() { // both addresses in common: nobody could say whose packets they are
		users := d.users()
		maps.DeleteFunc(c.wire, func(f flow, _ bool) bool { return users[f.Endpoints] > 1 })
	}()
	if d.swept {
		return c
	}
	rest := d.inherited.without(func(device string) bool { return claimed[device] })
	all := func(string) bool { return true }
	copyIf(c.tunnels, rest.tunnels, all)
	copyIf(c.guarded, rest.guarded, all)
	copyIf(c.same, rest.same, func(pair) bool { return true })
	copyIf(c.mss4, rest.mss4, all)
	copyIf(c.mss6, rest.mss6, all)
	copyIf(c.wire, rest.wire, func(flow) bool { return true })
	copyIf(c.watched, rest.watched, all)
	return c
}

// sync makes the table as wanted; the caller holds d.mu.
func (d *Driver) sync() error {
	if d.valid && d.applied.content.equal(d.wanted()) {
		return nil
	}
	if !d.valid {
		if err := d.reload(); err != nil {
			return err
		}
	} else if err := d.count(); err != nil { // the new table's counters go on from what they are now
		return err
	}
	want := table{content: d.wanted(), mark: rulesMark, rules: ruleCount, dropped: d.applied.dropped}
	if want.content.empty() {
		if d.exists {
			d.valid = false
			if err := d.kernel.remove(); err != nil {
				return fmt.Errorf("delete table %s: %w", TableName, err)
			}
		}
		d.renew(nil, nil)
		d.applied, d.exists, d.valid = want, false, true
		return nil
	}
	if d.exists && d.applied.same(want) {
		d.valid = true
		return nil
	}
	d.valid = false
	if err := d.write(want); err != nil {
		return err
	}
	d.applied, d.exists, d.valid = want, true, true
	return nil
}

// write changes the table's elements where its rules are right, and otherwise the whole table; the caller holds d.mu.
func (d *Driver) write(want table) error {
	if d.exists && d.applied.mark == want.mark && d.applied.rules == want.rules {
		err := d.kernel.update(d.applied.content, want.content)
		if err == nil {
			d.renew(d.applied.content.wire, want.content.wire)
			return nil
		}
		d.log.Warn("nftables elements cannot be changed, replacing the table", "error", err)
	}
	if err := d.readWire(); err != nil {
		d.log.Warn("encrypted packets since the last reading are not counted", "error", err)
	}
	if err := d.kernel.replace(want); err != nil {
		return fmt.Errorf("replace table %s: %w", TableName, err)
	}
	d.renew(nil, want.content.wire)
	return nil
}

// reload reads what exists; the caller holds d.mu.
func (d *Driver) reload() error {
	t, ok, err := d.kernel.load()
	if err != nil {
		return fmt.Errorf("read table %s: %w", TableName, err)
	}
	if !ok {
		t = table{content: newContent()}
	}
	if t.dropped.Packets < d.applied.dropped.Packets {
		t.dropped = d.applied.dropped // another program removed the table
	}
	if !d.loaded {
		d.inherited, d.loaded = t.content, true
	}
	d.applied, d.exists = t, ok
	return nil
}

// same compares all but the counters.
func (t table) same(o table) bool {
	return t.mark == o.mark && t.rules == o.rules && t.content.equal(o.content)
}

// resubscribeDelay keeps a subscription that cannot be made from being tried in a tight loop.
const resubscribeDelay = time.Second

// Watch reports, until ctx ends, when another process has changed or removed the table (a restart of nftables.service
// flushes the whole ruleset). emit may call the driver.
func (d *Driver) Watch(ctx context.Context, emit func(dataplane.Hint)) error {
	for ctx.Err() == nil {
		ready := false
		verify := func() {
			if reason := d.verify(); reason != "" {
				emit(dataplane.Hint{Kind: dataplane.Resync, Reason: reason})
			}
		}
		err := d.kernel.watch(ctx, func() {
			ready = true
			verify()
		}, verify)
		if err == nil {
			return nil
		}
		d.log.Warn("nftables events interrupted", "error", err)
		if ready {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(resubscribeDelay):
		}
	}
	return nil
}

// verify compares the kernel's table with the one applied and says why it is no longer valid.
func (d *Driver) verify() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.valid {
		return ""
	}
	t, ok, err := d.kernel.load()
	switch {
	case err != nil:
		d.valid = false
		return "table cannot be read"
	case ok == d.exists && (!ok || t.same(d.applied)):
		return ""
	}
	d.valid = false
	return "table changed by another program"
}
