package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Certificates are an authority, a certificate and its key in PEM files. Renewed files are read with the next connection; ones that cannot
// be read, or do not belong together yet, are reported once and leave the last good ones in force. Safe for concurrent use.
type Certificates struct {
	files *apiv1.TLSConfig
	log   *slog.Logger

	mu     sync.Mutex
	stamps [3]fileStamp
	server *tls.Config
	client *tls.Certificate
}

// fileStamp changes when a file is written or replaced.
type fileStamp struct {
	modified time.Time
	size     int64
}

// OpenCertificates reads the files. The error names the field of the configuration.
func OpenCertificates(files *apiv1.TLSConfig, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{files: files, log: log}
	c.stamps = c.look()
	return c, c.read()
}

// Server returns the TLS settings of the API: our certificate, and clients that show none or one of the authority's.
func (c *Certificates) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		server, _ := c.current()
		return server, nil
	}}
}

// Client returns the TLS settings of somebody who shows the certificate to servers of the authority. The authority is the one of the start.
func (c *Certificates) Client() *tls.Config {
	server, _ := c.current()
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: server.ClientCAs, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		_, certificate := c.current()
		return certificate, nil
	}}
}

func (c *Certificates) current() (*tls.Config, *tls.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.look(); now != c.stamps {
		// Read once for each change, good or bad.
		c.stamps = now
		if err := c.read(); err != nil {
			c.log.Warn("renewed certificates cannot be used; the former ones stay in force", "error", err)
		} else {
			c.log.Info("renewed certificates are in force", "cert", c.files.GetCert())
		}
	}
	return c.server, c.client
}

// look returns the files' stamps, a zero one where there is no file.
func (c *Certificates) look() (out [3]fileStamp) {
	for i, path := range []string{c.files.GetCa(), c.files.GetCert(), c.files.GetKey()} {
		if info, err := os.Stat(path); err == nil {
			out[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return out
}

func (c *Certificates) read() error {
	pair, err := tls.LoadX509KeyPair(c.files.GetCert(), c.files.GetKey())
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	pool, err := Authority(c.files.GetCa())
	if err != nil {
		return err
	}
	c.client = &pair
	c.server = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13,
		// What net/http adds to the settings that it is given, but not to those of single clients.
		NextProtos: []string{"h2", "http/1.1"},
	}
	return nil
}

// Authority reads the certificates of a PEM file.
func Authority(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("tls.ca: " + path + " has no certificate")
	}
	return pool, nil
}
