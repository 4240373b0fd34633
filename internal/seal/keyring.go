package seal

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bordergw/bordergw/internal/durable"
	"github.com/bordergw/bordergw/internal/secret"
)

const (
	// fileName is where a host's keys are, in the agent's state folder.
	fileName = "host-key"
	// header is the file's first line.
	header = "bordergw-host-key-1"
	// keep is how many keys are accepted: the newest, and the one before while values sealed with it are still about.
	keep = 2
	// maxFile bounds the file, in bytes.
	maxFile = 4096
)

// Keyring is the key pairs of one host, newest first. It may be used by several goroutines.
type Keyring struct {
	keys []*PrivateKey
}

// OpenKeyring reads the keys in a state folder. A folder without keys gets a new one; a file that is damaged is an error and is
// not replaced, because what was sealed with its keys would be lost.
func OpenKeyring(dir string) (*Keyring, error) {
	ring, err := ReadKeyring(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return (&Keyring{}).renewed(filepath.Join(dir, fileName))
	}
	return ring, err
}

// ReadKeyring is OpenKeyring without making a key: a folder without keys is an error that wraps fs.ErrNotExist.
func ReadKeyring(dir string) (*Keyring, error) {
	path := filepath.Join(dir, fileName)
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("host key: %s can be read by others (mode %04o): it must be 0600", path, info.Mode().Perm())
	}
	keys, err := parseKeys(content)
	if err != nil {
		return nil, fmt.Errorf("host key: %s %w", path, err)
	}
	return &Keyring{keys}, nil
}

// Rotate adds a new key to the state folder's file and returns the new keyring: the key that was the newest is accepted still, older
// ones are not.
func Rotate(dir string) (*Keyring, error) {
	old, err := OpenKeyring(dir)
	if err != nil {
		return nil, err
	}
	return old.renewed(filepath.Join(dir, fileName))
}

func (r *Keyring) renewed(path string) (*Keyring, error) {
	key, err := Generate()
	if err != nil {
		return nil, err
	}
	out := &Keyring{append([]*PrivateKey{key}, r.keys...)}
	out.keys = out.keys[:min(len(out.keys), keep)]
	content, err := out.encode()
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, content, 0o600); err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	return out, nil
}

// Public returns the key that secrets for this host are to be sealed with.
func (r *Keyring) Public() *PublicKey { return r.keys[0].Public() }

// Open decrypts what was sealed for one of the keys.
func (r *Keyring) Open(context string, sealed []byte) (secret.Secret, error) {
	id, err := KeyOf(sealed)
	if err != nil {
		return secret.Secret{}, err
	}
	i := slices.IndexFunc(r.keys, func(k *PrivateKey) bool { return k.Public().ID() == id })
	if i < 0 {
		return secret.Secret{}, fmt.Errorf("was sealed for key %s, which this host does not have (it has %s)", id, r.keys[0].Public().ID())
	}
	return r.keys[i].Open(context, sealed)
}

// encode writes the header, then one key a line.
func (r *Keyring) encode() ([]byte, error) {
	lines := []string{header}
	for _, k := range r.keys {
		seed, err := k.key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("host key: %w", err)
		}
		lines = append(lines, base64.StdEncoding.EncodeToString(seed))
	}
	return []byte(strings.Join(lines, "\n") + "\n"), nil
}

func parseKeys(content []byte) ([]*PrivateKey, error) {
	if len(content) > maxFile {
		return nil, fmt.Errorf("is larger than %d bytes", maxFile)
	}
	lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	if lines[0] != header {
		return nil, fmt.Errorf("does not begin with %s", header)
	}
	var keys []*PrivateKey
	for i, line := range lines[1:] {
		seed, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("is damaged in line %d", i+2)
		}
		key, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
		if err != nil {
			return nil, fmt.Errorf("is damaged in line %d", i+2)
		}
		keys = append(keys, &PrivateKey{key, newPublicKey(key.PublicKey())})
	}
	if len(keys) == 0 || len(keys) > keep {
		return nil, fmt.Errorf("has %d keys, not 1 to %d", len(keys), keep)
	}
	return keys, nil
}
