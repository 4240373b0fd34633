package charon

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Options of a Driver; the zero value of every field but Socket is usable.
type Options struct {
	// Socket is the path of charon's VICI socket.
	Socket string
	// Dial replaces the connection to Socket.
	Dial func(ctx context.Context) (net.Conn, error)
	// Log receives what the driver does; nil discards it.
	Log *slog.Logger
	// RetryMin and RetryMax bound the back-off of a tunnel's negotiation attempts and of reconnects to charon; 1 s and 30 s.
	RetryMin, RetryMax time.Duration
	// AttemptTimeout ends a negotiation attempt of which nothing was heard. It must exceed charon's retransmission time; 35 s.
	AttemptTimeout time.Duration
	// AttemptsPerSecond limits how many negotiations are started in one second over all tunnels; 50.
	AttemptsPerSecond int
	// CommandTimeout bounds every command; a charon that takes longer counts as hung and is connected to anew; 60 s.
	CommandTimeout time.Duration
	// RefreshInterval is the time between two listings that look for drift; 30 s.
	RefreshInterval time.Duration
}

// Result is what Apply left in charon.
type Result struct {
	// Loaded are the tunnels whose wanted configuration is in charon, ordered by name.
	Loaded []string
	// Errors holds what is wrong with the others (and with those that could not be removed), by tunnel name.
	Errors map[string]error
}

// Driver keeps charon's configuration at what Apply was given and folds charon's events and listings into the state of each tunnel.
// All methods may be called at the same time.
type Driver struct {
	opts Options
}

// New returns a driver; nothing happens until Run.
func New(opts Options) *Driver { return &Driver{opts: opts} }

// Run connects to charon, stays connected and keeps tunnels up until ctx ends, then returns nil. SAs are left as they are.
func (d *Driver) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Apply makes desired the whole set of tunnels of one gateway. It is idempotent: tunnels that did not change cause no message.
// New and changed tunnels are loaded before unwanted ones are removed, and one bad tunnel never blocks the rest. An empty set forgets
// the gateway. Without charon the set is kept for the reconnect and the error wraps ErrUnavailable.
func (d *Driver) Apply(ctx context.Context, gateway string, desired []Tunnel) (Result, error) {
	return Result{}, ErrUnavailable
}

// Sweep removes every connection, secret and SA with our prefix that no gateway wants. To be called once, after the first Apply
// of all gateways: what belongs to a gateway not yet applied would be lost.
func (d *Driver) Sweep(ctx context.Context) error { return ErrUnavailable }

// Watch calls emit for every event, in order, until ctx ends. A watcher that is too slow gets one Resync for what it missed.
func (d *Driver) Watch(ctx context.Context, emit func(Event)) { <-ctx.Done() }

// State returns what is known of a tunnel, whether or not it is desired.
func (d *Driver) State(tunnel string) State { return State{Tunnel: tunnel, IKE: IKEDown} }

// Refresh lists all SAs and returns when State reflects the list.
func (d *Driver) Refresh(ctx context.Context) error { return ErrUnavailable }

// Version is charon's version, such as "5.9.8"; empty before the first connection.
func (d *Driver) Version() string { return "" }

// Connected says whether charon answers.
func (d *Driver) Connected() bool { return false }
