// Package seal encrypts secrets for one host, so that only that host can read them and only for the object they were made for.
//
// A sealed value is RFC 9180 (HPKE) in base mode: the hybrid KEM of ML-KEM-768 and X25519, HKDF-SHA256 and ChaCha20-Poly1305. The
// hybrid is chosen because sealed values lie in stores, backups and repositories for years. The context (the object and field
// that the secret belongs to) goes into HPKE's info: a value that is moved to another object does not open. Values are
// padded, so that their size does not tell the secret's length.
package seal

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/bordergw/bordergw/internal/secret"
)

const (
	// version is the first byte of public keys and sealed values.
	version = 1
	// idSize is how many bytes of the public key's SHA-256 name it.
	idSize = 8
	// label separates these values from all others that the same key could be used for.
	label = "bordergw sealed secret 1\x00"
	// block is the size that plaintexts are padded to; MaxSecret bounds them.
	block = 128
	// encSize and tagSize are those of the KEM's encapsulated key (ML-KEM-768 ciphertext and X25519 share) and of the AEAD.
	encSize, tagSize = 1120, 16
	sealedSize       = 1 + idSize + encSize + block + tagSize
)

// MaxSecret is the longest secret that can be sealed, in bytes.
const MaxSecret = block - 2

// Context names what a secret belongs to: the object ("VPNTunnel/shop-1") and the field's path ("spec.psk").
func Context(object, field string) string { return object + " " + field }

// ID names a key pair; it is no secret.
type ID [idSize]byte

// String returns the ID in hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// PublicKey seals secrets for the host that has the private key.
type PublicKey struct {
	key hpke.PublicKey
	id  ID
}

// ParsePublicKey reads what Bytes returned.
func ParsePublicKey(encoded []byte) (*PublicKey, error) {
	if len(encoded) == 0 || encoded[0] != version {
		return nil, errors.New("public key of an unknown version")
	}
	key, err := hpke.MLKEM768X25519().NewPublicKey(encoded[1:])
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return newPublicKey(key), nil
}

func newPublicKey(key hpke.PublicKey) *PublicKey {
	p := &PublicKey{key: key}
	sum := sha256.Sum256(p.Bytes())
	copy(p.id[:], sum[:])
	return p
}

// Bytes returns the key's encoding, its version first.
func (p *PublicKey) Bytes() []byte { return append([]byte{version}, p.key.Bytes()...) }

// ID names the key.
func (p *PublicKey) ID() ID { return p.id }

// Seal encrypts a secret for one context. Each call returns another value.
func (p *PublicKey) Seal(context string, value secret.Secret) ([]byte, error) {
	plain := []byte(value.Reveal())
	if len(plain) == 0 || len(plain) > MaxSecret {
		return nil, fmt.Errorf("a secret to be sealed must have 1 to %d bytes", MaxSecret)
	}
	padded := make([]byte, block)
	binary.BigEndian.PutUint16(padded, uint16(len(plain)))
	copy(padded[2:], plain)
	sealed, err := hpke.Seal(p.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(label+context), padded)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return append(append([]byte{version}, p.id[:]...), sealed...), nil
}

// PrivateKey opens what was sealed for one host.
type PrivateKey struct {
	key    hpke.PrivateKey
	public *PublicKey
}

// Generate makes a new key pair.
func Generate() (*PrivateKey, error) {
	key, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("generate host key: %w", err)
	}
	return &PrivateKey{key, newPublicKey(key.PublicKey())}, nil
}

// Public returns the other half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// errDoesNotOpen is all that is told about a value that does not open: with authenticated encryption the causes cannot be told apart.
var errDoesNotOpen = errors.New("was not sealed for this host and this object, or is damaged")

// Open decrypts a sealed value. Its errors tell nothing about the secret.
func (k *PrivateKey) Open(context string, sealed []byte) (secret.Secret, error) {
	if err := check(sealed); err != nil {
		return secret.Secret{}, err
	}
	padded, err := hpke.Open(k.key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(label+context), sealed[1+idSize:])
	if err != nil {
		return secret.Secret{}, errDoesNotOpen
	}
	n := int(binary.BigEndian.Uint16(padded))
	if n == 0 || n > MaxSecret || len(bytes.Trim(padded[2+n:], "\x00")) > 0 {
		return secret.Secret{}, errors.New("is padded as no sealed value is")
	}
	return secret.New(string(padded[2 : 2+n])), nil
}

// KeyOf returns the ID of the key that a value was sealed for.
func KeyOf(sealed []byte) (ID, error) {
	if err := check(sealed); err != nil {
		return ID{}, err
	}
	return ID(sealed[1 : 1+idSize]), nil
}

// check looks at what can be told of a value without a key.
func check(sealed []byte) error {
	switch {
	case len(sealed) == 0:
		return errors.New("is empty")
	case sealed[0] != version:
		return fmt.Errorf("has the unknown format version %d", sealed[0])
	case len(sealed) != sealedSize:
		return fmt.Errorf("has %d bytes, not %d", len(sealed), sealedSize)
	}
	return nil
}
