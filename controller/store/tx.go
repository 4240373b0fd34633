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
}

func newTx(keys keyspace, base *state) *Tx {
	return &Tx{keys: keys, base: base, read: map[Ref]bool{}, guards: map[string]bool{}, staged: map[Ref]*apiv1.Stored{}, leases: map[Ref]Lease{}}
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
	t.staged[ref] = v
}

// PutLeased is Put for a record that vanishes when its lease ends. It must be in no index: nobody writes guards when a lease ends.
func (t *Tx) PutLeased(ref Ref, v *apiv1.Stored, l Lease) {
	t.Put(ref, v)
	t.leases[ref] = l
}

// Delete deletes a record.
func (t *Tx) Delete(ref Ref) {
	t.read[ref] = true
	t.staged[ref] = nil
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
	return o.merge(o.t.base.Find(i), func(ref Ref, v *apiv1.Stored) bool { return o.member(ref, v, i) })
}

func (o overlay) Count(i Index) int {
	n := o.t.base.Count(i)
	for ref, v := range o.t.staged {
		if o.t.base.sets[i.Set][ref] != nil {
			n--
		}
		if v != nil && o.member(ref, v, i) {
			n++
		}
	}
	return n
}

func (o overlay) member(ref Ref, v *apiv1.Stored, i Index) bool {
	return slices.ContainsFunc(o.t.base.index(ref, v), func(x Index) bool { return x.Set == i.Set })
}

func (o overlay) All(kind string) []*Record {
	return o.merge(o.t.base.All(kind), func(ref Ref, _ *apiv1.Stored) bool { return ref.Kind == kind })
}

func (o overlay) Revision() int64 { return o.t.base.revision }

func (o overlay) merge(base []*Record, belongs func(Ref, *apiv1.Stored) bool) []*Record {
	if len(o.t.staged) == 0 {
		return base
	}
	out := slices.DeleteFunc(base, func(r *Record) bool { _, ok := o.t.staged[r.Ref]; return ok })
	for ref, v := range o.t.staged {
		if v != nil && belongs(ref, v) {
			out = append(out, o.record(ref))
		}
	}
	slices.SortFunc(out, func(a, b *Record) int { return compareRefs(a.Ref, b.Ref) })
	return out
}
