package local

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	gosync "sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/status"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Forwarded counts packets that a host forwarded from (In) and to (Out) a tunnel. Only differences mean something.
type Forwarded struct{ In, Out uint64 }

// Options of a Keeper; all fields are needed.
type Options struct {
	File *File
	// View returns the newest published view, in which tunnels carry the local change that is in force.
	View func() *status.View
	// Forwarded reads, by tunnel, what is forwarded over tunnels that are being drained.
	Forwarded func(context.Context) (map[string]Forwarded, error)
	// Changed is called after each change: plans have to be made anew. It does not wait.
	Changed func()
	// Told, when set, is called with every change and every step of a drain. It does not wait.
	Told func(*apiv1.DrainProgress, *apiv1.LocalChange)
	Log  *slog.Logger
}

// Keeper holds the local changes of a host. Safe for concurrent use.
type Keeper struct {
	opts Options
	// wake tells Run that a drain has begun.
	wake chan struct{}
	// problem is why what the file said is not known; nil when it is.
	problem error

	mu  gosync.Mutex
	now changes
	// drains are those since the start, by tunnel.
	drains map[string]*drain
	// moved is closed, and replaced, with every step.
	moved chan struct{}
}

// New reads the file. A file that cannot be used is told by Problem; the Keeper then begins with no changes.
func New(opts Options) *Keeper {
	k := &Keeper{opts: opts, wake: make(chan struct{}, 1), drains: map[string]*drain{}, moved: make(chan struct{})}
	k.now, k.problem = opts.File.read()
	for name, c := range k.now.tunnels {
		if c.GetState() == apiv1.LocalDraining {
			k.drains[name] = &drain{}
		}
	}
	if k.problem != nil {
		opts.Log.Error("local changes are not known; tunnels are as their manifests say", "error", k.problem)
	}
	return k
}

// Problem is why the local changes from before the start are not known; nil when they are.
func (k *Keeper) Problem() error { return k.problem }

// Of returns the local change of a tunnel, nil when there is none. The message is shared and must not be changed.
func (k *Keeper) Of(tunnel string) *apiv1.LocalChange {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now.tunnels[tunnel]
}

// Host returns the change of the whole host, nil when there is none; shared like that of Of.
func (k *Keeper) Host() *apiv1.LocalChange {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now.host
}

// Down says whether a tunnel was taken down on this host.
func (k *Keeper) Down(tunnel string) bool { return apiv1.LocallyDown(k.Of(tunnel)) }

// Keep takes the names of all tunnels that the host has now: changes of others end, and while the host is drained new ones are down
// from the beginning.
func (k *Keeper) Keep(tunnels []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.now.clone()
	changed := false
	for name := range next.tunnels {
		if !slices.Contains(tunnels, name) {
			delete(next.tunnels, name)
			delete(k.drains, name)
			changed = true
			k.opts.Log.Info("local change ends with its tunnel", "tunnel", name)
		}
	}
	for _, name := range tunnels {
		if k.now.host != nil && next.tunnels[name] == nil {
			c := proto.CloneOf(k.now.host)
			c.State, c.Stage, c.Deadline, c.Host = apiv1.LocalDrained, "", nil, true
			c.Message = "new while the host is drained"
			next.tunnels[name] = c
			changed = true
		}
	}
	if !changed {
		return
	}
	if err := k.opts.File.write(next); err != nil {
		k.opts.Log.Error("local changes cannot be kept", "error", err)
	}
	k.now = next
}

// commit puts changes on disk and then in force; the caller holds k.mu.
func (k *Keeper) commit(next changes) error {
	if err := k.opts.File.write(next); err != nil {
		return refuse(Failed, "the change cannot be kept: %v", err)
	}
	k.now = next
	k.opts.Changed()
	return nil
}

func (c changes) clone() changes {
	return changes{host: c.host, tunnels: maps.Clone(c.tunnels)}
}

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t.Truncate(time.Second)) }
