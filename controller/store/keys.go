package store

import (
	"cmp"
	"strconv"
	"strings"
)

// SchemaVersion is the form of what this program stores. A store with a higher one is refused.
const SchemaVersion = 1

// keyspace makes keys below one prefix:
//
//	schema         the schema version
//	data/head      written with every write: its revision is the newest one that matters
//	data/r/K/N     record N of kind K
//	data/g/G       guard G
//	aside/…        what is not held in memory
type keyspace struct{ prefix string }

func (k keyspace) schema() string           { return k.prefix + "schema" }
func (k keyspace) data() string             { return k.prefix + "data/" }
func (k keyspace) head() string             { return k.prefix + "data/head" }
func (k keyspace) records() string          { return k.prefix + "data/r/" }
func (k keyspace) record(r Ref) string      { return k.prefix + "data/r/" + r.Kind + "/" + r.Name }
func (k keyspace) guard(g string) string    { return k.prefix + "data/g/" + g }
func (k keyspace) aside(name string) string { return k.prefix + "aside/" + name }

// parse tells what a key below data is: a record, a guard or neither.
func (k keyspace) parse(key string) (ref Ref, guard string) {
	rest, ok := strings.CutPrefix(key, k.data())
	if !ok {
		return Ref{}, ""
	}
	if path, ok := strings.CutPrefix(rest, "r/"); ok {
		kind, name, _ := strings.Cut(path, "/")
		return Ref{kind, name}, ""
	}
	guard, _ = strings.CutPrefix(rest, "g/")
	if guard == rest {
		return Ref{}, ""
	}
	return Ref{}, guard
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// FormatRevision is how revisions are told outside.
func FormatRevision(revision int64) string { return strconv.FormatInt(revision, 10) }
