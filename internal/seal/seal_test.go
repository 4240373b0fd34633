package seal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

const psk = "kept-from-all-eyes"

func key(t testing.TB) *seal.PrivateKey {
	t.Helper()
	k, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, p *seal.PublicKey, context, value string) []byte {
	t.Helper()
	out, err := p.Seal(context, secret.New(value))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSealAndOpen(t *testing.T) {
	k := key(t)
	public, err := seal.ParsePublicKey(k.Public().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	context := seal.Context("VPNTunnel/shop-1", "spec.psk")
	sizes := map[int]bool{}
	for _, value := range []string{"x", psk, strings.Repeat("y", 80), strings.Repeat("z", seal.MaxSecret)} {
		a, b := sealed(t, public, context, value), sealed(t, public, context, value)
		if bytes.Equal(a, b) {
			t.Error("two seals of one secret are the same")
		}
		if bytes.Contains(a, []byte(value)) && len(value) > 2 {
			t.Error("the secret can be read")
		}
		sizes[len(a)] = true
		got, err := k.Open(context, a)
		if err != nil || !got.Equal(secret.New(value)) {
			t.Errorf("%d bytes: not what was sealed: %v", len(value), err)
		}
	}
	if len(sizes) != 1 {
		t.Errorf("the size tells the secret's length: %v", sizes)
	}
	for _, value := range []string{"", strings.Repeat("z", seal.MaxSecret+1)} {
		if _, err := public.Seal(context, secret.New(value)); err == nil {
			t.Errorf("a secret of %d bytes is sealed", len(value))
		}
	}
}

func TestDoesNotOpen(t *testing.T) {
	k, other := key(t), key(t)
	const context = "VPNTunnel/shop-1 spec.psk"
	good := sealed(t, k.Public(), context, psk)
	flipped := func(i int) []byte {
		out := bytes.Clone(good)
		out[i] ^= 1
		return out
	}
	for _, tc := range []struct {
		name, context string
		with          *seal.PrivateKey
		value         []byte
	}{
		{"moved to another tunnel", "VPNTunnel/shop-2 spec.psk", k, good},
		{"moved to another field", "VPNTunnel/shop-1 spec.bgp.password", k, good},
		{"another host", context, other, good},
		{"empty", context, k, nil},
		{"version", context, k, flipped(0)},
		{"encapsulated key", context, k, flipped(20)},
		{"ciphertext", context, k, flipped(len(good) - 40)},
		{"tag", context, k, flipped(len(good) - 1)},
		{"cut", context, k, good[:len(good)-1]},
		{"longer", context, k, append(bytes.Clone(good), 0)},
	} {
		if got, err := tc.with.Open(tc.context, tc.value); err == nil || got.IsSet() {
			t.Errorf("%s: opens", tc.name)
		} else if strings.Contains(fmt.Sprint(err), psk) {
			t.Errorf("%s: the error tells the secret", tc.name)
		}
	}
}

func TestKeyring(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := seal.OpenKeyring(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "host-key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	const context = "VPNTunnel/a spec.psk"
	value := sealed(t, first.Public(), context, psk)
	again, err := seal.OpenKeyring(dir)
	if err != nil || again.Public().ID() != first.Public().ID() {
		t.Fatalf("another key after a restart: %v", err)
	}
	for rotations, want := range []bool{true, true, false} {
		ring, err := seal.OpenKeyring(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ring.Open(context, value)
		if (err == nil) != want || want && !got.Equal(secret.New(psk)) {
			t.Errorf("after %d rotations: %v", rotations, err)
		}
		now, err := seal.Rotate(dir)
		if err != nil {
			t.Fatal(err)
		}
		if now.Public().ID() == ring.Public().ID() {
			t.Error("rotation keeps the key")
		}
		if got, err := now.Open(context, sealed(t, now.Public(), context, psk)); err != nil || !got.IsSet() {
			t.Errorf("the new key does not open: %v", err)
		}
	}
}

func TestDamagedKeyring(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "no key": "bordergw-host-key-1\n", "other file": "-----BEGIN PRIVATE KEY-----\n",
		"no base64": "bordergw-host-key-1\n!\n", "short key": "bordergw-host-key-1\nAAAA\n",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "host-key")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenKeyring(dir); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != content {
			t.Errorf("%s: the file is changed", name)
		}
	}
	dir := t.TempDir()
	if _, err := seal.OpenKeyring(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "host-key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKeyring(dir); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that everybody can read: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k := key(f)
	f.Add("VPNTunnel/a spec.psk", sealed(f, k.Public(), "VPNTunnel/a spec.psk", psk))
	f.Add("", []byte{1})
	f.Fuzz(func(t *testing.T, context string, value []byte) {
		got, err := k.Open(context, value)
		if (err == nil) != got.IsSet() {
			t.Error("neither a secret nor an error, or both")
		}
		if p, err := seal.ParsePublicKey(value); err == nil && !bytes.Equal(p.Bytes(), value) {
			t.Error("a public key is not what it was read from")
		}
	})
}
