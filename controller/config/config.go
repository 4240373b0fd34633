// Package config reads the controller's own configuration file, strictly, and fills in its defaults.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Defaults of the fields that the file may leave out.
const (
	DefaultPath           = "/etc/bordergw/controller.yaml"
	DefaultListen         = ":9470"
	DefaultCA             = "/etc/bordergw/pki/ca.crt"
	DefaultCert           = "/etc/bordergw/pki/controller.crt"
	DefaultKey            = "/etc/bordergw/pki/controller.key"
	DefaultData           = "/var/lib/bordergw-controller/etcd"
	DefaultPrefix         = "/bordergw/"
	DefaultTrustDomain    = "bordergw"
	DefaultEncryptionKeys = "/etc/bordergw/pki/encryption.keys"
	DefaultMetricsListen  = "127.0.0.1:9471"
	DefaultRetention      = 90 * 24 * time.Hour
	DefaultLogLevel       = "info"
	DefaultLogFormat      = "text"
)

// maxSize bounds the file, in bytes.
const maxSize = 1 << 20

// Load reads and checks a configuration file. The findings carry file and line; when one of them is no warning the configuration is nil.
// metrics.listen may be given empty for no listener.
func Load(path string) (*apiv1.ControllerConfig, []*apiv1.Finding) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxSize) {
		err = fmt.Errorf("not a regular file of at most %d bytes", maxSize)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, []*apiv1.Finding{{File: path, Line: 1, Message: fmt.Sprintf("cannot be read: %s", manifest.Cause(err))}}
	}
	return Parse(path, content)
}

// Parse does what Load does with a content that was already read; path is for the findings.
func Parse(path string, content []byte) (*apiv1.ControllerConfig, []*apiv1.Finding) {
	c := &apiv1.ControllerConfig{}
	var positions manifest.Positions
	findings := manifest.DecodeMessage(path, content, c, &positions)
	if apiv1.Refused(findings) {
		return nil, findings
	}
	_, metricsGiven := positions.Exact("", "metrics.listen")
	v := &validator{}
	defaults(c, metricsGiven)
	v.validate(c)
	positions.Locate(v.findings)
	if apiv1.Refused(v.findings) {
		return nil, v.findings
	}
	return c, v.findings
}

func defaults(c *apiv1.ControllerConfig, metricsGiven bool) {
	c.Tls, c.Etcd, c.Access, c.Encryption = orNew(c.Tls), orNew(c.Etcd), orNew(c.Access), orNew(c.Encryption)
	c.Audit, c.Metrics, c.Log = orNew(c.Audit), orNew(c.Metrics), orNew(c.Log)
	if c.Metrics.Listen == "" && !metricsGiven {
		c.Metrics.Listen = DefaultMetricsListen
	}
	if len(c.Etcd.Endpoints) == 0 && c.Etcd.Data == "" {
		c.Etcd.Data = DefaultData
	}
	if len(c.InsidePools) == 0 {
		c.InsidePools = []string{apiv1.DefaultInsidePool().String()}
	}
	if c.Audit.Retention == nil {
		c.Audit.Retention = durationpb.New(DefaultRetention)
	}
	for _, f := range []struct {
		field *string
		value string
	}{
		{&c.Listen, DefaultListen}, {&c.Tls.Ca, DefaultCA}, {&c.Tls.Cert, DefaultCert}, {&c.Tls.Key, DefaultKey},
		{&c.Etcd.Prefix, DefaultPrefix}, {&c.Access.TrustDomain, DefaultTrustDomain}, {&c.Encryption.Keys, DefaultEncryptionKeys},
		{&c.Log.Level, DefaultLogLevel}, {&c.Log.Format, DefaultLogFormat},
	} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
}

type validator struct {
	findings []*apiv1.Finding
}

func (v *validator) fail(field, format string, args ...any) {
	v.findings = append(v.findings, &apiv1.Finding{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (v *validator) validate(c *apiv1.ControllerConfig) {
	v.listen("listen", c.Listen, DefaultListen)
	v.tls("tls", c.Tls)
	v.etcd(c.Etcd)
	v.trustDomain(c.Access.TrustDomain)
	if c.Access.Tokens != "" {
		v.path("access.tokens", c.Access.Tokens)
	}
	v.path("encryption.keys", c.Encryption.Keys)
	v.pools(c.InsidePools)
	if d := c.Audit.Retention; !d.IsValid() || d.AsDuration() < time.Hour || d.AsDuration() > 100*365*24*time.Hour {
		v.fail("audit.retention", "must be at least 1h and at most a hundred years, not %s", d.AsDuration())
	}
	if c.Metrics.Listen != "" {
		v.listen("metrics.listen", c.Metrics.Listen, DefaultMetricsListen)
	}
	v.word("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.word("log.format", c.Log.Format, "text", "json")
}

func (v *validator) tls(field string, c *apiv1.TLSConfig) {
	v.path(field+".ca", c.GetCa())
	v.path(field+".cert", c.GetCert())
	v.path(field+".key", c.GetKey())
}

func (v *validator) etcd(c *apiv1.EtcdConfig) {
	if !strings.HasPrefix(c.Prefix, "/") || !strings.HasSuffix(c.Prefix, "/") || len(c.Prefix) > 255 {
		v.fail("etcd.prefix", "must begin and end with a slash, not %q", c.Prefix)
	}
	if len(c.Endpoints) == 0 {
		v.path("etcd.data", c.Data)
		// A Unix socket's name has 108 bytes, its end included (unix(7)).
		if len(c.Data) > 107-len("/etcd.sock") {
			v.fail("etcd.data", "must have at most %d bytes: a socket is made in it", 107-len("/etcd.sock"))
		}
		for _, f := range []struct {
			name  string
			given bool
		}{{"tls", c.Tls != nil}, {"user", c.User != ""}, {"passwordFile", c.PasswordFile != ""}} {
			if f.given {
				v.fail("etcd."+f.name, "is for endpoints; the embedded etcd needs none")
			}
		}
		return
	}
	if c.Data != "" {
		v.fail("etcd.data", "is for the embedded etcd; with endpoints there is none")
	}
	for i, text := range c.Endpoints {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "unix" || u.Scheme == "https" && (u.Host == "" || u.Path != "") {
			v.fail(fmt.Sprintf("etcd.endpoints[%d]", i), "must be https://HOST:PORT or unix:///PATH, not %q", text)
		}
		if err == nil && u.Scheme == "https" && c.Tls == nil {
			v.fail("etcd.tls", "is required for https endpoints")
			c.Tls = &apiv1.TLSConfig{Ca: "/", Cert: "/", Key: "/"} // said once
		}
	}
	if c.Tls != nil {
		v.tls("etcd.tls", c.Tls)
	}
	if (c.User == "") != (c.PasswordFile == "") {
		v.fail("etcd.passwordFile", "and etcd.user are given together or not at all")
	} else if c.PasswordFile != "" {
		v.path("etcd.passwordFile", c.PasswordFile)
	}
}

func (v *validator) trustDomain(name string) {
	if len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}) {
		v.fail("access.trustDomain", "must be small letters, digits, dots, hyphens and underscores, not %q", name)
	}
}

func (v *validator) pools(list []string) {
	for i, text := range list {
		field := fmt.Sprintf("insidePools[%d]", i)
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || p != p.Masked():
			v.fail(field, "must be a prefix such as %s, not %q", apiv1.DefaultInsidePool(), text)
		case p.Addr().Is4() && p.Bits() > 30 || p.Addr().Is6() && p.Bits() > 126:
			v.fail(field, "%s is too small for a single tunnel", p)
		case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast():
			v.fail(field, "must be of unicast addresses that can be routed, not %s", p)
		}
	}
}

// Pools returns the inside pools of a configuration that Load returned.
func Pools(c *apiv1.ControllerConfig) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range c.GetInsidePools() {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func (v *validator) path(field, path string) {
	switch {
	case path == "":
		v.fail(field, "is required")
	case !filepath.IsAbs(path):
		v.fail(field, "must be an absolute path, not %q", path)
	}
}

func (v *validator) listen(field, text, example string) {
	host, port, err := net.SplitHostPort(text)
	n, errPort := strconv.ParseUint(port, 10, 16)
	_, errHost := netip.ParseAddr(host)
	if err != nil || errPort != nil || n == 0 || host != "" && errHost != nil {
		v.fail(field, "must be an address with a port, such as %s, not %q", example, text)
	}
}

func (v *validator) word(field, value string, words ...string) {
	if !slices.Contains(words, value) {
		v.fail(field, "must be %s, not %q", strings.Join(words, " or "), value)
	}
}

func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}
