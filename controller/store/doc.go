// Package store keeps records in etcd so that several controllers may write at once.
//
// Every controller holds a copy of all records in memory, which a watch keeps up to date, and which is always the state of exactly one
// revision. A write runs a function against that copy; the transaction notes what the function read, and is committed only if none of it
// has changed in etcd by then, else the function runs again. Rules that concern several records (at most ten of these, no two
// with the same) are therefore kept whatever other controllers do: no lock is held and no leader is needed.
//
// What is read is noted in two forms: a record by its own revision, and the members of an index by the revision of a guard, a key that is
// written with every record that is, becomes or was a member.
package store
