package store

import (
	"errors"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Ref names a record. A kind has no slash; a name may have any.
type Ref struct{ Kind, Name string }

// String returns "kind/name".
func (r Ref) String() string { return r.Kind + "/" + r.Name }

// Record is one record as it was at Revision. It is read-only.
type Record struct {
	Ref
	Value *apiv1.Stored
	// Revision is that of the write that made it so.
	Revision int64
}

// Index is a set of records that have something in common, and the guard that is written when it changes. Several sets may share a
// guard: fewer keys, more conflicts.
type Index struct{ Set, Guard string }

// IndexFunc tells to which sets a record belongs. It must depend on nothing but the record.
type IndexFunc func(Ref, *apiv1.Stored) []Index

// Reader reads the records of one revision.
type Reader interface {
	// Get returns nil when there is none.
	Get(Ref) *Record
	// Find returns the members of an index in the order of kind and name.
	Find(Index) []*Record
	// Count returns how many members an index has.
	Count(Index) int
	// All returns the records of a kind in the order of names.
	All(kind string) []*Record
	// Revision is the state that is read.
	Revision() int64
}

var (
	// ErrNewerSchema: a newer controller has changed the form of what is stored; this one must not write.
	ErrNewerSchema = errors.New("the store has a newer schema")
	// ErrCompacted: the changes since the revision that was asked for are no longer known.
	ErrCompacted = errors.New("the changes since that revision are no longer known")
	// ErrTooLarge: more than etcd takes in one transaction.
	ErrTooLarge = errors.New("too much for one transaction")
	// ErrUnavailable: etcd did not answer. Whether a write took place is not known.
	ErrUnavailable = errors.New("the store cannot be reached")
)
