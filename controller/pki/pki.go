// Package pki makes a certificate authority and certificates for tests and first steps. Who has an authority uses that instead: all that
// counts are the names in the certificates (controller/access).
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/bordergw/bordergw/controller/access"
	"github.com/bordergw/bordergw/controller/vault"
)

// Options says which certificates there are to be.
type Options struct {
	TrustDomain string
	// Names and addresses under which controllers are reached, beside localhost.
	Servers []string
	// Agents are host names.
	Agents []string
	// Operators and Viewers are people or programs.
	Operators, Viewers []string
	Now                time.Time
}

const (
	authorityYears = 10
	leafYears      = 1
	backdate       = time.Hour // clocks differ
)

// Init makes in a folder ca.crt, ca.key, controller.crt and .key, NAME.crt and .key for each agent, operator and viewer (agent-NAME,
// operator-NAME, viewer-NAME), and encryption.keys. What is there already stays, so that hosts can be added later. Keys are readable for
// their owner only. It returns the files that were written.
func Init(dir string, opts Options) (written []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &maker{dir: dir, opts: opts}
	if err := m.authority(); err != nil {
		return m.written, err
	}
	leaves := []leaf{{file: "controller", id: access.Identity{Role: access.Controller, Name: "controller"},
		servers: append([]string{"localhost", "127.0.0.1", "::1"}, opts.Servers...)}}
	for _, group := range []struct {
		role  access.Role
		names []string
	}{{access.Agent, opts.Agents}, {access.Operator, opts.Operators}, {access.Viewer, opts.Viewers}} {
		for _, name := range group.names {
			leaves = append(leaves, leaf{file: string(group.role) + "-" + name, id: access.Identity{Role: group.role, Name: name}})
		}
	}
	for _, l := range leaves {
		if err := m.leaf(l); err != nil {
			return m.written, fmt.Errorf("%s: %w", l.file, err)
		}
	}
	return m.written, m.encryptionKeys()
}

type maker struct {
	dir     string
	opts    Options
	cert    *x509.Certificate
	key     crypto.Signer
	written []string
}

type leaf struct {
	file    string
	id      access.Identity
	servers []string
}

func (m *maker) exists(name string) bool {
	_, err := os.Stat(filepath.Join(m.dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// write never replaces a file.
func (m *maker) write(name string, content []byte, mode fs.FileMode) error {
	path := filepath.Join(m.dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	m.written = append(m.written, path)
	return nil
}

func (m *maker) authority() error {
	if m.exists("ca.key") {
		return m.readAuthority()
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "bordergw test authority"},
		NotBefore: m.opts.Now.Add(-backdate), NotAfter: m.opts.Now.AddDate(authorityYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	if m.cert, err = x509.ParseCertificate(raw); err != nil {
		return err
	}
	m.key = key
	return m.pair("ca", raw, key)
}

func (m *maker) readAuthority() error {
	cert, err := readPEM(filepath.Join(m.dir, "ca.crt"))
	if err != nil {
		return err
	}
	if m.cert, err = x509.ParseCertificate(cert); err != nil {
		return fmt.Errorf("ca.crt: %w", err)
	}
	raw, err := readPEM(filepath.Join(m.dir, "ca.key"))
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(raw)
	if err != nil {
		return fmt.Errorf("ca.key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return errors.New("ca.key: cannot sign")
	}
	m.key = signer
	return nil
}

func (m *maker) leaf(l leaf) error {
	if m.exists(l.file + ".key") {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: l.id.String()}, URIs: []*url.URL{l.id.URI(m.opts.TrustDomain)},
		NotBefore: m.opts.Now.Add(-backdate), NotAfter: m.opts.Now.AddDate(leafYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if len(l.servers) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, s := range l.servers {
		if ip := net.ParseIP(s); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, s)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, t, m.cert, key.Public(), m.key)
	if err != nil {
		return err
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return err
	}
	if _, err := access.FromCertificate(parsed, m.opts.TrustDomain); err != nil {
		return err
	}
	return m.pair(l.file, raw, key)
}

func (m *maker) pair(file string, cert []byte, key crypto.Signer) error {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := m.write(file+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600); err != nil {
		return err
	}
	return m.write(file+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644)
}

func (m *maker) encryptionKeys() error {
	const name = "encryption.keys"
	if m.exists(name) {
		return nil
	}
	line, err := vault.NewKey("k1")
	if err != nil {
		return err
	}
	return m.write(name, []byte(line), 0o600)
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func readPEM(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", path)
	}
	return block.Bytes, nil
}
