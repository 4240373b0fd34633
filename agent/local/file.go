package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/internal/durable"
)

const (
	fileName = "local.json"
	// fileVersion is raised when an older program would misunderstand the file.
	fileVersion = 1
	fileMode    = 0o600
	// maxFile bounds what is read, in bytes.
	maxFile = 16 << 20
	// unusable is what a file that could not be read is renamed to before another takes its place.
	unusable = ".unusable"
)

// File is where changes are kept: one small file, replaced as a whole.
type File struct {
	path string
	// aside says that what is there could not be read and must not be lost.
	aside bool
}

// NewFile returns the file in the agent's state folder; the folder may come into being later.
func NewFile(state string) *File { return &File{path: filepath.Join(state, fileName)} }

// changes are all local changes of a host.
type changes struct {
	// host is set while the whole host is drained.
	host    *apiv1.LocalChange
	tunnels map[string]*apiv1.LocalChange
}

// record is a change as the file has it.
type record struct {
	State    string    `json:"state"`
	Stage    string    `json:"stage,omitempty"`
	Since    time.Time `json:"since"`
	By       string    `json:"by,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
	Message  string    `json:"message,omitempty"`
	Host     bool      `json:"host,omitempty"`
}

type document struct {
	Version int               `json:"version"`
	Host    *record           `json:"host,omitempty"`
	Tunnels map[string]record `json:"tunnels,omitempty"`
}

// read returns what the file says; nothing when there is none. After an error the file is kept aside by the next write.
func (f *File) read() (changes, error) {
	empty := changes{tunnels: map[string]*apiv1.LocalChange{}}
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return empty, nil
	case err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile):
		err = fmt.Errorf("%s: not a regular file of at most %d bytes", f.path, maxFile)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(f.path)
	}
	var out changes
	if err == nil {
		if out, err = parse(content); err != nil {
			err = fmt.Errorf("%s: %w", f.path, err)
		}
	}
	if err != nil {
		f.aside = true
		return empty, err
	}
	return out, nil
}

func parse(content []byte) (changes, error) {
	var d document
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return changes{}, fmt.Errorf("cannot be parsed: %w", err)
	}
	if decoder.More() {
		return changes{}, errors.New("cannot be parsed: something follows the document")
	}
	if d.Version != fileVersion {
		return changes{}, fmt.Errorf("version: %d is not %d", d.Version, fileVersion)
	}
	out := changes{tunnels: map[string]*apiv1.LocalChange{}}
	if d.Host != nil {
		if err := d.Host.times(); err != nil {
			return changes{}, fmt.Errorf("host.%w", err)
		}
		if out.host = d.Host.message(); out.host.GetState() != apiv1.LocalDraining && out.host.GetState() != apiv1.LocalDrained {
			return changes{}, fmt.Errorf("host.state: %q is neither %s nor %s", d.Host.State, apiv1.LocalDraining, apiv1.LocalDrained)
		}
	}
	for name, r := range d.Tunnels {
		c, err := r.change()
		if err != nil {
			return changes{}, fmt.Errorf("tunnels.%s: %w", name, err)
		}
		out.tunnels[name] = c
	}
	return out, nil
}

func (r record) change() (*apiv1.LocalChange, error) {
	if !slices.Contains([]string{apiv1.LocalDisabled, apiv1.LocalDraining, apiv1.LocalDrained}, r.State) {
		return nil, fmt.Errorf("state: %q is none of the known ones", r.State)
	}
	stages := []string{apiv1.DrainAnnouncedWorse, apiv1.DrainWithdrawn, apiv1.DrainTimedOut}
	if r.State == apiv1.LocalDraining != slices.Contains(stages, r.Stage) || r.State != apiv1.LocalDraining && r.Stage != "" {
		return nil, fmt.Errorf("stage: %q does not go with state %s", r.Stage, r.State)
	}
	if err := r.times(); err != nil {
		return nil, err
	}
	return r.message(), nil
}

// times refuses years that could not be written again.
func (r record) times() error {
	if err := timestamppb.New(r.Since).CheckValid(); err != nil {
		return fmt.Errorf("since: %w", err)
	}
	if err := timestamppb.New(r.Deadline).CheckValid(); err != nil {
		return fmt.Errorf("deadline: %w", err)
	}
	return nil
}

func (r record) message() *apiv1.LocalChange {
	out := &apiv1.LocalChange{State: r.State, Stage: r.Stage, Since: timestamppb.New(r.Since), By: r.By, Message: r.Message, Host: r.Host}
	if !r.Deadline.IsZero() {
		out.Deadline = timestamppb.New(r.Deadline)
	}
	return out
}

func recordOf(c *apiv1.LocalChange) record {
	out := record{State: c.GetState(), Stage: c.GetStage(), Since: c.GetSince().AsTime(), By: c.GetBy(), Message: c.GetMessage(), Host: c.GetHost()}
	if c.GetDeadline() != nil {
		out.Deadline = c.GetDeadline().AsTime()
	}
	return out
}

// write replaces the file. When it returns without an error the changes survive a loss of power.
func (f *File) write(c changes) error {
	d := document{Version: fileVersion, Tunnels: map[string]record{}}
	if c.host != nil {
		r := recordOf(c.host)
		d.Host = &r
	}
	for name, change := range c.tunnels {
		d.Tunnels[name] = recordOf(change)
	}
	content, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	if f.aside {
		if err := os.Rename(f.path, f.path+unusable); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.aside = false
	}
	return durable.WriteFile(f.path, append(content, '\n'), fileMode)
}
