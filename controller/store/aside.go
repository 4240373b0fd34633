package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Aside is one key outside of the records.
type Aside struct {
	Name     string
	Value    []byte
	Revision int64
}

// ListAside returns keys outside of the records below a folder in falling order of their names, which begin before a name; an empty one
// begins at the end.
func (s *Store) ListAside(ctx context.Context, folder, before string, limit int) ([]Aside, error) {
	from, end := s.keys.aside(folder), clientv3.GetPrefixRangeEnd(s.keys.aside(folder))
	if before != "" {
		end = s.keys.aside(before)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return nil, unavailable(err)
	}
	out := make([]Aside, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		out[i] = Aside{Name: string(kv.Key)[len(s.keys.aside("")):], Value: kv.Value, Revision: kv.ModRevision}
	}
	return out, nil
}

// DeleteAside deletes the keys from one name up to but without another.
func (s *Store) DeleteAside(ctx context.Context, from, to string) (deleted int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := s.client.Delete(ctx, s.keys.aside(from), clientv3.WithRange(s.keys.aside(to)))
	if err != nil {
		return 0, unavailable(err)
	}
	return resp.Deleted, nil
}
