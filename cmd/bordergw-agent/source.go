package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/sys/unix"

	"github.com/bordergw/bordergw/agent"
	"github.com/bordergw/bordergw/agent/config"
	"github.com/bordergw/bordergw/agent/plan"
	"github.com/bordergw/bordergw/agent/source"
	"github.com/bordergw/bordergw/agent/source/remote"
	"github.com/bordergw/bordergw/agent/status"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/charon"
	"github.com/bordergw/bordergw/internal/seal"
	"github.com/bordergw/bordergw/internal/secret"
)

// rereader is a source that can be told to look again.
type rereader interface {
	agent.Source
	Reread()
}

// surroundings is what a source needs of the rest of the program. The agent is there when the source runs, not when it is made.
type surroundings struct {
	version string
	agent   func() *agent.Agent
	// charon says what charon can do, as far as it is known.
	charon func() (charon.Capabilities, bool)
	log    *slog.Logger
}

// newSource makes the source that the configuration names.
func newSource(ctx context.Context, c *apiv1.AgentConfig, host plan.Host, keys *seal.Keyring, around surroundings) rereader {
	mlkem := func() apiv1.Capability { return around.agent().MLKEM(ctx) }
	changed := func() { around.agent().SourceChanged() }
	if file := c.GetSource().GetFile(); file != nil {
		return source.NewFile(source.FileOptions{
			Dir: file.GetPath(), Log: around.log, Load: load(c, mlkem, opener(keys)), Changed: func(*apiv1.SourceStatus) { changed() },
			LocallyDown: func(tunnel string) bool { return around.agent().Local().Down(tunnel) },
		})
	}
	controller := c.GetSource().GetController()
	return remote.New(remote.Options{
		Endpoints: controller.GetEndpoints(), Dial: remote.DialTLS(files(controller)),
		Host: remote.Host{Name: host.Name, Zone: c.GetZone(), Addresses: c.GetAddresses()},
		Keys: keys, State: c.GetState(), MLKEM: mlkem, Changed: changed, Log: around.log,
		Admit:        apiv1.AdmitOptions{Owns: config.Owns(c), Underlay: c.GetUnderlay().GetInterface()},
		Capabilities: around.capabilities,
		Published:    func() (*status.View, <-chan struct{}) { return around.agent().Published() },
		Operations:   operations{around.agent},
	})
}

// operations is what operators may ask of the agent through a controller.
type operations struct{ agent func() *agent.Agent }

// Change implements remote.Operations.
func (o operations) Change(by string, req *apiv1.ChangeRequest) (*apiv1.ChangeResponse, error) {
	return o.agent().Local().Change(by, req)
}

// Drain implements remote.Operations.
func (o operations) Drain(ctx context.Context, by string, req *apiv1.DrainRequest, send func(*apiv1.DrainProgress) error) error {
	return o.agent().Local().Drain(ctx, by, req, send)
}

// WatchLog implements remote.Operations.
func (o operations) WatchLog(ctx context.Context, req *apiv1.WatchLogRequest, send func(*apiv1.LogEntry) error) error {
	return o.agent().WatchLog(ctx, req, send)
}

func files(c *apiv1.ControllerSourceConfig) remote.Files {
	return remote.Files{CA: c.GetCa(), Cert: c.GetCert(), Key: c.GetKey()}
}

// capabilities is what controllers are told.
func (s surroundings) capabilities() *apiv1.HostCapabilities {
	out := &apiv1.HostCapabilities{AgentVersion: s.version, MlKem: apiv1.CapabilityUnknown.String()}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		out.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if can, known := s.charon(); known {
		out.CharonVersion, out.MlKem = can.Version, apiv1.CapabilityAbsent.String()
		if can.MLKEM {
			out.MlKem = apiv1.CapabilityPresent.String()
		}
	}
	return out
}

// unsealer opens sealed secrets.
type unsealer = func(object, field string, sealed []byte) (secret.Secret, error)

// load is how the host reads manifests. mlkem is asked at each reading.
func load(c *apiv1.AgentConfig, mlkem func() apiv1.Capability, unseal unsealer) func(dir string) (*apiv1.Set, []*apiv1.Finding) {
	return func(dir string) (*apiv1.Set, []*apiv1.Finding) {
		return manifest.Load(dir, loadOptions(c, mlkem(), unseal))
	}
}

// parser is load for manifests that somebody proposes; nil when the desired state comes from elsewhere.
func parser(c *apiv1.AgentConfig, mlkem func() apiv1.Capability, keys *seal.Keyring) func([]manifest.File) (*apiv1.Set, []*apiv1.Finding, *manifest.Positions) {
	if c.GetSource().GetFile() == nil {
		return nil
	}
	return func(files []manifest.File) (*apiv1.Set, []*apiv1.Finding, *manifest.Positions) {
		return manifest.Parse(c.GetSource().GetFile().GetPath(), files, loadOptions(c, mlkem(), opener(keys)))
	}
}

// opener opens what was sealed for this host.
func opener(keys *seal.Keyring) unsealer {
	return func(object, field string, sealed []byte) (secret.Secret, error) {
		return keys.Open(seal.Context(object, field), sealed)
	}
}

func loadOptions(c *apiv1.AgentConfig, mlkem apiv1.Capability, unseal unsealer) manifest.LoadOptions {
	return manifest.LoadOptions{Owns: config.Owns(c), Quotas: apiv1.QuotasOf(c.GetQuotas()), Underlay: c.GetUnderlay().GetInterface(),
		MLKEM: mlkem, Unseal: unseal}
}

// unsealReadOnly opens sealed secrets without making a key.
func unsealReadOnly(state string) func(object, field string, sealed []byte) (secret.Secret, error) {
	return func(object, field string, sealed []byte) (secret.Secret, error) {
		keys, err := seal.ReadKeyring(state)
		if err != nil {
			return secret.Secret{}, err
		}
		return keys.Open(seal.Context(object, field), sealed)
	}
}

// checkController says whether the certificates can be used; what the controllers would send is not looked at.
func checkController(c *apiv1.AgentConfig, stdout io.Writer) int {
	controller := c.GetSource().GetController()
	if _, err := files(controller).TLS(); err != nil {
		fmt.Fprintln(stdout, "source.controller:", err)
		return 1
	}
	fmt.Fprintf(stdout, "ok: %d controllers\n", len(controller.GetEndpoints()))
	return 0
}

// keys prints the public key of the host, a new one if so asked.
func keys(state string, rotate bool, stdout, stderr io.Writer) int {
	open := seal.OpenKeyring
	if rotate {
		open = seal.Rotate
	}
	ring, err := open(state)
	if err != nil {
		fmt.Fprintln(stderr, "bordergw-agent:", err)
		return 1
	}
	fmt.Fprintln(stdout, base64.StdEncoding.EncodeToString(ring.Public().Bytes()))
	return 0
}
