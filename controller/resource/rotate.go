package resource

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
)

// Rotate encrypts again every secret that is not yet encrypted with the key file's first key. Any number of controllers may do it at once.
func (s *Service) Rotate(ctx context.Context) (rewritten int, err error) {
	if err := s.Store.Sync(ctx); err != nil {
		return 0, err
	}
	var refs []store.Ref
	s.Store.View(func(r store.Reader) {
		for _, kind := range model.Kinds() {
			for _, rec := range r.All(kind) {
				if s.outdated(rec) {
					refs = append(refs, rec.Ref)
				}
			}
		}
	})
	for _, ref := range refs {
		revision, err := s.Store.Write(ctx, func(tx *store.Tx) error { return s.rotate(tx, ref) })
		if err != nil {
			return rewritten, err
		}
		if revision > 0 {
			rewritten++
		}
	}
	return rewritten, nil
}

func (s *Service) outdated(rec *store.Record) bool {
	return rec != nil && slices.ContainsFunc(rec.Value.GetSecrets(), func(x *apiv1.StoredSecret) bool { return x.GetKeyId() != s.Vault.Current() })
}

// rotate changes nothing but the ciphertexts: neither generation nor audit log know of it.
func (s *Service) rotate(tx *store.Tx, ref store.Ref) error {
	rec := tx.Get(ref)
	if !s.outdated(rec) {
		return nil
	}
	v := proto.CloneOf(rec.Value)
	uid := model.Stored(rec).GetMetadata().GetUid()
	for _, held := range v.GetSecrets() {
		value, err := s.Secret(rec, held.GetPath())
		if err != nil {
			return err
		}
		if held.KeyId, held.Box, err = s.Vault.Seal(secretPlace(uid, held.GetPath()), value); err != nil {
			return err
		}
	}
	tx.Put(ref, v)
	return nil
}
