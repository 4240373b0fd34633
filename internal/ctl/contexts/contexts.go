// Package contexts knows the controllers that bordergwctl may ask: a file of named contexts, one of them current.
package contexts

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bordergw/bordergw/internal/secret"
)

// File is the content of the file.
type File struct {
	CurrentContext string    `yaml:"currentContext"`
	Contexts       []Context `yaml:"contexts"`
}

// Context is one controller, or several behind one name, and who asks it. Paths begin at the file's folder.
type Context struct {
	Name string `yaml:"name"`
	// Server is https://HOST:PORT.
	Server string `yaml:"server"`
	// CA verifies the controller's certificate.
	CA string `yaml:"ca"`
	// Cert and Key, or TokenFile with a bearer token, say who asks.
	Cert      string `yaml:"cert"`
	Key       string `yaml:"key"`
	TokenFile string `yaml:"tokenFile"`

	dir string
}

// Variable is the environment variable that names another file.
const Variable = "BORDERGWCTL_CONFIG"

// Path returns where the file is.
func Path(getenv func(string) string) string {
	if path := getenv(Variable); path != "" {
		return path
	}
	base := getenv("XDG_CONFIG_HOME")
	if base == "" {
		base = filepath.Join(getenv("HOME"), ".config")
	}
	return filepath.Join(base, "bordergwctl", "config.yaml")
}

// Load reads the file strictly. One that does not exist has no contexts.
func Load(path string) (*File, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{}, nil
	}
	if err != nil {
		return nil, err
	}
	f := &File{}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	dec.KnownFields(true)
	if err := dec.Decode(f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	seen := map[string]bool{}
	for i := range f.Contexts {
		c := &f.Contexts[i]
		c.dir = filepath.Dir(path)
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s: contexts[%d]: %w", path, i, err)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("%s: contexts[%d]: name: %q is there twice", path, i, c.Name)
		}
		seen[c.Name] = true
	}
	if f.CurrentContext != "" && !seen[f.CurrentContext] {
		return nil, fmt.Errorf("%s: currentContext: there is no context %q", path, f.CurrentContext)
	}
	return f, nil
}

func (c *Context) check() error {
	u, err := url.Parse(c.Server)
	switch {
	case c.Name == "":
		return errors.New("name: is required")
	case err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/":
		return fmt.Errorf("server: must be https://HOST:PORT, not %q", c.Server)
	case c.CA == "":
		return errors.New("ca: is required: the authority of the controller's certificate")
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("cert and key are given together or not at all")
	case (c.Cert == "") == (c.TokenFile == ""):
		return errors.New("either cert and key or tokenFile is required")
	}
	c.Server = strings.TrimSuffix(c.Server, "/")
	return nil
}

// Find returns a context by its name; an empty name means the current one, and nil that there is none.
func (f *File) Find(name string) (*Context, error) {
	if name == "" {
		name = f.CurrentContext
	}
	if name == "" {
		return nil, nil
	}
	i := slices.IndexFunc(f.Contexts, func(c Context) bool { return c.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no context %q", name)
	}
	return &f.Contexts[i], nil
}

func (c *Context) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// HTTP returns a client that says who asks with every request.
func (c *Context) HTTP() (*http.Client, error) {
	content, err := os.ReadFile(c.path(c.CA))
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	settings := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	if !settings.RootCAs.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("ca: %s has no certificate", c.path(c.CA))
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.path(c.Cert), c.path(c.Key))
		if err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	var transport http.RoundTripper = &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true}
	if c.TokenFile != "" {
		token, err := readToken(c.path(c.TokenFile))
		if err != nil {
			return nil, err
		}
		transport = bearer{transport, token}
	}
	return &http.Client{Transport: transport}, nil
}

func readToken(path string) (secret.Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("tokenFile: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return secret.Secret{}, fmt.Errorf("tokenFile: %s can be read by others (mode %04o): chmod 600 it", path, mode)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("tokenFile: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return secret.Secret{}, fmt.Errorf("tokenFile: %s must hold one token", path)
	}
	return secret.New(token), nil
}

// bearer adds the token to every request.
type bearer struct {
	next  http.RoundTripper
	token secret.Secret
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client close what is below.
func (b bearer) CloseIdleConnections() {
	if t, ok := b.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
