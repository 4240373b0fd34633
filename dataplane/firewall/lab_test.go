//go:build lab

package firewall

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/dataplane/netlink/netlinktest"
)

func nftList(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("nft list ruleset: %v: %s", err, out)
	}
	return string(out)
}

func many(gateways, tunnels int) []Gateway {
	var all []Gateway
	for g := range gateways {
		gw := Gateway{Name: fmt.Sprintf("g%d", g)}
		for i := range tunnels {
			gw.Tunnels = append(gw.Tunnels, Tunnel{
				Interface: fmt.Sprintf("bgw%d-%d", g, i), Connection: fmt.Sprintf("c%d", i/8), MSS4: 1360, MSS6: 1340,
			})
		}
		all = append(all, gw)
	}
	return all
}

// The kernel takes the table, gives it back as it was, and leaves other tables alone.
func TestLabTable(t *testing.T) {
	netlinktest.Namespace(t)
	if out, err := exec.Command("nft", "add", "table", "inet", "foreign").CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	d := New(quiet())
	apply(t, d, shop())
	apply(t, d, open())
	text := nftList(t)
	for _, want := range []string{
		"table inet foreign", "table inet bordergw", `counter name "transit_dropped" drop`, "policy accept",
		`"bgw1" : 1360`, `"bgw1" . "bgw2"`, "tcp option maxseg size set oifname map @mss4",
		"sdifname . oifname @same_connection accept",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("ruleset lacks %q", want)
		}
	}
	t.Log(text)
	got, ok, err := nft{}.load()
	if err != nil || !ok || !got.same(d.applied) {
		t.Errorf("read back: %+v, %v, %v; applied %+v", got, ok, err, d.applied)
	}
	if got, err := d.Dropped(t.Context()); err != nil || got != (Counters{}) {
		t.Errorf("counters %+v, %v", got, err)
	}
	// Counters go on.
	d.applied.dropped, d.applied.mark = Counters{Packets: 3, Bytes: 300}, "bordergw rules 0"
	if err := d.write(table{content: d.wanted(), mark: rulesMark, rules: ruleCount, dropped: d.applied.dropped}); err != nil {
		t.Fatal(err)
	}
	changed := shop()
	changed.Tunnels[0].MSS4 = 1200
	apply(t, d, changed)
	if got, err := d.Dropped(t.Context()); err != nil || got != (Counters{Packets: 3, Bytes: 300}) {
		t.Errorf("counters after a replacement: %+v, %v", got, err)
	}
	// A flushed ruleset is noticed and repaired.
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	if reason := d.verify(); reason == "" {
		t.Error("flushed ruleset not noticed")
	}
	apply(t, d, changed)
	if !strings.Contains(nftList(t), `"bgw1" : 1200`) {
		t.Error("flushed ruleset not repaired")
	}
	for _, name := range []string{"shop", "open"} {
		if err := d.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(nftList(t), TableName) {
		t.Error("table left without gateways")
	}
}

// Another process' transaction is noticed.
func TestLabWatch(t *testing.T) {
	netlinktest.Namespace(t)
	d := New(quiet())
	apply(t, d, shop())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := 0
	err := nft{}.watch(ctx, func() {
		apply(t, d, open())
		if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
			t.Errorf("nft: %v: %s", err, out)
		}
	}, func() {
		changes++
		if _, ok, err := (nft{}).load(); err != nil || ok {
			t.Errorf("first change reported is not the flush: table there %v, %v", ok, err)
		}
		cancel()
	})
	if err != nil || changes != 1 {
		t.Errorf("watch: %v, %d changes", err, changes)
	}
	if reason := d.verify(); reason == "" {
		t.Error("flush not noticed")
	}
	if err := d.Remove(t.Context(), "open"); err != nil {
		t.Error(err)
	}
}

// The end of a transaction tells whose it was.
func TestLabWhoseTransaction(t *testing.T) {
	netlinktest.Namespace(t)
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.JoinGroup(nfnlgrpNFTables); err != nil {
		t.Fatal(err)
	}
	apply(t, New(quiet()), shop())
	if out, err := exec.Command("nft", "add", "table", "inet", "foreign").CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	var foreign []bool
	for len(foreign) < 2 {
		messages, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if m.Header.Type == netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN) {
				foreign = append(foreign, byAnother(m))
			}
		}
	}
	if foreign[0] || !foreign[1] {
		t.Errorf("by another process: %v, want [false true]", foreign)
	}
}

// Thousands of tunnels in one transaction.
func TestLabManyTunnels(t *testing.T) {
	netlinktest.Namespace(t)
	d := New(quiet())
	for _, g := range many(63, 80) {
		d.gateways[g.Name] = g
	}
	start := time.Now()
	apply(t, d, many(64, 80)[63])
	t.Logf("5120 tunnels: %v", time.Since(start).Round(time.Millisecond))
	last := many(64, 80)[63]
	last.Tunnels[5].MSS4, last.Tunnels[6].Connection = 1234, "another"
	start = time.Now()
	apply(t, d, last)
	t.Logf("two of them changed: %v", time.Since(start).Round(time.Millisecond))
	d.Invalidate()
	start = time.Now()
	apply(t, d, last)
	t.Logf("read back and compared: %v", time.Since(start).Round(time.Millisecond))
	got, ok, err := nft{}.load()
	if err != nil || !ok || !got.same(d.applied) {
		t.Errorf("read back differs: %v, %v, %d and %d tunnels", ok, err, len(got.content.tunnels), len(d.applied.content.tunnels))
	}
}
