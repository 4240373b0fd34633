package store

import (
	"fmt"
	"slices"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Tx is one attempt at a write. What is read through it must not have changed when it is committed, and it sees its own writes.
type Tx struct {
	keys   keyspace
	base   *state
	read   map[Ref]bool
	guards map[string]bool
	staged map[Ref]*apiv1.Stored // nil: deleted
	leases map[Ref]Lease
	extra  []clientv3.Op
	// By the Set of an index: the staged records that are its members, and those that were in the base.
	joined, left map[string]map[Ref]bool
}

func newTx(keys keyspace, base *state) *Tx {
	return &Tx{
		keys: keys, base: base, read: map[Ref]bool{}, guards: map[string]bool{}, staged: map[Ref]*apiv1.Stored{}, leases: map[Ref]Lease{},
		joined: map[string]map[Ref]bool{}, left: map[string]map[Ref]bool{},
	}
}

// Get implements Reader.
func (t *Tx) Get(ref Ref) *Record {
	t.read[ref] = true
	return t.Peek().Get(ref)
}

// Find implements Reader.
func (t *Tx) Find(i Index) []*Record {
	t.guards[i.Guard] = true
	return t.Peek().Find(i)
}

// Count implements Reader.
func (t *Tx) Count(i Index) int {
	t.guards[i.Guard] = true
	return t.Peek().Count(i)
}

// All implements Reader without noting anything: only what is advice, such as the load of hosts, may rest on it.
func (t *Tx) All(kind string) []*Record { return t.Peek().All(kind) }

// Revision implements Reader.
func (t *Tx) Revision() int64 { return t.base.revision }

// Peek reads like the Tx itself but notes nothing: what is found may have changed when the Tx is committed.
func (t *Tx) Peek() Reader { return overlay{t} }

// Put writes a record whole; the value must not be changed afterwards.
func (t *Tx) Put(ref Ref, v *apiv1.Stored) {
	t.read[ref] = true
	delete(t.leases, ref)
	t.stage(ref, v)
}

// PutLeased is Put for a record that vanishes when its lease ends. It must be in no index: nobody writes guards when a lease ends.
func (t *Tx) PutLeased(ref Ref, v *apiv1.Stored, l Lease) {
	t.Put(ref, v)
	t.leases[ref] = l
}

// Delete deletes a record.
func (t *Tx) Delete(ref Ref) {
	t.read[ref] = true
	t.stage(ref, nil)
}

// stage keeps the sets at hand, so that thousands of writes in one Tx do not look through each other.
func (t *Tx) stage(ref Ref, v *apiv1.Stored) {
	if old, again := t.staged[ref]; again {
		for _, i := range t.base.indexes(ref, old) {
			delete(t.joined[i.Set], ref)
		}
	} else if r := t.base.Get(ref); r != nil {
		for _, i := range t.base.index(ref, r.Value) {
			addTo(t.left, i.Set, ref)
		}
	}
	t.staged[ref] = v
	for _, i := range t.base.indexes(ref, v) {
		addTo(t.joined, i.Set, ref)
	}
}

func addTo(sets map[string]map[Ref]bool, set string, ref Ref) {
	if sets[set] == nil {
		sets[set] = map[Ref]bool{}
	}
	sets[set][ref] = true
}

// PutAside writes a key outside of the records, below a name of its own: the audit log.
func (t *Tx) PutAside(name string, value []byte) {
	t.extra = append(t.extra, clientv3.OpPut(t.keys.aside(name), string(value)))
}

// Before returns the records as they were before this Tx.
func (t *Tx) Before() Reader { return t.base }

// Changed returns what was put or deleted, sorted.
func (t *Tx) Changed() []Ref {
	out := make([]Ref, 0, len(t.staged))
	for ref := range t.staged {
		out = append(out, ref)
	}
	slices.SortFunc(out, compareRefs)
	return out
}

// batch returns what must hold and what is written.
func (t *Tx) batch() (batch, error) {
	b := batch{
		conditions: []clientv3.Cmp{clientv3.Compare(clientv3.Value(t.keys.schema()), "=", strconv.Itoa(SchemaVersion))},
		guards:     map[string]int64{}, records: map[Ref]int64{},
	}
	for ref := range t.read {
		b.records[ref] = t.base.revisionOf(ref)
		b.conditions = append(b.conditions, clientv3.Compare(clientv3.ModRevision(t.keys.record(ref)), "=", b.records[ref]))
	}
	for guard := range t.guards {
		b.guards[guard] = t.base.guards[guard]
		b.conditions = append(b.conditions, clientv3.Compare(clientv3.ModRevision(t.keys.guard(guard)), "=", b.guards[guard]))
	}
	touched := map[string]bool{}
	touch := func(ref Ref, v *apiv1.Stored) {
		for _, i := range t.base.indexes(ref, v) {
			touched[i.Guard] = true
		}
	}
	for _, ref := range t.Changed() {
		if old := t.base.Get(ref); old != nil {
			touch(ref, old.Value)
		}
		v := t.staged[ref]
		if v == nil {
			b.writes = append(b.writes, clientv3.OpDelete(t.keys.record(ref)))
			continue
		}
		touch(ref, v)
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
		if err != nil {
			return batch{}, fmt.Errorf("%s: %w", ref, err)
		}
		b.writes = append(b.writes, clientv3.OpPut(t.keys.record(ref), string(raw), clientv3.WithLease(clientv3.LeaseID(t.leases[ref]))))
	}
	for guard := range touched {
		b.writes = append(b.writes, clientv3.OpPut(t.keys.guard(guard), ""))
	}
	b.writes = append(b.writes, t.extra...)
	b.writes = append(b.writes, clientv3.OpPut(t.keys.head(), ""))
	return b, nil
}

// overlay is the base with what the Tx has staged.
type overlay struct{ t *Tx }

func (o overlay) record(ref Ref) *Record {
	v := o.t.staged[ref]
	if v == nil {
		return nil
	}
	return &Record{Ref: ref, Value: v}
}

func (o overlay) Get(ref Ref) *Record {
	if _, ok := o.t.staged[ref]; ok {
		return o.record(ref)
	}
	return o.t.base.Get(ref)
}

func (o overlay) Find(i Index) []*Record {
	return o.merge(o.t.base.Find(i), o.t.left[i.Set], o.t.joined[i.Set])
}

func (o overlay) Count(i Index) int {
	return o.t.base.Count(i) - len(o.t.left[i.Set]) + len(o.t.joined[i.Set])
}

func (o overlay) All(kind string) []*Record {
	staged := map[Ref]bool{}
	for ref := range o.t.staged {
		if ref.Kind == kind {
			staged[ref] = true
		}
	}
	return o.merge(o.t.base.All(kind), staged, staged)
}

func (o overlay) Revision() int64 { return o.t.base.revision }

// merge takes out of the base's records what has left them, and adds what has joined and is not deleted.
func (o overlay) merge(base []*Record, left, joined map[Ref]bool) []*Record {
	if len(left) == 0 && len(joined) == 0 {
		return base
	}
	out := slices.DeleteFunc(base, func(r *Record) bool { return left[r.Ref] })
	for ref := range joined {
		if r := o.record(ref); r != nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Record) int { return compareRefs(a.Ref, b.Ref) })
	return out
}
