package allocate

import (
	"crypto/rand"
	"fmt"

	"github.com/bordergw/bordergw/internal/secret"
)

const (
	// pskLength and 62 different characters make 190 bits.
	pskLength = 32
	alphabet  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// PSK returns a new pre-shared key of letters and digits, which every device's configuration language takes without quotes.
func PSK() (secret.Secret, error) {
	out := make([]byte, 0, pskLength)
	for buf := make([]byte, 2*pskLength); len(out) < pskLength; {
		if _, err := rand.Read(buf); err != nil {
			return secret.Secret{}, fmt.Errorf("pre-shared key: %w", err)
		}
		for _, b := range buf {
			// Above the last multiple of 62 a remainder would prefer the first letters.
			if int(b) < 256/len(alphabet)*len(alphabet) && len(out) < pskLength {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return secret.New(string(out)), nil
}
