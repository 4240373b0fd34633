package store

import (
	"cmp"
	"slices"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// state is all records of one revision.
type state struct {
	index    IndexFunc
	revision int64
	kinds    map[string]map[string]*Record
	sets     map[string]map[Ref]*Record
	// guards are the revisions of the guards' keys.
	guards map[string]int64
}

func newState(index IndexFunc) *state {
	return &state{
		index: index, kinds: map[string]map[string]*Record{}, sets: map[string]map[Ref]*Record{}, guards: map[string]int64{},
	}
}

func (s *state) put(r *Record) {
	s.delete(r.Ref)
	names := s.kinds[r.Kind]
	if names == nil {
		names = map[string]*Record{}
		s.kinds[r.Kind] = names
	}
	names[r.Name] = r
	for _, i := range s.index(r.Ref, r.Value) {
		set := s.sets[i.Set]
		if set == nil {
			set = map[Ref]*Record{}
			s.sets[i.Set] = set
		}
		set[r.Ref] = r
	}
}

func (s *state) delete(ref Ref) {
	old := s.kinds[ref.Kind][ref.Name]
	if old == nil {
		return
	}
	delete(s.kinds[ref.Kind], ref.Name)
	for _, i := range s.index(ref, old.Value) {
		delete(s.sets[i.Set], ref)
		if len(s.sets[i.Set]) == 0 {
			delete(s.sets, i.Set)
		}
	}
}

// Get implements Reader.
func (s *state) Get(ref Ref) *Record { return s.kinds[ref.Kind][ref.Name] }

// Find implements Reader.
func (s *state) Find(i Index) []*Record { return sorted(s.sets[i.Set]) }

// Count implements Reader.
func (s *state) Count(i Index) int { return len(s.sets[i.Set]) }

// All implements Reader.
func (s *state) All(kind string) []*Record { return sorted(s.kinds[kind]) }

// Revision implements Reader.
func (s *state) Revision() int64 { return s.revision }

func sorted[K comparable](records map[K]*Record) []*Record {
	out := make([]*Record, 0, len(records))
	for _, r := range records {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Record) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return out
}

// indexes returns where a record belongs; none for a record that is not there.
func (s *state) indexes(ref Ref, v *apiv1.Stored) []Index {
	if v == nil {
		return nil
	}
	return s.index(ref, v)
}

// revisionOf returns 0 for a record that is not there.
func (s *state) revisionOf(ref Ref) int64 {
	if r := s.Get(ref); r != nil {
		return r.Revision
	}
	return 0
}
