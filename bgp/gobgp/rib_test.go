package gobgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bordergw/bordergw/bgp"
)

// A snapshot that was made from the one before is what sorting everything anew gives, whatever has happened in between; and one that was
// handed out never changes.
func TestRIBSnapshots(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	r, empty := newRIB(), cmpopts.EquateEmpty()
	prefixes := func(i int) netip.Prefix {
		if i%3 == 0 {
			return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(i)}), 48)
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)
	}
	var handed, copies [][]bgp.Learned
	for round := range 200 {
		for range random.IntN(20) {
			addr, prefix := netip.AddrFrom4([4]byte{127, 0, 0, byte(random.IntN(3))}), prefixes(random.IntN(40))
			switch random.IntN(8) {
			case 0, 1:
				r.remove(prefix, addr)
			case 2:
				r.drop(addr, random.IntN(5))
			default:
				as := []uint32{uint32(65000 + random.IntN(2))}
				r.put(prefix, heard{addr: addr, session: random.IntN(5), path: bgp.Path{Neighbor: addr.String(), ASPath: as, Length: 1}})
			}
		}
		got := r.snapshot()
		anew := newRIB()
		for prefix, paths := range r.paths {
			for _, h := range paths {
				anew.put(prefix, h)
			}
		}
		if diff := cmp.Diff(anew.snapshot(), got, empty, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("round %d (-anew +got):\n%s", round, diff)
		}
		counted, all := 0, 0
		for addr := range r.held {
			count := int(r.accepted(addr))
			if n := len(r.of(addr)); n != count {
				t.Fatalf("round %d: %v has %d paths, counted %d", round, addr, n, count)
			}
			counted += count
		}
		for _, paths := range r.paths {
			all += len(paths)
		}
		if counted != all {
			t.Fatalf("round %d: %d paths counted, there are %d", round, counted, all)
		}
		handed, copies = append(handed, got), append(copies, append([]bgp.Learned(nil), got...))
	}
	for i := range handed {
		if fmt.Sprint(handed[i]) != fmt.Sprint(copies[i]) {
			t.Errorf("snapshot %d has changed since", i)
		}
	}
}

// What was heard again in a new session stays when the rest is dropped.
func TestRIBDropsWhatWasNotHeardAgain(t *testing.T) {
	r, addr, other := newRIB(), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	kept, gone := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12")
	for _, p := range []netip.Prefix{kept, gone} {
		r.put(p, heard{addr: addr, session: 1})
		r.put(p, heard{addr: other, session: 1})
	}
	if r.put(kept, heard{addr: addr, session: 2}) {
		t.Error("the same path again is news")
	}
	if !r.drop(addr, 2) || r.drop(addr, 2) {
		t.Error("not dropped exactly once")
	}
	if _, ok := r.of(addr)[gone]; ok || len(r.of(addr)) != 1 || len(r.of(other)) != 2 {
		t.Errorf("left: %v, %v", r.of(addr), r.of(other))
	}
}
