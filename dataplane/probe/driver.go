package probe

import (
	"context"
	"log/slog"
)

// Conn sends and receives ICMP messages, without IP header, between the two addresses of one target.
type Conn interface {
	// Send sends one message without blocking and does not keep it. An error that wraps ErrStale asks for a new Conn; after
	// any other the Conn is still good.
	Send(message []byte) error
	// Receive waits for a message and returns it as a part of buf. After an error the Conn is replaced.
	Receive(buf []byte) ([]byte, error)
	// Close makes Receive return.
	Close() error
}

// Options of a Driver; the zero value is usable.
type Options struct {
	// Log receives changes of state and socket errors; nil discards them.
	Log *slog.Logger
	// Listen opens the Conn of a target; nil means Listen, the raw socket.
	Listen func(Target) (Conn, error)
}

// Driver probes tunnels. All methods may be called at the same time.
type Driver struct{ opts Options }

// New returns a driver; nothing is sent until Run.
func New(opts Options) *Driver { return &Driver{opts: opts} }

// Run probes until ctx ends, closes every socket and returns nil. It may be called once.
func (d *Driver) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Apply makes targets the whole set of one gateway. It is idempotent: an unchanged target keeps its state and its pace.
// An empty set forgets the gateway. The sockets of targets no longer wanted are closed when Apply returns. The error is that of ctx.
func (d *Driver) Apply(ctx context.Context, gateway string, targets []Target) (Result, error) {
	return Result{}, ctx.Err()
}

// Reset arms a target anew: its state is WAITING, answers to earlier echoes count no more, and a missing socket is opened
// with the next echo. To be called when the tunnel comes up anew. An unknown tunnel, or one that is OFF, is left alone.
func (d *Driver) Reset(tunnel string) {}

// State returns what is known of a tunnel; StateOff for an unknown one.
func (d *Driver) State(tunnel string) State { return State{State: StateOff} }

// Watch calls emit with the state of every target, then with every change, until ctx ends. A watcher that is slower than
// the changes of one tunnel gets the last of them: no watcher misses a tunnel's present state or delays a probe.
func (d *Driver) Watch(ctx context.Context, emit func(Event)) { <-ctx.Done() }
