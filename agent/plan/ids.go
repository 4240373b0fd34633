package plan

import (
	"fmt"
	"hash/fnv"
	"sync"

	"github.com/bordergw/bordergw/dataplane/route"
)

// Range is an inclusive range of numbers that only this program hands out on a host.
type Range struct{ First, Last uint32 }

func (r Range) contains(n uint32) bool { return n >= r.First && n <= r.Last }

func (r Range) size() uint32 { return r.Last - r.First + 1 }

// Pool gives each key one number of its range and keeps it for as long as the process lives. Numbers are derived from the key, so an
// agent without memory mostly finds the same ones again; what is already programmed is told with Adopt and always wins. Safe for
// concurrent use: the reconcilers of all gateways share the host's pools.
type Pool struct {
	span Range

	mu     sync.Mutex
	number map[string]uint32
	owner  map[uint32]string
}

// NewPool returns an empty pool over span.
func NewPool(span Range) *Pool {
	return &Pool{span: span, number: map[string]uint32{}, owner: map[uint32]string{}}
}

// Adopt records that key has number n already. It says false, and changes nothing, when n is outside the range or another key's, or
// when key has another number.
func (p *Pool) Adopt(key string, n uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.span.contains(n) {
		return false
	}
	if have, ok := p.number[key]; ok {
		return have == n
	}
	if _, taken := p.owner[n]; taken {
		return false
	}
	p.number[key], p.owner[n] = n, key
	return true
}

// Get returns key's number, choosing one when it has none. The error is a full range.
func (p *Pool) Get(key string) (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, ok := p.number[key]; ok {
		return n, nil
	}
	size := p.span.size()
	start := hash(key) % size
	for i := range size {
		n := p.span.First + (start+i)%size
		if _, taken := p.owner[n]; !taken {
			p.number[key], p.owner[n] = n, key
			return n, nil
		}
	}
	return 0, fmt.Errorf("no number left in %d–%d for %s", p.span.First, p.span.Last, key)
}

func hash(key string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(key)) // hash.Hash never returns an error
	return h.Sum32()
}

func ifIDs() Range { return Range{0x0b000001, 0x0bffffff} }

// OwnIfID says whether an if_id is from the range that marks bordergw's.
func OwnIfID(id uint32) bool {
	return ifIDs().contains(id)
}

// NewIDs returns empty pools over the ranges that mark numbers as bordergw's.
func NewIDs() IDs {
	return IDs{
		// Above the tables that people and distributions number by hand, and short enough for a VRF's name.
		Table:   NewPool(Range{100_000, 999_999}),
		IfID:    NewPool(ifIDs()),
		Nexthop: NewPool(Range{route.NexthopBase, route.GroupBase - 1}),
		Group:   NewPool(Range{route.GroupBase, route.IDEnd - 1}),
	}
}
