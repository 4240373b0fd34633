package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Tokens are the bearer tokens of people. Only hashes are kept: a token has 256 random bits, so a plain SHA-256 cannot be turned around.
type Tokens struct {
	entries []tokenEntry
}

type tokenEntry struct {
	hash     [sha256.Size]byte
	identity Identity
}

// tokenPrefix lets people and scanners recognise a token that lies where it should not.
const tokenPrefix = "bgw_"

// errToken is the one answer to every wrong token.
var errToken = errors.New("the bearer token is not known")

// LoadTokens reads a file of lines: role (operator or viewer), name, SHA-256 in hexadecimal digits. Empty lines and those that begin
// with # are left out. An empty path means no tokens.
func LoadTokens(path string) (*Tokens, error) {
	if path == "" {
		return &Tokens{}, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	t := &Tokens{}
	for n, line := range strings.Split(string(content), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		e, err := parseToken(words)
		if err != nil {
			return nil, fmt.Errorf("tokens: %s:%d: %w", path, n+1, err)
		}
		t.entries = append(t.entries, e)
	}
	return t, nil
}

func parseToken(words []string) (tokenEntry, error) {
	var e tokenEntry
	if len(words) != 3 {
		return e, fmt.Errorf("must be role, name and hash, not %d words", len(words))
	}
	e.identity = Identity{Role(words[0]), words[1]}
	raw, err := hex.DecodeString(words[2])
	switch {
	case e.identity.Role != Operator && e.identity.Role != Viewer:
		return e, fmt.Errorf("the role must be operator or viewer, not %q", words[0])
	case !validName(e.identity.Name):
		return e, fmt.Errorf("the name %q has characters that it may not have", words[1])
	case err != nil || len(raw) != sha256.Size:
		return e, fmt.Errorf("the hash must be %d hexadecimal digits", 2*sha256.Size)
	}
	copy(e.hash[:], raw)
	return e, nil
}

// Lookup returns whose token it is.
func (t *Tokens) Lookup(token string) (Identity, error) {
	hash := sha256.Sum256([]byte(token))
	found, id := 0, Identity{}
	for _, e := range t.entries {
		if subtle.ConstantTimeCompare(hash[:], e.hash[:]) == 1 {
			found, id = 1, e.identity
		}
	}
	if found == 0 || !strings.HasPrefix(token, tokenPrefix) {
		return Identity{}, errToken
	}
	return id, nil
}

// NewToken returns a token for its owner and the line for the file, which does not tell it.
func NewToken(id Identity) (token, line string, err error) {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", "", err
	}
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(token))
	line = fmt.Sprintf("%s %s %s", id.Role, id.Name, hex.EncodeToString(hash[:]))
	_, err = parseToken(strings.Fields(line))
	return token, line + "\n", err
}
