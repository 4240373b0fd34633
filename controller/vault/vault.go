// Package vault encrypts secrets at rest with keys from a file, so that neither etcd nor its backups hold them in clear.
package vault

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/bordergw/bordergw/internal/secret"
)

// Vault holds the keys. The first one of the file encrypts; all of them decrypt.
type Vault struct {
	current string
	keys    map[string]cipher.AEAD
}

// maxFile bounds the key file, in bytes.
const maxFile = 1 << 16

// Open reads a key file: one key a line, an id of letters, digits and hyphens, a blank, and 32 bytes in base64. Empty lines and those that
// begin with # are left out. Nobody but the owner may be able to read the file.
func Open(path string) (*Vault, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("encryption keys: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("encryption keys: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("encryption keys: %s can be read by others (mode %04o): chmod 600 it", path, mode)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("encryption keys: %w", err)
	}
	v, err := parse(string(content))
	if err != nil {
		return nil, fmt.Errorf("encryption keys: %s: %w", path, err)
	}
	return v, nil
}

func parse(content string) (*Vault, error) {
	v := &Vault{keys: map[string]cipher.AEAD{}}
	for n, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, text, _ := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		switch {
		case !validID(id):
			return nil, fmt.Errorf("line %d: the key's id must be 1 to 32 letters, digits and hyphens", n+1)
		case err != nil || len(raw) != chacha20poly1305.KeySize:
			return nil, fmt.Errorf("line %d: key %s must be %d bytes in base64", n+1, id, chacha20poly1305.KeySize)
		case v.keys[id] != nil:
			return nil, fmt.Errorf("line %d: key %s is there twice", n+1, id)
		}
		aead, err := chacha20poly1305.NewX(raw)
		if err != nil {
			return nil, fmt.Errorf("line %d: key %s: %w", n+1, id, err)
		}
		if v.current == "" {
			v.current = id
		}
		v.keys[id] = aead
	}
	if v.current == "" {
		return nil, errors.New("there is no key in it")
	}
	return v, nil
}

func validID(id string) bool {
	return id != "" && len(id) <= 32 && !strings.ContainsFunc(id, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// NewKey returns a line for a key file with a new key.
func NewKey(id string) (string, error) {
	if !validID(id) {
		return "", errors.New("the key's id must be 1 to 32 letters, digits and hyphens")
	}
	raw := make([]byte, chacha20poly1305.KeySize)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return id + " " + base64.StdEncoding.EncodeToString(raw) + "\n", nil
}

// Current is the id of the key that encrypts now.
func (v *Vault) Current() string { return v.current }

// Seal encrypts a secret. What is sealed for one place can be opened for that place only: place says whose it is.
func (v *Vault) Seal(place string, s secret.Secret) (keyID string, box []byte, err error) {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(s.Reveal())+chacha20poly1305.Overhead)
	if _, err := rand.Read(nonce); err != nil {
		return "", nil, err
	}
	return v.current, v.keys[v.current].Seal(nonce, nonce, []byte(s.Reveal()), []byte(place)), nil
}

// Open decrypts what Seal returned.
func (v *Vault) Open(place, keyID string, box []byte) (secret.Secret, error) {
	key := v.keys[keyID]
	switch {
	case key == nil:
		return secret.Secret{}, fmt.Errorf("it was encrypted with key %q, which this controller does not have", keyID)
	case len(box) < chacha20poly1305.NonceSizeX:
		return secret.Secret{}, errors.New("it is too short")
	}
	text, err := key.Open(nil, box[:chacha20poly1305.NonceSizeX], box[chacha20poly1305.NonceSizeX:], []byte(place))
	if err != nil {
		return secret.Secret{}, errors.New("it was not encrypted with this key, or not for this place")
	}
	return secret.New(string(text)), nil
}
