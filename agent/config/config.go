// Package config reads the agent's own configuration file, strictly, and fills in its defaults.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Defaults of the fields that the file may leave out; host is the host name.
const (
	DefaultPath          = "/etc/bordergw/agent.yaml"
	DefaultCharonSocket  = "/run/bordergw/charon.vici"
	DefaultAPISocket     = "/run/bordergw/agent.sock"
	DefaultMetricsListen = "127.0.0.1:9469"
	DefaultState         = "/var/lib/bordergw"
	DefaultLogLevel      = "info"
	DefaultLogFormat     = "text"
)

// maxSize bounds the file, in bytes.
const maxSize = 1 << 20

// maxRestartTime is what RFC 4724 §3 can say in twelve bits.
const maxRestartTime = 4095 * time.Second

// Load reads and checks a configuration file. The findings carry file and line; when one of them is no warning the
// configuration is nil. metrics.listen may be given empty for no listener.
func Load(path string) (*apiv1.AgentConfig, []*apiv1.Finding) {
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
func Parse(path string, content []byte) (*apiv1.AgentConfig, []*apiv1.Finding) {
	c := &apiv1.AgentConfig{}
	var positions manifest.Positions
	findings := manifest.DecodeMessage(path, content, c, &positions)
	if apiv1.Refused(findings) {
		return nil, findings
	}
	_, listenGiven := positions.Exact("", "metrics.listen")
	v := &validator{}
	v.defaults(c, listenGiven)
	v.validate(c)
	positions.Locate(v.findings)
	if apiv1.Refused(v.findings) {
		return nil, v.findings
	}
	return c, v.findings
}

// Owns returns the test for the cloud addresses of a configuration that Load returned.
func Owns(c *apiv1.AgentConfig) func(netip.Addr) bool {
	own := map[netip.Addr]bool{}
	for _, text := range c.GetAddresses() {
		if a, err := netip.ParseAddr(text); err == nil {
			own[a] = true
		}
	}
	return func(a netip.Addr) bool { return own[a] }
}

type validator struct {
	findings []*apiv1.Finding
}

func (v *validator) fail(field, format string, args ...any) {
	v.findings = append(v.findings, &apiv1.Finding{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (v *validator) defaults(c *apiv1.AgentConfig, listenGiven bool) {
	if c.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			v.fail("host", "is required: the host name cannot be told (%s)", err)
		}
		c.Host = name
	}
	c.Underlay, c.Charon, c.Api = orNew(c.Underlay), orNew(c.Charon), orNew(c.Api)
	c.Metrics, c.Log, c.Source = orNew(c.Metrics), orNew(c.Log), orNew(c.Source)
	if c.Metrics.Listen == "" && !listenGiven {
		c.Metrics.Listen = DefaultMetricsListen
	}
	for _, f := range []struct {
		field *string
		value string
	}{
		{&c.Charon.Socket, DefaultCharonSocket}, {&c.Api.Socket, DefaultAPISocket}, {&c.State, DefaultState},
		{&c.Log.Level, DefaultLogLevel}, {&c.Log.Format, DefaultLogFormat},
	} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
}

func (v *validator) validate(c *apiv1.AgentConfig) {
	if c.Host != "" && strings.ContainsFunc(c.Host, func(r rune) bool { return r <= ' ' || r > '~' }) || len(c.Host) > 253 {
		v.fail("host", "must be a name of at most 253 characters without blanks, not %q", c.Host)
	}
	if strings.ContainsFunc(c.GetZone(), func(r rune) bool { return r <= ' ' || r > '~' }) || len(c.GetZone()) > 63 {
		v.fail("zone", "must be a name of at most 63 characters without blanks, not %q", c.GetZone())
	}
	v.addresses(c.GetAddresses())
	if name := c.GetUnderlay().GetInterface(); name == "" {
		v.fail("underlay.interface", "is required: the device that the encrypted packets use")
	} else if len(name) > 15 || strings.ContainsAny(name, "/ \t\n:%") {
		v.fail("underlay.interface", "must be the name of a network interface (at most 15 characters), not %q", name)
	}
	v.source(c.GetSource())
	// A Unix socket's name has 108 bytes, its end included (unix(7)).
	v.path("charon.socket", c.Charon.Socket, 107)
	v.path("api.socket", c.Api.Socket, 107)
	if c.Charon.Socket == c.Api.Socket {
		v.fail("api.socket", "must differ from charon.socket")
	}
	v.path("state", c.State, 4095)
	if t := c.GetBgp().GetRestartTime().AsDuration(); t != 0 && (t < time.Second || t > maxRestartTime || t%time.Second != 0) {
		v.fail("bgp.restartTime", "must be 0 or whole seconds between 1s and %v, not %v", maxRestartTime, t)
	}
	v.listen(c.Metrics.Listen)
	v.word("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.word("log.format", c.Log.Format, "text", "json")
}

func (v *validator) addresses(list []string) {
	if len(list) == 0 {
		v.fail("addresses", "is required: the cloud public addresses of this host")
	}
	seen := map[netip.Addr]int{}
	for i, text := range list {
		field := fmt.Sprintf("addresses[%d]", i)
		a, problem := apiv1.ParseOuterAddr(text)
		if problem != "" {
			v.fail(field, "%s", problem)
			continue
		}
		if first, ok := seen[a]; ok {
			v.fail(field, "is the same as addresses[%d]", first)
			continue
		}
		seen[a] = i
	}
}

func (v *validator) source(c *apiv1.SourceConfig) {
	file, controller := c.GetFile(), c.GetController()
	switch {
	case file == nil && controller == nil:
		v.fail("source", "is required: exactly one source of desired state, such as file")
	case file != nil && controller != nil:
		v.fail("source", "must have exactly one of file and controller")
	case file != nil:
		v.path("source.file.path", file.GetPath(), 4095)
	default:
		v.endpoints(controller.GetEndpoints())
		v.path("source.controller.ca", controller.GetCa(), 4095)
		v.path("source.controller.cert", controller.GetCert(), 4095)
		v.path("source.controller.key", controller.GetKey(), 4095)
	}
}

func (v *validator) endpoints(list []string) {
	if len(list) == 0 {
		v.fail("source.controller.endpoints", "is required: the controllers' API, each HOST:PORT")
	}
	for i, text := range list {
		field := fmt.Sprintf("source.controller.endpoints[%d]", i)
		host, port, err := net.SplitHostPort(text)
		n, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errPort != nil || n == 0 || host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
			v.fail(field, "must be HOST:PORT, such as controller-1.example.net:8470, not %q", text)
		} else if first := slices.Index(list, text); first < i {
			v.fail(field, "is the same as source.controller.endpoints[%d]", first)
		}
	}
}

func (v *validator) path(field, path string, most int) {
	switch {
	case path == "":
		v.fail(field, "is required")
	case !filepath.IsAbs(path):
		v.fail(field, "must be an absolute path, not %q", path)
	case len(path) > most:
		v.fail(field, "must have at most %d bytes", most)
	}
}

func (v *validator) listen(text string) {
	if text == "" {
		return
	}
	host, port, err := net.SplitHostPort(text)
	n, errPort := strconv.ParseUint(port, 10, 16)
	_, errHost := netip.ParseAddr(host)
	if err != nil || errPort != nil || n == 0 || host != "" && errHost != nil {
		v.fail("metrics.listen", "must be an address with a port, such as %s, not %q", DefaultMetricsListen, text)
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
