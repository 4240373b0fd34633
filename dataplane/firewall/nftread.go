package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func (k nft) load() (table, bool, error) {
	c, err := k.open()
	if err != nil {
		return table{}, false, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return table{}, false, fmt.Errorf("list tables: %w", err)
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == TableName })
	if i < 0 {
		return table{}, false, nil
	}
	found := table{content: newContent()}
	if err := readRules(c, tables[i], &found); err != nil {
		return table{}, false, err
	}
	if err := readSets(c, tables[i], found.content); err != nil {
		return table{}, false, err
	}
	if found.dropped, err = readCounters(c, tables[i]); err != nil {
		return table{}, false, err
	}
	return found, true, nil
}

func (k nft) dropped() (Counters, error) {
	c, err := k.open()
	if err != nil {
		return Counters{}, err
	}
	return readCounters(c, k.table())
}

// readCounters returns zero counters when there are none.
func readCounters(c *nftables.Conn, t *nftables.Table) (Counters, error) {
	objects, err := c.GetNamedObjects(t)
	if err != nil {
		return Counters{}, fmt.Errorf("list objects: %w", err)
	}
	for _, o := range objects {
		n, ok := o.(*nftables.NamedObj)
		if !ok || n.Name != counterDrops {
			continue
		}
		if v, ok := n.Obj.(*expr.Counter); ok {
			return Counters{Packets: v.Packets, Bytes: v.Bytes}, nil
		}
	}
	return Counters{}, nil
}

// readRules counts the rules and finds their mark. Expressions are not compared: the library does not read back
// all that it writes.
func readRules(c *nftables.Conn, t *nftables.Table, found *table) error {
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != t.Name {
			continue
		}
		rules, err := c.GetRules(t, chain)
		if err != nil {
			return fmt.Errorf("list rules of chain %s: %w", chain.Name, err)
		}
		found.rules += len(rules)
		for _, r := range rules {
			if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
				found.mark = comment
			}
		}
	}
	return nil
}

// readSets fills content. Sets that are not ours, or not as ours, are passed over: the content then differs.
func readSets(c *nftables.Conn, t *nftables.Table, into content) error {
	present, err := c.GetSets(t)
	if err != nil {
		return fmt.Errorf("list sets: %w", err)
	}
	for _, s := range present {
		var take func(nftables.SetElement)
		switch s.Name {
		case setTunnels:
			take = func(e nftables.SetElement) { into.tunnels[fromIfname(e.Key)] = true }
		case setGuarded:
			take = func(e nftables.SetElement) { into.guarded[fromIfname(e.Key)] = true }
		case setSame:
			take = func(e nftables.SetElement) {
				if len(e.Key) == 2*ifnameSize {
					into.same[pair{fromIfname(e.Key[:ifnameSize]), fromIfname(e.Key[ifnameSize:])}] = true
				}
			}
		case mapMSS4, mapMSS6:
			sizes := into.mss4
			if s.Name == mapMSS6 {
				sizes = into.mss6
			}
			take = func(e nftables.SetElement) {
				if len(e.Val) >= 2 {
					sizes[fromIfname(e.Key)] = binary.BigEndian.Uint16(e.Val)
				}
			}
		case setForwardedIn:
			take = func(e nftables.SetElement) { into.watched[fromIfname(e.Key)] = true }
		default:
			kind, ours := flowKinds()[s.Name]
			if !ours {
				continue
			}
			take = func(e nftables.SetElement) {
				if f, ok := flowOf(kind, e.Key); ok {
					into.wire[f] = true
				}
			}
		}
		elements, err := c.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("list elements of set %s: %w", s.Name, err)
		}
		for _, e := range elements {
			take(e)
		}
	}
	return nil
}

// errEventsLost ends a watch: the watcher must look again.
var errEventsLost = errors.New("nftables events lost")

// Of include/uapi/linux/netfilter/nf_tables.h.
const (
	nfnlgrpNFTables = 7
	nftaGenProcPID  = 2
	sizeofNfgenmsg  = 4
)

// watch listens for ends of transactions (NFT_MSG_NEWGEN), which name the process that made them.
func (nft) watch(ctx context.Context, ready, changed func()) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open nfnetlink: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // ends the read; nobody is left to tell
	defer func() {
		if stop() {
			_ = c.Close()
		}
	}()
	if err := c.SetReadBuffer(transactionBuffer); err != nil {
		return fmt.Errorf("set nfnetlink event buffer: %w", err)
	}
	if err := c.JoinGroup(nfnlgrpNFTables); err != nil {
		return fmt.Errorf("subscribe to nftables: %w", err)
	}
	ready()
	for {
		messages, err := c.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errEventsLost, err)
		}
		if slices.ContainsFunc(messages, byAnother) {
			changed()
		}
	}
}

// byAnother tells whether a message is the end of another process' transaction. In doubt it says yes: the table is then
// looked at once more than needed.
func byAnother(m netlink.Message) bool {
	if m.Header.Type != netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN) || len(m.Data) < sizeofNfgenmsg {
		return false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[sizeofNfgenmsg:])
	if err != nil {
		return true
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == nftaGenProcPID {
			// The kernel names the thread (net/netfilter/nf_tables_api.c, task_pid_nr).
			_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", ad.Uint32()))
			return err != nil
		}
	}
	return true
}
