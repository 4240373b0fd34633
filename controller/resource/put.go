package resource

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/allocate"
	"github.com/bordergw/bordergw/controller/model"
	"github.com/bordergw/bordergw/controller/store"
	"github.com/bordergw/bordergw/internal/secret"
)

// presence says what a put expects.
type presence int

const (
	mustNotExist presence = iota
	mustExist
	mayExist
)

const maxDisplayName = 64

// put stages one object, whole: what the writer left open is filled in, secrets are taken out and encrypted.
func (c *change) put(given model.Object, want presence) error {
	o := model.Normal(given)
	ref := model.RefOf(o)
	old := c.tx.Get(ref)
	version := o.GetMetadata().GetResourceVersion()
	switch {
	case old != nil && want == mustNotExist:
		return model.Refuse(model.ErrExists, ref, "name", "there already is a %s %q", ref.Kind, ref.Name)
	case old == nil && (want == mustExist || want == mayExist && version != ""):
		return model.Refuse(model.ErrNotFound, ref, "", "does not exist")
	case want == mustExist && version == "":
		return model.Refuse(model.ErrInvalid, ref, "metadata.resourceVersion", "is required: that of the resource as it was read")
	}
	if old != nil {
		if err := fresh(old, version); err != nil {
			return err
		}
	}
	displayName := o.GetMetadata().GetDisplayName()
	if utf8.RuneCountInString(displayName) > maxDisplayName || strings.ContainsFunc(displayName, unicode.IsControl) {
		c.fail(model.ErrInvalid, ref, "metadata.displayName", "must be at most %d characters without control characters", maxDisplayName)
	}
	v := &apiv1.Stored{}
	c.fill(o, model.Stored(old), v)
	uid, err := c.uid(old)
	if err != nil {
		return err
	}
	replaced, err := c.secrets(o, uid, old, v)
	if err != nil {
		return err
	}
	model.SetMetadata(o, &apiv1.Metadata{Uid: uid, DisplayName: displayName, Created: c.now, Updated: c.now, Generation: 1})
	v.Resource = model.Wrap(o)
	st := step{ref: ref, action: Created, after: v, secrets: replaced}
	if old != nil {
		st.action, st.before, st.revision = Changed, old.Value, old.Revision
		m, was := o.GetMetadata(), model.Stored(old)
		m.Created, m.Generation = was.GetMetadata().GetCreated(), was.GetMetadata().GetGeneration()
		if unchanged(old.Value, v) {
			st.action, st.after = Unchanged, old.Value
			c.steps = append(c.steps, st)
			return nil
		}
		if len(replaced) > 0 || !proto.Equal(model.Acted(was), model.Acted(o)) {
			m.Generation++
		}
	}
	c.tx.Put(ref, v)
	c.steps = append(c.steps, st)
	return nil
}

func (c *change) uid(old *store.Record) (string, error) {
	if old != nil {
		return model.Stored(old).GetMetadata().GetUid(), nil
	}
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return hex.EncodeToString(raw), nil
}

// secrets moves every secret from the object into v, encrypted, and returns the paths of those that are new. An empty source stands for the
// secret that is already there.
func (c *change) secrets(o model.Object, uid string, old *store.Record, v *apiv1.Stored) (replaced []string, err error) {
	ref := model.RefOf(o)
	for _, place := range model.Secrets(o) {
		source := *place.Source
		held := storedSecret(old, place.Path)
		if source == nil && !place.Always {
			continue
		}
		if !c.usable(ref, place, source) {
			continue
		}
		*place.Source = &apiv1.SecretSource{}
		value := secret.New(source.GetValue())
		switch {
		case value.IsSet() && held != nil && c.same(uid, held, value):
			value = secret.Secret{}
		case value.IsSet() || held != nil:
		case place.Always && source == nil && old == nil:
			if value, err = allocate.PSK(); err != nil {
				return nil, err
			}
		default:
			c.fail(model.ErrInvalid, ref, place.Field, "is empty, and there is none yet that could be kept: give its value")
			continue
		}
		if value.IsSet() {
			id, box, err := c.Vault.Seal(secretPlace(uid, place.Path), value)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", ref, place.Field, err)
			}
			held = &apiv1.StoredSecret{Path: place.Path, KeyId: id, Box: box}
			replaced = append(replaced, place.Path)
		}
		v.Secrets = append(v.Secrets, held)
	}
	slices.SortFunc(v.Secrets, func(a, b *apiv1.StoredSecret) int { return strings.Compare(a.GetPath(), b.GetPath()) })
	return replaced, nil
}

// usable refuses the ways to give a secret that only make sense where manifests are files of a host.
func (c *change) usable(ref store.Ref, place model.Secret, source *apiv1.SecretSource) bool {
	switch {
	case source.GetFile() != "" || source.GetEnv() != "":
		c.fail(model.ErrInvalid, ref, place.Field, "must be given by value: a controller reads no files and no variables for its clients (bordergwctl does)")
	case len(source.GetSealed()) > 0:
		c.fail(model.ErrInvalid, ref, place.Field, "must be given by value: the controller seals it for the hosts")
	default:
		return true
	}
	*place.Source = nil
	return false
}

// same says whether a writer gave the secret that is there already.
func (c *change) same(uid string, held *apiv1.StoredSecret, value secret.Secret) bool {
	was, err := c.Vault.Open(secretPlace(uid, held.GetPath()), held.GetKeyId(), held.GetBox())
	return err == nil && was.Equal(value)
}

func storedSecret(r *store.Record, path string) *apiv1.StoredSecret {
	if r == nil {
		return nil
	}
	for _, s := range r.Value.GetSecrets() {
		if s.GetPath() == path {
			return s
		}
	}
	return nil
}

// secretPlace binds a ciphertext to one field of one resource.
func secretPlace(uid, path string) string { return uid + " " + path }

// Secret returns a secret of a record in clear; unset when it has none at that path.
func (s *Service) Secret(r *store.Record, path string) (secret.Secret, error) {
	held := storedSecret(r, path)
	if held == nil {
		return secret.Secret{}, nil
	}
	value, err := s.Vault.Open(secretPlace(model.Stored(r).GetMetadata().GetUid(), path), held.GetKeyId(), held.GetBox())
	if err != nil {
		return secret.Secret{}, fmt.Errorf("%s: %s: %w", r.Ref, path, err)
	}
	return value, nil
}
