package manifest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/secret"
)

// LoadOptions is what reading depends on besides the files.
type LoadOptions struct {
	// Owns says which cloud addresses this host has; files and environment variables with secrets are read only for their tunnels
	// and gateways. nil: all of them.
	Owns func(netip.Addr) bool
	// LookupEnv resolves SecretSource.env; nil: os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// Unseal opens SecretSource.sealed of a field ("spec.psk") of an object ("VPNTunnel/shop-1"); nil: sealed secrets are refused. Its
	// error must not tell about the secret.
	Unseal func(object, field string, sealed []byte) (secret.Secret, error)
	// SkipSecrets leaves files and environment variables unread, for a check away from the host.
	SkipSecrets bool
	// MLKEM, Quotas and Underlay are those of apiv1.AdmitOptions.
	MLKEM    apiv1.Capability
	Quotas   apiv1.Quotas
	Underlay string
}

// Load reads every *.yaml, *.yml and *.json file of a folder in the order of their names (hidden files and editors' backups are
// left out, subfolders are not entered), fills in the defaults and admits the whole. The findings come in the order of files and
// lines; when one of them is no warning the Set is nil. A folder without manifests is an empty Set.
func Load(dir string, opts LoadOptions) (*apiv1.Set, []*apiv1.Finding) {
	files, err := manifestFiles(dir)
	if err != nil {
		return nil, []*apiv1.Finding{{File: dir, Line: 1, Message: fmt.Sprintf("cannot read the folder: %s", Cause(err))}}
	}
	l := newLoader(dir, opts)
	for _, file := range files {
		l.file(file)
	}
	return l.finish()
}

// File is the content of a file of manifests; findings name it.
type File struct {
	Name    string
	Content []byte
}

// Parse does what Load does with files that were already read, in their order. dir is where paths of files with secrets begin that are
// not absolute. The positions tell where objects and fields stand.
func Parse(dir string, files []File, opts LoadOptions) (*apiv1.Set, []*apiv1.Finding, *Positions) {
	l := newLoader(dir, opts)
	for _, f := range files {
		l.decode(f.Name, f.Content)
	}
	set, findings := l.finish()
	return set, findings, &l.positions
}

func newLoader(dir string, opts LoadOptions) *loader {
	return &loader{dir: dir, opts: opts, set: apiv1.NewSet(), broken: map[string]bool{}, complete: true}
}

// finish fills in, resolves and admits what was decoded.
func (l *loader) finish() (*apiv1.Set, []*apiv1.Finding) {
	l.set.SetDefaults()
	l.secrets()
	l.admit()
	l.positions.Locate(l.findings)
	slices.SortStableFunc(l.findings, compare)
	if apiv1.Refused(l.findings) {
		return nil, l.findings
	}
	return l.set, l.findings
}

// manifestFiles returns the paths of a folder's manifests, sorted.
func manifestFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if !IsManifest(entry.Name()) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		// Follows links: a mounted ConfigMap consists of them. A dangling one is an error when it is read.
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		files = append(files, path)
	}
	return files, nil
}

// IsManifest says whether Load reads a file of this name.
func IsManifest(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return false
	}
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name))
}

type loader struct {
	dir       string
	opts      LoadOptions
	set       *apiv1.Set
	positions Positions
	findings  []*apiv1.Finding
	// broken objects could be read in part only: what admission says of them would be noise.
	broken map[string]bool
	// complete: no file or document was lost, so that references may be judged.
	complete bool
}

func (l *loader) file(path string) {
	content, err := readLimited(path, maxFileSize)
	if err != nil {
		l.findings = append(l.findings, &apiv1.Finding{File: path, Line: 1, Message: fmt.Sprintf("cannot be read: %s", Cause(err))})
		l.complete = false
		return
	}
	l.decode(path, content)
}

func (l *loader) decode(path string, content []byte) {
	objects, findings, complete := Decode(path, content, &l.positions)
	l.findings = append(l.findings, findings...)
	l.complete = l.complete && complete
	for _, o := range objects {
		// Metadata is left out: it is a controller's.
		if o.Broken {
			l.broken[apiv1.ObjectName(o.Kind, o.Name)] = true
		}
		switch msg := o.Message.(type) {
		case *apiv1.BorderGateway:
			msg.Metadata = nil
			l.set.BorderGateways[o.Name] = msg
		case *apiv1.CustomerGateway:
			msg.Metadata = nil
			l.set.CustomerGateways[o.Name] = msg
		case *apiv1.VPNConnection:
			msg.Metadata = nil
			l.set.Connections[o.Name] = msg
		case *apiv1.VPNTunnel:
			msg.Metadata = nil
			l.set.Tunnels[o.Name] = msg
		case *apiv1.GatewayHost:
			l.report(apiv1.ObjectName(o.Kind, o.Name), "", false, "is known to controllers only")
		}
	}
}

// spreadBroken adds the objects that depend on a broken one: what admission says of them may be its fault.
func (l *loader) spreadBroken() {
	spread := func(kind, name, needs, other string) {
		if l.broken[apiv1.ObjectName(needs, other)] {
			l.broken[apiv1.ObjectName(kind, name)] = true
		}
	}
	for name, c := range l.set.Connections {
		spread(apiv1.KindVPNConnection, name, apiv1.KindBorderGateway, c.Spec.BorderGateway)
		spread(apiv1.KindVPNConnection, name, apiv1.KindCustomerGateway, c.Spec.CustomerGateway)
	}
	for name, t := range l.set.Tunnels {
		spread(apiv1.KindVPNTunnel, name, apiv1.KindVPNConnection, t.Spec.Connection)
	}
}

func (l *loader) admit() {
	if !l.complete {
		return
	}
	l.spreadBroken()
	for _, f := range apiv1.Admit(l.set, apiv1.AdmitOptions{
		Owns: l.opts.Owns, Manifests: true, MLKEM: l.opts.MLKEM, Quotas: l.opts.Quotas, Underlay: l.opts.Underlay,
	}) {
		if !l.broken[f.GetObject()] {
			l.findings = append(l.findings, f)
		}
	}
}
