package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// maxSecretSize bounds a file with a secret, in bytes; the longest admitted key is far below.
const maxSecretSize = 4096

// secrets takes the values out of all messages, and reads files and variables for what this host owns.
func (l *loader) secrets() {
	served := map[string]bool{}
	for _, name := range apiv1.Names(l.set.Tunnels) {
		t := l.set.Tunnels[name]
		object, owned := apiv1.ObjectName(apiv1.KindVPNTunnel, name), l.owns(t)
		if owned {
			served[l.set.Connections[t.Spec.Connection].GetSpec().GetBorderGateway()] = true
		}
		if s, ok := l.resolve(object, "spec.psk", "spec.psk", t.Spec.Psk, owned); ok {
			l.set.SetPSK(name, s)
		}
		if s, ok := l.resolve(object, "spec.bgp.password", "spec.bgp.password", t.Spec.Bgp.Password, owned); ok {
			l.set.SetBGPPassword(name, s)
		}
	}
	for _, name := range apiv1.Names(l.set.BorderGateways) {
		for i, a := range l.set.BorderGateways[name].Spec.Attachments {
			field := fmt.Sprintf("spec.attachments[%d].peer.password", i)
			object := apiv1.ObjectName(apiv1.KindBorderGateway, name)
			sealed := fmt.Sprintf("spec.attachments[%s].peer.password", a.GetName())
			if s, ok := l.resolve(object, field, sealed, a.GetPeer().GetPassword(), l.opts.Owns == nil || served[name]); ok {
				l.set.SetPeerPassword(name, a.GetName(), s)
			}
		}
	}
}

func (l *loader) owns(t *apiv1.VPNTunnel) bool {
	if l.opts.Owns == nil {
		return true
	}
	addr, err := netip.ParseAddr(t.GetSpec().GetCloudAddress())
	return err == nil && l.opts.Owns(addr)
}

// resolve returns the secret of one source and empties its value. A source with none or several ways in is left to admission. sealedField is
// the field's name in the context of a seal, which does not change when a list is put in another order.
func (l *loader) resolve(object, field, sealedField string, source *apiv1.SecretSource, owned bool) (secret.Secret, bool) {
	ways := 0
	for _, set := range []bool{source.GetValue() != "", source.GetFile() != "", source.GetEnv() != "", len(source.GetSealed()) > 0} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return secret.Secret{}, false
	}
	if source.GetValue() != "" {
		s := secret.New(source.Value)
		source.Value = ""
		return s, true
	}
	if !owned || l.opts.SkipSecrets {
		return secret.Secret{}, false
	}
	switch {
	case source.GetFile() != "":
		return l.secretFile(object, field+".file", source.GetFile())
	case source.GetEnv() != "":
		lookup := l.opts.LookupEnv
		if lookup == nil {
			lookup = os.LookupEnv
		}
		if value, ok := lookup(source.GetEnv()); ok && value != "" {
			return secret.New(value), true
		}
		l.report(object, field+".env", false, "there is no environment variable %s, or it is empty", short(source.GetEnv()))
	case l.opts.Unseal == nil:
		l.report(object, field+".sealed", false, "cannot be opened: this host has no key for sealed secrets")
	default:
		s, err := l.opts.Unseal(object, sealedField, source.GetSealed())
		if err == nil {
			return s, true
		}
		l.report(object, field+".sealed", false, "cannot be opened: %s", err)
	}
	return secret.Secret{}, false
}

func (l *loader) secretFile(object, field, path string) (secret.Secret, bool) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.dir, path)
	}
	content, err := readLimited(path, maxSecretSize)
	if err != nil {
		l.report(object, field, false, "cannot read %s: %s", path, Cause(err))
		return secret.Secret{}, false
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		l.report(object, field, true, "%s can be read by everybody: chmod 600 it", path)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if value == "" {
		l.report(object, field, false, "%s is empty", path)
		return secret.Secret{}, false
	}
	return secret.New(value), true
}

func (l *loader) report(object, field string, warning bool, format string, args ...any) {
	l.findings = append(l.findings, &apiv1.Finding{Object: object, Field: field, Message: fmt.Sprintf(format, args...), Warning: warning})
}

// readLimited reads a file of at most most bytes. Only regular files: a pipe would hold up the reader.
func readLimited(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, fmt.Errorf("it is larger than %d bytes", most)
	}
	return content, nil
}

// Cause leaves out of a path error what the finding already says.
func Cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
